"""Fixtures of the examples' tests. Some thousand rows are enough here; run an example by hand for all."""

import os
import pathlib
import sys

import duckdb
import pytest

EXAMPLES = pathlib.Path(__file__).resolve().parents[1]
for directory in ["", "feed", "rag", "refresh", "search", "words"]:
    sys.path.insert(0, str(EXAMPLES / directory))

import data  # noqa: E402


def pytest_addoption(parser):
    cache = pathlib.Path(os.environ.get("XDG_CACHE_HOME") or pathlib.Path.home() / ".cache")
    parser.addoption("--extension", default=str(EXAMPLES.parent / "build/in-host/2.0.1/vss.duckdb_extension"))
    parser.addoption("--dist-python", default=str(cache / "vss/dist/venv/bin/python"), help="the Python that packs the wheel")
    parser.addoption("--model", default=str(cache / "vss/model"), help="the folder that `make examples` unpacks the model to")


@pytest.fixture(scope="session", autouse=True)
def extension(request):
    """Path of the extension; the examples find it in the environment."""
    path = pathlib.Path(request.config.getoption("--extension")).resolve()
    assert path.exists(), f"{path} is missing: run `make in-host`"
    os.environ["VSS_EXTENSION"] = str(path)
    return path


@pytest.fixture(scope="session")
def model_folder(request):
    path = pathlib.Path(request.config.getoption("--model")).resolve()
    assert path.exists(), f"{path} is missing: run `make examples`"
    return path


@pytest.fixture(scope="session")
def dataset(tmp_path_factory):
    """Directory with words.parquet, 5,000 rows of the examples' data, and queries.parquet."""
    directory = tmp_path_factory.mktemp("data")
    con = duckdb.connect()
    every_fourth = f"FROM '{data.WORDS}' QUALIFY row_number() OVER (ORDER BY id) % 4 = 0"
    con.execute(f"COPY ({every_fourth} ORDER BY id) TO '{directory}/words.parquet'")
    con.execute(f"COPY (FROM '{data.QUERIES}' ORDER BY id LIMIT 100) TO '{directory}/queries.parquet'")
    return directory


@pytest.fixture(scope="session")
def vectors(dataset):
    """Embeddings of 100 queries, as lists."""
    return [v for (v,) in duckdb.execute(f"SELECT embedding FROM '{dataset}/queries.parquet' ORDER BY id").fetchall()]


@pytest.fixture
def con(extension):
    with duckdb.connect(config={"allow_unsigned_extensions": "true"}) as con:
        con.load_extension(str(extension))
        yield con
