"""What is built: which row is where, builds that were killed, bad arguments and files."""

import os
import subprocess
import sys
import textwrap
import time

import duckdb
import pytest
from sharding import CPUS, DIMENSIONS, ROWS, WITHOUT_RAY, build, opened, row, same

pytest.importorskip("ray", reason=WITHOUT_RAY)
# pytest puts aside what the package has said of this warning
pytestmark = pytest.mark.filterwarnings("ignore:Arrow output on a DB-API result")


def test_a_row_is_in_the_shard_of_its_key(shards, built, source, single):
    manifest = shards.Manifest.read(built)
    assert sorted(os.listdir(built)) == ["manifest.json", "shard-0000.duckdb", "shard-0001.duckdb", "shard-0002.duckdb"]
    assert sum(shard.rows for shard in manifest.shards) == ROWS and min(shard.rows for shard in manifest.shards) > ROWS // 5
    assert (manifest.key, manifest.column, manifest.placed_by, manifest.dimensions) == ("id", "embedding", "id", DIMENSIONS)
    assert manifest.columns["embedding"] == f"FLOAT[{DIMENSIONS}]" and manifest.versions["duckdb"] == duckdb.__version__
    import duckdb_vss

    for number in range(3):
        with duckdb_vss.connect(manifest.path(built, number), read_only=True) as con:
            assert con.execute(f"SELECT DISTINCT {manifest.shard_of()} FROM items").fetchall() == [(number,)]
            assert con.execute("SELECT status, count FROM pragma_hnsw_index_info()").fetchone()[0] == "ready"


def test_a_column_places_the_rows(shards, source, single, tmp_path):
    build(shards, source, tmp_path / "x", 2, placed_by="kind", metric="cosine", options={"quantization": "sq8"})
    with opened(shards, tmp_path / "x") as cluster:
        kinds = [{kind for (kind,) in rows} for rows in kinds_of(cluster)]
        assert not kinds[0] & kinds[1] and len(kinds[0] | kinds[1]) == 6
        expected = single.execute("SELECT id FROM items WHERE kind = 'kind 1' ORDER BY id LIMIT 3").fetchall()
        assert cluster.delete([id for (id,) in expected] + [-1]) == 3
        same(
            cluster.sql("SELECT id FROM items WHERE kind = 'kind 1' ORDER BY id LIMIT 1").rows(),
            [single.execute("SELECT id FROM items WHERE kind = 'kind 1' ORDER BY id LIMIT 1 OFFSET 3").fetchone()],
        )
        with pytest.raises(ValueError, match="'kind' is missing"):
            cluster.append([row(1)])
        assert cluster.append([row(1, kind="kind 1"), row(2, kind=None)]) == 2


def kinds_of(cluster):
    """The kinds of each shard."""
    answers, _ = cluster._ask("select", {shard: ("SELECT kind FROM items",) for shard in range(2)}, cluster._end(60), False)
    return [[(kind,) for kind in table["c0"].to_pylist()] for _, table in sorted(answers.items())]


def test_a_build_that_was_killed_goes_on(shards, package, source, tmp_path):
    directory = tmp_path / "shards"
    script = f"""
    import ray, duckdb_vss.shards as shards
    from duckdb_vss.shards import build, shard
    ray.init(num_cpus=2, include_dashboard=False, object_store_memory=100 << 20)
    shards.build("{source}/*.parquet", "{directory}", 8, cpus=1)
    """
    process = subprocess.Popen([sys.executable, "-c", textwrap.dedent(script)], start_new_session=True, stderr=subprocess.DEVNULL)
    patience = time.monotonic() + 600
    while len(list(directory.glob("*.duckdb"))) < 2:
        assert time.monotonic() < patience and process.poll() is None
        time.sleep(0.01)
    process.kill()
    process.wait()
    time.sleep(1)  # what it had begun ends with it
    before = {file: (file.stat().st_ino, file.stat().st_mtime_ns) for file in directory.glob("*.duckdb")}
    assert not (directory / "manifest.json").exists() and 2 <= len(before) <= 8
    with pytest.raises(FileNotFoundError, match="not to the end; call build again"):
        opened(shards, directory)
    with pytest.raises(ValueError, match="unfinished build with metric = 'l2sq', not 'ip'"):
        build(shards, source, directory, 8, metric="ip")
    with pytest.raises(ValueError, match="unfinished build from other files"):
        shards.build(f"{source}/0.parquet", directory, 8)
    manifest = build(shards, source, directory, 8)
    assert {file: (file.stat().st_ino, file.stat().st_mtime_ns) for file in before} == before
    assert sum(shard.rows for shard in manifest.shards) == ROWS
    assert sorted(file.name for file in directory.iterdir()) == ["manifest.json", *(f"shard-{number:04d}.duckdb" for number in range(8))]
    # what is complete is not built again
    assert build(shards, source, directory, 8) == manifest
    with pytest.raises(ValueError, match="holds shards already, with count = 8, not 7"):
        build(shards, source, directory, 7)


@pytest.mark.parametrize(
    ("options", "reason"),
    [
        ({"count": 0}, "shards = 0: give a number from 1"),
        ({"count": -2}, "shards = -2"),
        ({"count": 2.5}, "shards = 2.5"),
        ({"key": "nope"}, "key = 'nope' is no column of the files, which have id, embedding"),
        ({"column": "nope"}, "column = 'nope' is no column"),
        ({"placed_by": "nope"}, "placed_by = 'nope' is no column"),
        ({"key": "price"}, "key = 'price' is of type DOUBLE: it takes an integer"),
        ({"metric": "hamming"}, "metric = 'hamming': choose one of l2sq, cosine, ip"),
        ({"options": {"m": 1}}, "m"),
        ({"options": {"nope": 1}}, "nope"),
        ({"column": "day"}, "day|len"),
        ({"cpus": -1}, "cpus = -1: give processors"),
        ({"memory_limit": "x"}, "memory_limit = 'x': give a size, such as '8GB'"),
        ({"dimensions": 5}, "cast|array"),
        ({"key": "kind"}, "NOT NULL|same kind"),
    ],
)
def test_bad_arguments_of_a_build(shards, source, tmp_path, options, reason):
    with pytest.raises((ValueError, shards.ShardError), match=reason):
        build(shards, source, tmp_path / "x", **options)
    assert not (tmp_path / "x" / "manifest.json").exists()


def test_bad_files_of_a_build(shards, source, tmp_path):
    with pytest.raises(ValueError, match="none.parquet: there is no such file"):
        shards.build([f"{source}/0.parquet", f"{tmp_path}/none.parquet"], tmp_path / "x", 2)
    with pytest.raises(ValueError, match="name at least one"):
        shards.build([], tmp_path / "x", 2)
    (tmp_path / "bad.parquet").write_bytes(b"not Parquet at all")
    with pytest.raises(ValueError, match="bad.parquet"):
        shards.build(tmp_path / "bad.parquet", tmp_path / "x", 2)
    with pytest.raises(ValueError, match="is not empty, and holds no shards"):
        shards.build(f"{source}/0.parquet", tmp_path, 2)
    with pytest.raises(shards.ShardError, match="rows have the same id: 0, "):
        shards.build([f"{source}/0.parquet"] * 2, tmp_path / "x", 1, cpus=CPUS)
