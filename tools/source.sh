#!/bin/sh
# source.sh <python> <version> <folder> [what for]: the source of DuckDB of a version, from its distribution on PyPI. The folder appears
# only when it is complete.
set -eu
python=$1
version=$2
folder=$3
mkdir -p "$(dirname "$folder")"
work=$(mktemp -d "$folder.XXXXXX")
trap 'rm -rf "$work"' EXIT
sh "$(dirname "$0")/../test/download.sh" "the source of DuckDB $version${4:+, $4}" \
	"$python" -m pip download --quiet --no-deps --no-binary duckdb --dest "$work" "duckdb==$version"
mkdir "$work/source"
tar -xzf "$work"/duckdb-*.tar.gz -C "$work/source" --strip-components=1
mv "$work/source" "$folder"
