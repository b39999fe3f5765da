#!/bin/sh
# headers.sh <python> <version> <folder>: the headers of a version of DuckDB, from its source distribution on PyPI.
#
# The folder gets `src/include` and `third_party`; it appears only when it is complete.
set -eu
python=$1
version=$2
folder=$3
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
sh "$(dirname "$0")/download.sh" "the source of DuckDB $version, for its headers" \
	"$python" -m pip download --quiet --no-deps --no-binary duckdb --dest "$work" "duckdb==$version"
mkdir "$work/source" "$work/headers" "$work/headers/src"
tar -xzf "$work"/duckdb-*.tar.gz -C "$work/source" --strip-components=1
mv "$work/source/external/duckdb/src/include" "$work/headers/src/include"
mv "$work/source/external/duckdb/third_party" "$work/headers/third_party"
mkdir -p "$(dirname "$folder")"
mv "$work/headers" "$folder"
