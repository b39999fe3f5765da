"""Fixtures of the tests of duckdb_vss.shards, from the wheel, with Ray on this machine."""

import shutil
import subprocess
import sys

import duckdb
import pytest
from sharding import DIMENSIONS, ROOT, ROWS, build, opened


@pytest.fixture(scope="package")
def package(request, extension, tmp_path_factory):
    """The wheel, unpacked, in the place of an environment of its own; and what a session with Ray needs in its environment."""
    folder = tmp_path_factory.mktemp("package")
    dist = [request.config.getoption("--dist-python"), ROOT / "tools/dist.py", "--in-host", "--out", folder / "dist", extension]
    subprocess.run(dist, check=True, stdout=subprocess.DEVNULL)
    (wheel,) = folder.glob("dist/*.whl")
    install = [sys.executable, "-m", "pip", "install", "--quiet", "--no-index", "--no-deps", "--target", folder / "site", wheel]
    subprocess.run(install, check=True)
    (folder / "home").mkdir()
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("HOME", str(folder / "home"))
        patch.setenv("PYTHONPATH", str(folder / "site"))
        patch.setenv("RAY_AUTH_MODE", "disabled")
        patch.setenv("RAY_USAGE_STATS_ENABLED", "0")
        patch.setenv("RAY_worker_niceness", "0")  # else they give way to all other work of the machine
        patch.syspath_prepend(str(folder / "site"))
        patch.delitem(sys.modules, "duckdb_vss", raising=False)
        yield folder / "site"
        for name in [name for name in sys.modules if name.split(".")[0] == "duckdb_vss"]:
            del sys.modules[name]


@pytest.fixture(scope="package")
def shards(package):
    """The module, with Ray running."""
    import ray

    ray.init(num_cpus=2, include_dashboard=False, object_store_memory=100 << 20, log_to_driver=False)
    import duckdb_vss.shards

    yield duckdb_vss.shards
    ray.shutdown()


@pytest.fixture(scope="package")
def source(tmp_path_factory):
    """Parquet files with rows of many kinds: ties, NULL vectors, NULLs in all columns but the key."""
    folder = tmp_path_factory.mktemp("source")
    con = duckdb.connect()
    con.execute(
        f"""
        CREATE TABLE items AS
        SELECT (i * 7919) % 1000003 AS id,
               CASE WHEN i % 97 > 0 THEN list_transform(range({DIMENSIONS}), lambda j: round(sin(i // 3 * 0.7 + j * i // 3), 2)) END
                   AS embedding,
               CASE WHEN i % 11 = 0 THEN NULL ELSE 'kind ' || i % 5 END AS kind,
               DATE '2026-01-01' + (i % 50)::INTEGER AS day,
               CASE WHEN i % 13 = 0 THEN NULL WHEN i % 17 = 0 THEN 'nan'::DOUBLE ELSE i % 9 / 2 END AS price,
               [i % 3, NULL] AS tags, {{a: i % 2, b: 'x' || i}} AS pair, i / 7 AS ratio
        FROM range({ROWS}) r(i)
        """
    )
    for part in range(3):
        con.execute(f"COPY (FROM items WHERE id % 3 = {part}) TO '{folder}/{part}.parquet'")
    return folder


@pytest.fixture(scope="package")
def single(source):
    """One table with the same rows, asked without an index."""
    with duckdb.connect() as con:
        con.execute(f"CREATE TABLE items AS SELECT * REPLACE (embedding::FLOAT[{DIMENSIONS}] AS embedding) FROM '{source}/*.parquet'")
        con.execute("SET disabled_optimizers = 'extension,late_materialization,top_n_window_elimination'")
        yield con

@pytest.fixture(scope="package")
def built(shards, source, tmp_path_factory):
    directory = tmp_path_factory.mktemp("built") / "shards"
    build(shards, source, directory)
    return directory

@pytest.fixture(scope="package")
def cluster(shards, built):
    with opened(shards, built) as cluster:
        yield cluster


@pytest.fixture
def copy(built, tmp_path):
    """The shards, to do with as a test likes."""
    return shutil.copytree(built, tmp_path / "copy")
