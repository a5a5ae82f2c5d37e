#!/bin/sh
# An environment of each Python in PYTHONS under build/pythons, and in it the demo and what `make test` does, with the tests
# in TESTS. KEEP=1 leaves the environments (2 GB each). Prints a line a Python with the seconds; ends with 1 if one of them failed.
set -u
cd "$(dirname "$0")/.."
mkdir -p build/pythons
failed=0
table=""

# timed NAME COMMAND...: run it, add its seconds or its failure to the row.
timed() {
    name=$1
    shift
    started=$(date +%s)
    if "$@"; then
        row="$row  $name $(($(date +%s) - started)) s"
    else
        row="$row  $name failed"
        return 1
    fi
}

for version in ${PYTHONS:-3.10 3.11 3.12 3.13}; do
    row=$(printf '%-6s' "$version")
    python=""
    for candidate in "$(command -v "python$version")" "${HOME:-}"/.pyenv/versions/"$version".*/bin/python; do
        if [ -n "$candidate" ] && "$candidate" -c '' >/dev/null 2>&1; then
            python=$candidate
            break
        fi
    done
    if [ -z "$python" ]; then
        table="$table$row  not on this machine
"
        continue
    fi
    venv=build/pythons/$version
    make="make --no-print-directory VENV=$venv PYTHON=$python"
    rm -rf "$venv-demo" # of a run before, whose steps would be taken from the cache
    # shellcheck disable=SC2086
    timed setup $make setup && timed demo $make demo "DEMO=$venv-demo" && timed lint $make lint &&
        timed tests $make pytest "TESTS=${TESTS:-}" || failed=1
    [ -n "${KEEP:-}" ] || rm -rf "$venv" "$venv-demo"
    table="$table$row
"
done
printf '\n%s' "$table"
exit $failed
