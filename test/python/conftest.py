"""Fixtures of the tests that run in DuckDB's Python wheel."""

import pathlib

import duckdb
import pytest

ROOT = pathlib.Path(__file__).resolve().parents[2]


def pytest_addoption(parser):
    parser.addoption("--extension", default=str(ROOT / "build/in-host/2.0.1/vss.duckdb_extension"))
    parser.addoption("--seeds", type=int, default=20, help="seeds of the short run of the fuzzer")
    parser.addoption("--minutes", type=float, default=0, help="length of the concurrency tests; a few seconds without")


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
