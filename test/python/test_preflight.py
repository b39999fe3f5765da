"""What a machine lacks is said in words, at once, before anything is downloaded or compiled."""

import _duckdb
import os
import pathlib
import re
import shutil
import subprocess
import sys

import duckdb
import numpy._core._multiarray_umath as another
import pytest

ROOT = pathlib.Path(__file__).resolve().parents[2]
sys.path.insert(0, str(ROOT / "test"))
import check_host  # noqa: E402

SHELL = shutil.which("sh")
#: What the script itself calls; each is the machine's own.
TOOLS = ["awk", "cat", "dirname", "gzip", "head", "mkdir", "mktemp", "rm", "sed", "sh", "tar"]
#: What a machine must have; each is a stand-in that has all that is asked of it.
PROGRAMS = {
    "c++": "cat >/dev/null",
    "cc": "exit 0",
    "cargo": 'echo "$@" >>"$CALLS"',
    "rustc": 'if [ "$1" = -vV ]; then echo host: some-machine; else echo "rustc 1.89.0 (abc 2025-08-04)"; fi',
    "python3": 'case "$2" in *musl*) exit 1 ;; esac',
    "uname": 'if [ "$1" = -s ]; then echo Linux; else echo x86_64; fi',
}


class Machine:
    """A machine with a checkout; its programs are in one folder."""

    def __init__(self, folder):
        self.programs = folder / "bin"
        self.checkout = folder / "checkout"
        self.cache = folder / "cache"
        self.calls = folder / "calls"
        self.environment = {"PATH": str(self.programs), "HOME": str(folder / "home"), "CALLS": str(self.calls)}
        (self.checkout / "test").mkdir(parents=True)
        for name in ["Cargo.toml", "test/preflight.sh", "test/download.sh"]:
            shutil.copy(ROOT / name, self.checkout / name)
        self.programs.mkdir()
        for name in TOOLS:
            (self.programs / name).symlink_to(shutil.which(name))
        for name, script in PROGRAMS.items():
            self.program(name, script)

    def program(self, name, script):
        path = self.programs / name
        path.write_text(f"#!{SHELL}\n{script}\n")
        path.chmod(0o755)

    def remove(self, name):
        (self.programs / name).unlink()

    def check(self, version="2.0.1", **environment):
        """The exit code, and the lines of what is missing, without what to do about it."""
        done = self.run([SHELL, "test/preflight.sh", version, "2.0.0 2.0.1", str(self.cache)], **environment)
        self.message = done.stderr
        return done.returncode, re.findall("^missing: (.*)$", done.stderr, re.MULTILINE)

    def run(self, command, **environment):
        return subprocess.run(command, cwd=self.checkout, env=self.environment | environment, capture_output=True, text=True)


@pytest.fixture
def machine(tmp_path):
    return Machine(tmp_path)


def test_nothing_is_missing(machine):
    assert machine.check() == (0, [])
    assert machine.message == ""
    # the crates are there: nothing is asked of the network
    assert machine.calls.read_text() == "fetch --quiet --locked --target some-machine --offline\n"


@pytest.mark.parametrize(
    ("program", "missing", "instead"),
    [
        ("c++", "a C++ compiler: there is no `c++`", "apt install g++"),
        ("cc", "a linker for Rust: there is no `cc`", "apt install gcc"),
        ("cargo", "Rust 1.89 or newer: there is no `cargo` or no `rustc`", "rustup.rs"),
        ("rustc", "Rust 1.89 or newer: there is no `cargo` or no `rustc`", "rustup.rs"),
        ("python3", "Python 3.11 or newer: there is no `python3`", "apt install python3 python3-venv"),
        ("tar", "`tar`, to unpack DuckDB's headers", "package of this name"),
        ("gzip", "`gzip`, to unpack DuckDB's headers", "package of this name"),
    ],
)
def test_a_program_is_missing(machine, program, missing, instead):
    machine.remove(program)
    assert machine.check() == (1, [missing])
    assert instead in machine.message
    assert not machine.calls.exists(), "crates were asked for"


@pytest.mark.parametrize(
    ("program", "script", "missing"),
    [
        ("c++", "echo 'optional: No such file' >&2; exit 1", "a C++ compiler that works: `c++` fails with: optional: No such file"),
        ("rustc", "echo 'rustup could not choose a version' >&2; exit 1", "Rust 1.89 or newer: `rustc` fails with: rustup could not choose a version"),
        ("rustc", "echo 'rustc 1.88.1 (abc)'", "Rust 1.89 or newer; this is rustc 1.88.1 (abc)"),
        ("rustc", "echo 'rustc 1.9.0'", "Rust 1.89 or newer; this is rustc 1.9.0"),
        ("python3", '[ "$1" = --version ] && echo Python 3.9.2; exit 1', "Python 3.11 or newer, as DuckDB's wheels want; this is Python 3.9.2"),
        ("python3", 'case "$2" in *ensurepip*) exit 1 ;; esac', "Python's modules venv and ensurepip"),
        ("python3", "exit 0", "the C library glibc; this Python uses musl, for which DuckDB has no wheels"),
        ("uname", 'if [ "$1" = -s ]; then echo Darwin; else echo arm64; fi', "Linux on x86_64 or aarch64; this is Darwin on arm64"),
        ("uname", 'if [ "$1" = -s ]; then echo Linux; else echo riscv64; fi', "Linux on x86_64 or aarch64; this is Linux on riscv64"),
    ],
)
def test_a_program_does_not_do(machine, program, script, missing):
    machine.program(program, script)
    assert machine.check() == (1, [missing])


