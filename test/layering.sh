#!/bin/sh
# The index never names its host: only the bridge, the entry and the packager may.
set -eu
cd "$(dirname "$0")/.."
if grep -rniE 'duckdb' src --include='*.rs' | grep -vE '^src/(bridge|lib|bin/package)\.rs:' | grep -vE '^[^:]+:[0-9]+: *//'; then
	echo "the files above name DuckDB outside the bridge" >&2
	exit 1
fi
if grep -rnE 'usearch' src cpp | grep -vE '^(src/graph\.rs|cpp/graph(_memory)?\.(hpp|cpp)|src/lib\.rs):' | grep -vE '^[^:]+:[0-9]+: *//'; then
	echo "the files above name usearch outside the graph" >&2
	exit 1
fi
