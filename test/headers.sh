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
sh "$(dirname "$0")/../tools/source.sh" "$python" "$version" "$work/source" "for its headers"
mkdir "$work/headers" "$work/headers/src"
mv "$work/source/external/duckdb/src/include" "$work/headers/src/include"
mv "$work/source/external/duckdb/third_party" "$work/headers/third_party"
mkdir -p "$(dirname "$folder")"
mv "$work/headers" "$folder"
