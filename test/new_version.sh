#!/bin/sh
# new_version.sh <version>: what a version of DuckDB that is not supported yet breaks.
#
# Downloads it, builds in-host, runs the SQL tests, the Python tests and the examples, and prints what fails. All of the output is in
# build/new-version/<version>. Ends with 0 if nothing failed.
set -u
cd "$(dirname "$0")/.."
version=${1:?"usage: sh test/new_version.sh <version of DuckDB, as in 2.0.2>"}
logs=build/new-version/$version
mkdir -p "$logs"

run() {
	echo "make $1"
	if make "$1" DUCKDB="$version" VERSIONS="$version" >"$logs/$1.log" 2>&1; then
		return 0
	fi
	grep -E '^test/sql/[^ ]*:[0-9]+: |^FAILED|^ERROR|: error|^error|\*\*\*|… FAILED|No matching distribution|^preflight' "$logs/$1.log" | cut -c1-200 | sort -u | head -40
	echo "  all of it: $logs/$1.log"
	return 1
}

# nothing can be tested that cannot be built
run in-host || exit 1
failed=
for suite in sql python examples; do
	run "$suite" || failed="$failed $suite"
done
if [ -n "$failed" ]; then
	echo "$version: failed:$failed"
	exit 1
fi
echo "$version: all tests pass. Add it to VERSIONS in the Makefile."
