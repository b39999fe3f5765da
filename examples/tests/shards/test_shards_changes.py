"""What changes: rows come and go, a shard is replaced while others answer."""

import concurrent.futures
import datetime
import threading
import uuid

import duckdb
import pyarrow as pa
import pytest
from sharding import QUERIES, ROWS, WITHOUT_RAY, opened, row

pytest.importorskip("ray", reason=WITHOUT_RAY)
# pytest puts aside what the package has said of this warning
pytestmark = pytest.mark.filterwarnings("ignore:Arrow output on a DB-API result")


def test_rows_come_and_go(shards, copy, single):
    with opened(shards, copy) as cluster:
        day = datetime.date(2030, 1, 1)
        given = [
            row(-i, kind=f"new {i % 2}", day=day, price=float(i), tags=[i], pair={"a": i, "b": "y"}, ratio=float(i)) for i in range(1, 41)
        ]
        assert cluster.append(given) == 40
        found = cluster.search([0.5] * 6, 40, columns=list(given[0])[2:], where="day = DATE '2030-01-01'").rows()
        assert [entry[:1] + entry[1:-1] for entry in sorted(found, reverse=True)] == [
            (entry["id"], entry["kind"], day, entry["price"], entry["tags"], entry["pair"], entry["ratio"]) for entry in given
        ]
        frame = duckdb.sql("SELECT 500000000 + i AS id, [i, 0, 0, 0, 0, 0]::DOUBLE[] AS embedding FROM range(2000) r(i)")
        assert cluster.append(frame.to_arrow_table()) == 2000
        assert cluster.append(pa.table({"id": pa.array([600000000]), "embedding": pa.array([None], pa.list_(pa.float32()))})) == 1
        assert cluster.search([1500.0, 0, 0, 0, 0, 0], 1).rows() == [(500001500, 0.0)]
        assert cluster.delete([-1, -2, 500001500, 123456789012]) == 3
        assert cluster.search([1500.0, 0, 0, 0, 0, 0], 1).rows() == [(500001499, 1.0)]
        assert cluster.delete([-3, -3]) == 1 and cluster.append([given[2]]) == 1
        assert cluster.delete([]) == 0 and cluster.append([]) == 0
        assert sum(status["rows"] for status in cluster.status()) == ROWS + 40 + 2000 + 1 - 3
    with opened(shards, copy) as cluster:
        assert sum(status["rows"] for status in cluster.status()) == ROWS + 40 + 2000 + 1 - 3
        assert cluster.search([0.5] * 6, 1).rows() == [(-40, 0.0)]


def test_an_append_that_is_sent_twice_is_done_once(shards, copy):
    with opened(shards, copy) as cluster:
        id = uuid.uuid4()
        given = [row(-i) for i in range(1, 31)]
        assert cluster.append(given, id=id) == 30 and cluster.append(given, id=id) == 30
        assert cluster.sql("SELECT id FROM items WHERE id < 0").table.num_rows == 30
        deleted = uuid.uuid4()
        assert cluster.delete([-1, -2], id=deleted) == 2 and cluster.delete([-1, -2], id=deleted) == 2
        # what has been deleted since does not come back
        assert cluster.append(given, id=id) == 30
        assert cluster.sql("SELECT id FROM items WHERE id < 0").table.num_rows == 28
        # a delete is no append, whatever its id
        assert cluster.delete([-3, -4], id=id) == 2
        assert cluster.sql("SELECT id FROM items WHERE id < 0").table.num_rows == 26


@pytest.mark.parametrize(
    ("rows", "reason"),
    [
        ([row(None)], "1 have no id"),
        ([row(1), row(2), row(1)], "rows: id = 1 occurs twice: a key is of one row"),
        ([row(7919)], "rows with this id are in the table already \\(shard .: 7919\\), so nothing"),
        ([row(1, nope=2)], "rows: 'nope' is no column"),
        ([{"embedding": [1.0] * 6}], "the column 'id' is missing"),
        ([{"id": 1, "embedding": [1.0] * 5}], "rows: .*[Cc]annot cast"),
        ([row("x")], "rows: .*Could not convert"),
        ([row(2**70)], "too large|too big"),
        ([row(1.5)], "id = 1.5: give whole numbers"),
        ("boat", "an Arrow table, a DataFrame or a list"),
        (5, "an Arrow table, a DataFrame or a list"),
    ],
)
def test_bad_rows(cluster, rows, reason):
    before = [status["rows"] for status in cluster.status()]
    with pytest.raises(ValueError, match=reason):
        cluster.append(rows)
    assert [status["rows"] for status in cluster.status()] == before


