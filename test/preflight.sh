#!/bin/sh
# preflight.sh <version> <versions> <cache>: whether this machine has what an in-host build and its tests need.
#
# Says all that is missing at once, and what to install, before minutes are lost. Then it has cargo download the crates, if there are
# any to download, so that the compilation needs no network. <version> is that of DuckDB, <versions> the supported ones.
set -u
version=$1
versions=$2
cache=$3
root=$(cd "$(dirname "$0")/.." && pwd)
lacking=0

# lack <what> <instead>
lack() {
	lacking=1
	printf 'missing: %s\n         %s\n' "$1" "$2" >&2
}

# has <program>
has() {
	command -v "$1" >/dev/null 2>&1
}

# writable <folder>: made if it is not there
writable() {
	mkdir -p "$1" 2>/dev/null && [ -w "$1" ]
}

case " $versions " in
*" $version "*) ;;
*) lack "DuckDB $version is not supported, but $versions" "Say make DUCKDB=<one of them>, or see \"Updating DuckDB\" in docs/building.md." ;;
esac

case "$(uname -s) $(uname -m)" in
"Linux x86_64" | "Linux aarch64") ;;
*) lack "Linux on x86_64 or aarch64; this is $(uname -s) on $(uname -m)" "Elsewhere \`make release\` may work: it compiles DuckDB." ;;
esac

work=$(mktemp -d 2>/dev/null) || {
	work=
	lack "a folder for temporary files: ${TMPDIR:-/tmp} cannot be written" "Name another one in TMPDIR."
}
[ -z "$work" ] || trap 'rm -rf "$work"' EXIT

compiler=${CXX:-c++}
# the first word is the program: CXX may be "ccache g++"
if ! has "${compiler%% *}"; then
	lack "a C++ compiler: there is no \`${compiler%% *}\`" "Debian, Ubuntu: apt install g++. Fedora: dnf install gcc-c++. Another one: CXX=<compiler>."
elif [ -n "$work" ] && ! printf '#include <optional>\nint main() {}\n' | $compiler -x c++ -std=c++17 - -o "$work/program" 2>"$work/errors"; then
	lack "a C++ compiler that works: \`$compiler\` fails with: $(head -n 1 "$work/errors")" "Debian, Ubuntu: apt install g++. Fedora: dnf install gcc-c++. Another one: CXX=<compiler>."
fi
has cc || lack "a linker for Rust: there is no \`cc\`" "Debian, Ubuntu: apt install gcc. Fedora: dnf install gcc."

rust=$(sed -n 's/^rust-version = "\(.*\)"/\1/p' "$root/Cargo.toml")
rustup="Install it from https://rustup.rs; distributions often have an older one."
if ! has cargo || ! has rustc; then
	lack "Rust $rust or newer: there is no \`cargo\` or no \`rustc\`" "$rustup"
elif ! found=$(rustc --version 2>&1); then
	lack "Rust $rust or newer: \`rustc\` fails with: $found" "$rustup"
elif ! echo "$found" | awk -v needed="$rust" '{ split($2, a, "."); split(needed, b, "."); exit !(a[1] > b[1] || a[1] == b[1] && a[2] + 0 >= b[2] + 0) }'; then
	lack "Rust $rust or newer; this is $found" "rustup update, or install it from https://rustup.rs."
fi

if ! has python3; then
	lack "Python 3.11 or newer: there is no \`python3\`" "Debian, Ubuntu: apt install python3 python3-venv. Fedora: dnf install python3."
elif ! python3 -c 'import sys; sys.exit(sys.version_info < (3, 11))'; then
	lack "Python 3.11 or newer, as DuckDB's wheels want; this is $(python3 --version 2>&1)" "Install one and put it into the PATH as python3."
elif ! python3 -c 'import venv, ensurepip' 2>/dev/null; then
	lack "Python's modules venv and ensurepip" "Debian, Ubuntu: apt install python3-venv."
elif python3 -c 'import sysconfig, sys; sys.exit("musl" not in (sysconfig.get_config_var("SOABI") or ""))'; then
	lack "the C library glibc; this Python uses musl, for which DuckDB has no wheels" "Use a distribution that has glibc."
fi

for program in tar gzip; do
	has "$program" || lack "\`$program\`, to unpack DuckDB's headers" "Your distribution has a package of this name."
done

home=${HOME:-/}
writable "$root/build" || lack "a checkout that can be written: $root/build cannot" "Clone the repository to a folder of yours."
writable "$cache" || lack "a folder to keep builds in: $cache cannot be written" "Name another one: make CACHE=<folder>, or in XDG_CACHE_HOME."
writable "${CARGO_HOME:-$home/.cargo}" || lack "a folder to keep crates in: ${CARGO_HOME:-$home/.cargo} cannot be written" "Name another one in CARGO_HOME."

[ $lacking = 0 ] || exit 1

cd "$root" || exit 1
set -- cargo fetch --quiet --locked --target "$(rustc -vV | sed -n 's/^host: //p')"
"$@" --offline 2>/dev/null || exec sh test/download.sh "the crates" "$@"
