#!/bin/sh
# Build KenLM's lmplz, filter and build_binary (LGPL-2.1) from the source package of its Python module.
#   components/build_scorer/build_kenlm.sh build/kenlm  -> build/kenlm/bin/{lmplz,filter,build_binary}
# Needs Python with pip, g++, make, cmake, and the headers of Boost (program_options, system, thread, test), zlib, bzip2
# and xz; on Debian: g++ make cmake libboost-{program-options,system,thread,test}-dev zlib1g-dev libbz2-dev liblzma-dev
set -eu

destination=${1:?usage: $0 FOLDER}
jobs=${JOBS:-2}
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT

cat > "$work/requirements.txt" <<'END'
kenlm==0.3.0 --hash=sha256:c4628bb9fb63c8a6f9240035b8b037385cfc404cb72e933cf48878291edac1e8
END
"${PYTHON:-python3}" -m pip download --quiet --disable-pip-version-check --no-deps \
    --no-binary kenlm --require-hashes --requirement "$work/requirements.txt" --dest "$work"
tar -xzf "$work/kenlm-0.3.0.tar.gz" -C "$work"
cmake -S "$work/kenlm-0.3.0" -B "$work/build" -DCMAKE_BUILD_TYPE=Release -DFORCE_STATIC=ON > "$work/cmake.log" 2>&1 ||
    { tail -n 20 "$work/cmake.log" >&2; exit 1; }
make -C "$work/build" -j "$jobs" lmplz filter build_binary > "$work/make.log" 2>&1 ||
    { tail -n 20 "$work/make.log" >&2; exit 1; }
mkdir -p "$destination/bin"
for name in lmplz filter build_binary; do
    strip "$work/build/bin/$name"
    mv "$work/build/bin/$name" "$destination/bin/.$name.new"
    mv "$destination/bin/.$name.new" "$destination/bin/$name"
done
echo "$destination/bin"
