"""Fixtures of the tests that run in DuckDB's Python wheel."""

import pathlib
import subprocess
import sys
import textwrap

import duckdb
import pytest

ROOT = pathlib.Path(__file__).resolve().parents[2]


def pytest_addoption(parser):
    parser.addoption("--extension", default=str(ROOT / "build/in-host/2.0.1/vss.duckdb_extension"))
    parser.addoption("--dist-python", default=sys.executable, help="a Python with the packages of tools/requirements.txt")
    parser.addoption("--panics", action="store_true", help="the extension is one whose calls panic when they are asked to")
    parser.addoption("--seeds", type=int, default=20, help="seeds of the short run of the fuzzer")
    parser.addoption("--minutes", type=float, default=0, help="length of the concurrency tests; a number of steps without")


def pytest_ignore_collect(collection_path, config):
    # another build
    return True if collection_path.name == "test_panics.py" and not config.getoption("--panics") else None


@pytest.fixture(scope="session")
def extension(request):
    path = pathlib.Path(request.config.getoption("--extension")).resolve()
    assert path.exists(), f"{path} is missing: run `make in-host`"
    return str(path)


@pytest.fixture
def connect(extension):
    """Opens a database, in memory unless a path is given, with the extension loaded."""
    opened = []

    def connect(path=":memory:", **config):
        con = duckdb.connect(path, config={"allow_unsigned_extensions": "true", **config})
        con.load_extension(extension)
        opened.append(con)
        return con

    yield connect
    for con in opened:
        con.close()


@pytest.fixture
def con(connect):
    return connect()


#: Of the child: a connection with the extension, and threads whose errors and hanging are its end.
PRELUDE = """
import os, shutil, sys, threading, time
import duckdb

#: Seconds after which what has not come back never will.
PATIENCE = 30
CONFIG = {"allow_unsigned_extensions": "true"}


def connect(**config):
    con = duckdb.connect(config={**CONFIG, **config})
    con.load_extension(sys.argv[1])
    con.execute("SET GLOBAL hnsw_enable_experimental_persistence = true")
    return con


def keep(path):
    '''Copies a database file and its log, if there is one.'''
    for end in ("", ".wal"):
        if os.path.exists(path + end):
            shutil.copy(path + end, path + ".kept" + end)


def bring_back(path):
    '''Puts the copies in the place of the files.'''
    for end in ("", ".wal"):
        if os.path.exists(path + ".kept" + end):
            shutil.copy(path + ".kept" + end, path + end)


def fail(message):
    print(message, file=sys.stderr, flush=True)
    os._exit(1)


def together(*actions):
    barrier = threading.Barrier(len(actions))

    def run(action):
        try:
            barrier.wait()
            action()
        except BaseException as error:
            fail(f"{type(error).__name__}: {error}")

    threads = [threading.Thread(target=run, args=(action,), daemon=True) for action in actions]
    for thread in threads:
        thread.start()
    end = time.monotonic() + PATIENCE
    for thread in threads:
        thread.join(max(0, end - time.monotonic()))
        if thread.is_alive():
            fail("hangs")
"""


@pytest.fixture
def child(extension, tmp_path):
    """Runs a script after PRELUDE, with the extension and a directory as arguments. It must come to its end."""

    def child(script, timeout=300):
        program = PRELUDE + textwrap.dedent(script)
        arguments = [sys.executable, "-X", "faulthandler", "-c", program, extension, str(tmp_path)]
        done = subprocess.run(arguments, capture_output=True, text=True, timeout=timeout)
        assert done.returncode == 0, (done.returncode, done.stderr[:2000])
        return done.stdout

    return child
