#!/bin/sh
# run.sh <target directory> <arguments of cargo test…>: tests of the core under ThreadSanitizer.
#
# Works with a stable toolchain: code of ours and the graph's C++ are instrumented, Rust's standard library is not, but tells of its
# threads through std.c.
set -eu
folder=$(cd "$(dirname "$0")" && pwd)
target_dir=$1
shift
triple=x86_64-unknown-linux-gnu
if [ "$(rustc -vV | sed -n 's/^host: //p')" != $triple ]; then
	echo "tsan: only on $triple" >&2
	exit 1
fi

# The mangled names in this toolchain's standard library.
symbols=$(nm -D --defined-only "$(rustc --print sysroot)"/lib/rustlib/$triple/lib/libstd-*.so | sed 's/.* //')
macros=
wraps=-Clink-arg=-Wl,--wrap=__tsan_atomic64_fetch_sub
name() {
	symbol=$(printf '%s\n' "$symbols" | grep -E "$2\$" || true)
	if [ "$(printf '%s\n' "$symbol" | wc -w)" != 1 ]; then
		echo "tsan: this toolchain's standard library has no function $2: adapt test/tsan" >&2
		exit 1
	fi
	macros="$macros -D$1=$symbol"
	wraps="$wraps -Clink-arg=-Wl,--wrap=$symbol"
}
name SCOPE_END 9ScopeData29decrement_num_running_threads

mkdir -p "$target_dir"
# shellcheck disable=SC2086
cc -O1 -c $macros "$folder/std.c" -o "$target_dir/std.o"
# -Zsanitizer is no option of a stable compiler otherwise
export RUSTC_BOOTSTRAP=1 CARGO_TARGET_DIR="$target_dir"
export RUSTFLAGS="-Zsanitizer=thread -Cunsafe-allow-abi-mismatch=sanitizer -Clink-arg=$target_dir/std.o $wraps"
export CXXFLAGS_x86_64_unknown_linux_gnu=-fsanitize=thread
export TSAN_OPTIONS="halt_on_error=0 second_deadlock_stack=1 suppressions=$folder/suppressions ${TSAN_OPTIONS:-}"
cargo test --release --no-default-features -p vss --lib --target $triple "$@"