@pytest.mark.parametrize("version", ["1.89.0 (abc)", "1.90.0-nightly (abc)", "1.100.2", "2.0.0"])
def test_newer_rust(machine, version):
    machine.program("rustc", f'if [ "$1" = -vV ]; then echo host: some-machine; else echo "rustc {version}"; fi')
    assert machine.check() == (0, [])


def test_another_compiler(machine):
    assert machine.check(CXX="clang++ -O1") == (1, ["a C++ compiler: there is no `clang++`"])
    machine.program("clang++", '[ "$1" = -O1 ] && cat >/dev/null')
    assert machine.check(CXX="clang++ -O1") == (0, [])


def test_folders_that_cannot_be_written(machine, tmp_path):
    file = tmp_path / "file"
    file.touch()
    (machine.checkout / "build").touch()
    machine.cache = file / "cache"
    code, missing = machine.check(CARGO_HOME=str(file / "cargo"), TMPDIR=str(file))
    assert (code, missing) == (
        1,
        [
            f"a folder for temporary files: {file} cannot be written",
            f"a checkout that can be written: {machine.checkout}/build cannot",
            f"a folder to keep builds in: {file}/cache cannot be written",
            f"a folder to keep crates in: {file}/cargo cannot be written",
        ],
    )
    for instead in ["TMPDIR", "Clone the repository", "XDG_CACHE_HOME", "CARGO_HOME"]:
        assert instead in machine.message


def test_an_unsupported_version(machine):
    assert machine.check("1.4.0") == (1, ["DuckDB 1.4.0 is not supported, but 2.0.0 2.0.1"])


def test_all_is_said_at_once(machine):
    for program in ["c++", "cargo", "python3"]:
        machine.remove(program)
    code, missing = machine.check()
    assert (code, len(missing)) == (1, 3)


def test_crates_are_downloaded_before_anything_is_compiled(machine):
    machine.program("cargo", 'echo "$@" >>"$CALLS"; case "$*" in *--offline*) exit 101 ;; esac')
    assert machine.check() == (0, [])
    fetch = "fetch --quiet --locked --target some-machine"
    assert machine.calls.read_text() == f"{fetch} --offline\n{fetch}\n"


def test_no_network(machine):
    machine.program("cargo", "echo 'could not resolve host' >&2; exit 101")
    assert machine.check() == (1, [])
    assert re.search("could not resolve host\nthe crates: the download failed;.* needs a network", machine.message)


def test_a_download_that_fails(machine):
    done = machine.run([SHELL, "test/download.sh", "DuckDB 9.9.9", SHELL, "-c", 'echo "no match for $1" >&2; exit 7', "pip", "duckdb==9.9.9"])
    assert (done.returncode, done.stdout) == (1, "downloading DuckDB 9.9.9\n")
    assert done.stderr.startswith("no match for duckdb==9.9.9\nDuckDB 9.9.9: the download failed;")
    done = machine.run([SHELL, "test/download.sh", "it", SHELL, "-c", 'echo "$PIP_RETRIES"'])
    assert (done.returncode, done.stdout, done.stderr) == (0, "downloading it\n2\n", "")


def make(*arguments):
    """`make` as from a shell, not as a part of the one that runs these tests."""
    environment = {name: value for name, value in os.environ.items() if not name.startswith("MAKE") and name != "MFLAGS"}
    return subprocess.run(["make", "-C", ROOT, *arguments], env=environment, capture_output=True, text=True)


@pytest.mark.parametrize("target", ["example", "test"])
def test_the_commands_begin_with_it(target, tmp_path):
    cache = tmp_path / "cache"
    done = make(target, f"CACHE={cache}", "CXX=no-such-compiler")
    assert done.returncode == 2
    assert "missing: a C++ compiler: there is no `no-such-compiler`\n" in done.stderr
    assert list(cache.iterdir()) == [], "something was downloaded or built"


@pytest.mark.parametrize(("target", "downloads"), [("example", 4), ("test", 7)])
def test_the_commands_download_before_they_compile(target, downloads, tmp_path):
    lines = make("-n", target, f"CACHE={tmp_path}").stdout.splitlines()
    fetched = [number for number, line in enumerate(lines) if re.match("sh test/(download|headers).sh", line)]
    compiled = [number for number, line in enumerate(lines) if re.search(r"\bcargo (build|test)", line)]
    assert len(fetched) == downloads
    assert max(fetched) < min(compiled)


def test_a_host_must_be_of_the_version_and_show_its_symbols():
    version = duckdb.__version__
    assert check_host.fault(version, version, _duckdb.__file__) is None
    assert f"this is DuckDB {version}, not 1.4.0" in check_host.fault("1.4.0", version, _duckdb.__file__)
    hidden = check_host.fault(version, version, another.__file__)
    assert hidden.startswith(f"{another.__file__} does not export _ZTIN6duckdb10BoundIndexE, ")
    assert "make release" in hidden
