#!/bin/sh
# static.sh <python> <version> <folder>: DuckDB of a version as one static library, compiled from its source distribution on PyPI.
#
# Takes about 40 minutes on two cores; begun again, it goes on where it was stopped. The folder gets `libduckdb_static.a`, when it is
# complete.
set -eu
python=$1
version=$2
folder=$3
mkdir -p "$folder"
source=$folder/source
build=$folder/build

if [ ! -d "$source" ]; then
	sh "$(dirname "$0")/source.sh" "$python" "$version" "$source"
fi
if ! command -v cmake >/dev/null; then
	"$python" -m venv "$folder/cmake"
	"$folder/cmake/bin/python" -m pip install --quiet cmake
	PATH=$folder/cmake/bin:$PATH
fi

# DuckDB asks git for its version otherwise, and may find that of another repository. Without an optimization profile, it is compiled
# for every processor of the platform.
commit=$(sed -n 's/.*"duckdb_commit": "\([0-9a-f]*\)".*/\1/p' "$source/duckdb_packaging/build_info.json")
cmake -S "$source/external/duckdb" -B "$build" \
	-DCMAKE_BUILD_TYPE=Release \
	-DDUCKDB_EXPLICIT_VERSION="v$version" -DGIT_COMMIT_HASH="$commit" -DDUCKDB_OPTIMIZATION_PROFILE=NONE \
	-DENABLE_JEMALLOC=OFF -DENABLE_SANITIZER=OFF -DENABLE_UBSAN=OFF -DBUILD_SHELL=OFF -DBUILD_UNITTESTS=OFF
cmake --build "$build" --target duckdb_static --parallel "$(getconf _NPROCESSORS_ONLN)"
mv "$build/src/libduckdb_static.a" "$folder/libduckdb_static.a"
rm -rf "$source" "$build" "$folder/cmake"