def test_bad_arguments_of_changes(cluster, shards, built):
    with pytest.raises(ValueError, match="keys: a list of BIGINT"):
        cluster.delete(5)
    with pytest.raises(ValueError, match="rows: .*Could not convert"):
        cluster.delete(["x"])
    with pytest.raises(ValueError, match="id = 7919.5: give whole numbers"):
        cluster.delete([7919.5])
    with pytest.raises(ValueError, match="give a UUID"):
        cluster.append([row(1)], id="first")
    with pytest.raises(ValueError, match="LIMIT None: give a whole number"):
        cluster.sql("SELECT id FROM items ORDER BY id LIMIT $most", {"most": None})
    with pytest.raises(ValueError, match="shard 3: the shards are 0 to 2"):
        cluster.replace_shard(3, "x.parquet")
    with pytest.raises(ValueError, match="there is no such file"):
        cluster.replace_shard(1, "x.parquet")
    refused = [({"replicas": 0}, "replicas = 0"), ({"timeout": -1}, "timeout = -1")]
    refused += [({"settings": {"default_null_order": "nulls_first"}}, "default_null_order would not be that of the merge")]
    refused += [({"settings": {"NULL_ORDER": "nulls_first"}}, "NULL_ORDER would not be that of the merge")]
    refused += [({"settings": {"Default_Order": "desc"}}, "Default_Order would not be that of the merge")]
    refused += [({"settings": {"lock_configuration": True}}, "settings: .*locked")]
    refused += [({"settings": {"nope": 1}}, "nope"), ({"cpus": 0}, "cpus = 0: give processors")]
    refused += [({"memory_limit": "x"}, "memory_limit = 'x': give a size, such as '8GB'")]
    for options, reason in refused:
        with pytest.raises(ValueError, match=reason):
            opened(shards, built, **options)
    with pytest.raises(FileNotFoundError, match="manifest.json is missing"):
        opened(shards, built.parent)


def test_a_shard_is_replaced_while_all_answer(shards, copy, source, single, tmp_path):
    duckdb.execute(f"COPY (SELECT * REPLACE ('new' AS kind) FROM '{source}/*.parquet' WHERE id % 2 = 0) TO '{tmp_path}/new.parquet'")
    with opened(shards, copy) as cluster:
        stopped, counts, failures = threading.Event(), set(), []

        def ask():
            while not stopped.is_set():
                try:
                    counts.add(len(cluster.search(QUERIES[0], ROWS, columns=["kind"]).table))
                except Exception as error:
                    failures.append(error)
                    return

        with concurrent.futures.ThreadPoolExecutor(3) as pool:
            asking = [pool.submit(ask) for _ in range(2)]
            old = cluster.manifest.path(copy, 1)
            held = cluster.manifest.shards[1].rows
            try:
                appended = pool.submit(cluster.append, [row(-i) for i in range(1, 31)])
                file = cluster.replace_shard(1, tmp_path / "new.parquet")
                appended.result()
            finally:
                stopped.set()
            for result in asking:
                result.result()
        assert not failures and ROWS + 30 >= max(counts) and min(counts) >= ROWS - held
        assert not old.exists() and (copy / file.file).exists()
        kinds = {(row[1], row[2]) for row in cluster.search(QUERIES[0], 2 * ROWS, columns=["kind", "day"], where="kind = 'new'").rows()}
        assert {kind for kind, _ in kinds} == {"new"}
        assert len(cluster.search(QUERIES[0], 2 * ROWS, where="kind = 'new'").table) == file.rows
    with opened(shards, copy) as cluster:
        assert cluster.manifest.shards[1] == file
        assert len(cluster.search(QUERIES[0], 2 * ROWS, where="kind = 'new'").table) == file.rows
