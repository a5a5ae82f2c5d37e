#!/bin/sh
# Make or update .venv: a Python 3.10-3.13 of this machine, the packages of requirements/dev.lock, and the project itself
# (editable). Every package is pinned by hash. PYTHON=/path/to/python chooses the interpreter, VENV=folder another place,
# GPU=1 the CUDA build of TensorFlow (requirements/train-gpu.lock) in the place of the one for CPUs.
set -eu
cd "$(dirname "$0")/.."
venv=${VENV:-.venv}

usable() {
    "$1" -c 'import sys, venv, ensurepip; sys.exit(not (3, 10) <= sys.version_info[:2] <= (3, 13))' >/dev/null 2>&1
}

find_python() {
    set -- "${PYTHON:-}" python3.11 python3.12 python3.10 python3.13 python3 python \
        "${HOME:-}"/.pyenv/versions/3.11.*/bin/python "${HOME:-}"/.pyenv/versions/3.12.*/bin/python \
        "${HOME:-}"/.pyenv/versions/3.10.*/bin/python "${HOME:-}"/.pyenv/versions/3.13.*/bin/python
    for candidate; do
        if [ -n "$candidate" ] && usable "$candidate"; then
            printf '%s\n' "$candidate"
            return
        fi
    done
    echo "error: found no Python 3.10, 3.11, 3.12 or 3.13 with the venv module (Debian, Ubuntu: apt-get install python3" \
        "python3-venv; or set PYTHON=/path/to/python)" >&2
    exit 2
}

# The locks to install; both builds of TensorFlow are one module, so the one for CPUs is left out beside the other.
locks() {
    if [ "${GPU:-}" = 1 ]; then
        awk '/^[^ ]/ { keep = !/^tensorflow-cpu==/ } keep' requirements/dev.lock >"$venv/without-cpu-build.lock"
        echo "$venv/without-cpu-build.lock" requirements/train-gpu.lock
    else
        echo requirements/dev.lock
    fi
}

# Who has no home that can be written, as in a container, has no cache; uv would refuse to work.
if ! mkdir -p "${UV_CACHE_DIR:-${XDG_CACHE_HOME:-${HOME:-}/.cache}/uv}" 2>/dev/null; then
    export UV_NO_CACHE=1
fi

# shellcheck disable=SC2046
fetch_with_uv() {
    "$venv/bin/python" -m pip install --quiet --require-hashes --only-binary :all: -r requirements/uv.lock &&
        "$venv/bin/uv" pip sync --python "$venv/bin/python" --require-hashes --quiet $(locks)
}

# shellcheck disable=SC2046
fetch_with_pip() {
    "$venv/bin/python" -m pip uninstall --quiet --yes tensorflow tensorflow-cpu
    "$venv/bin/python" -m pip install --quiet --require-hashes $(printf -- '-r %s ' $(locks))
}

if ! usable "$venv/bin/python"; then
    python=$(find_python)
    echo "setup: making $venv with $("$python" --version)"
    "$python" -m venv --clear "$venv"
fi
size="2 GB"
[ "${GPU:-}" = 1 ] && size="6 GB, with TensorFlow and CUDA for NVIDIA GPUs"
echo "setup: installing the packages of requirements/dev.lock into $venv ($size on disk; minutes on the first run)"
if ! fetch_with_uv; then
    echo "setup: uv could not install them; trying pip, which is slower"
    fetch_with_pip
fi
"$venv/bin/python" -m pip install --quiet --no-deps --no-build-isolation --no-index --editable .
rm -f "$venv/.installed" "$venv/.installed-gpu"
stamp=.installed
[ "${GPU:-}" = 1 ] && stamp=.installed-gpu
touch "$venv/$stamp"
