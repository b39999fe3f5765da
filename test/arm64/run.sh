#!/bin/sh
# run.sh <target directory> <out> <DuckDB's headers> <version> <xtask> <sqllogictest> <tests of the core…>: the extension for arm64,
# compiled on another processor and run in QEMU: the tests of the core that are named, or all; then the SQL tests, where ARM64_PYTHON is a
# command that runs an arm64 Python with that version of DuckDB, and ARM64_DUCKDB the _duckdb*.so of its wheel. SQL_TESTS: some of them.
#
# QEMU has the dot products of Armv8.2, so all kernels for arm64 are tested. It is some ten times slower than a processor.
set -eu
target_dir=$1 out=$2 headers=$3 version=$4 package=$5 sqllogictest=$6
shift 6
triple=aarch64-unknown-linux-gnu
missing() {
	echo "arm64: $1" >&2
	exit 1
}
for tool in aarch64-linux-gnu-g++ qemu-aarch64; do
	command -v $tool >/dev/null || missing "$tool is missing: apt-get install g++-aarch64-linux-gnu qemu-user"
done
if [ ! -d "$("${RUSTC:-rustc}" --print sysroot)/lib/rustlib/$triple" ]; then
	missing "Rust's library for $triple is missing: rustup target add $triple"
fi

export CARGO_TARGET_DIR="$target_dir" CARGO_TARGET_AARCH64_UNKNOWN_LINUX_GNU_LINKER=aarch64-linux-gnu-g++
export CARGO_TARGET_AARCH64_UNKNOWN_LINUX_GNU_RUNNER="qemu-aarch64 -L /usr/aarch64-linux-gnu"
# CXX is this machine's compiler, maybe behind a cache
case ${CXX:-} in ccache*) cache="ccache " ;; *) cache= ;; esac
export CXX_aarch64_unknown_linux_gnu="${cache}aarch64-linux-gnu-g++" AR_aarch64_unknown_linux_gnu=aarch64-linux-gnu-ar
cargo test --release --no-default-features -p vss --lib --target $triple -- "$@"

if [ -z "${ARM64_PYTHON:-}" ]; then
	echo "arm64: ARM64_PYTHON is not set: the extension itself is not tested" >&2
	exit 0
fi
DUCKDB_INCLUDE_DIR=$headers DUCKDB_HOST_LIBRARY=$ARM64_DUCKDB \
	cargo build --release --no-default-features --features host-duckdb -p vss --target $triple
STRIP=aarch64-linux-gnu-strip "$package" package "$target_dir/$triple/release/libvss.so" "$out" "v$version"
# shellcheck disable=SC2086
"$sqllogictest" --host python --python "$ARM64_PYTHON" --extension "$out/vss.duckdb_extension" ${SQL_TESTS:-test/sql}
