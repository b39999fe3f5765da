"""What goes wrong: files that are damaged or foreign, actors that are killed, shards that are slow."""

import concurrent.futures
import contextlib
import json
import logging
import os
import random
import shutil
import signal
import subprocess
import sys
import threading
import time
import uuid

import duckdb
import pytest
from sharding import CPUS, DIMENSIONS, QUERIES, ROOT, WITHOUT_RAY, build, opened, process, row

pytest.importorskip("ray", reason=WITHOUT_RAY)
# pytest puts aside what the package has said of this warning
pytestmark = pytest.mark.filterwarnings("ignore:Arrow output on a DB-API result")


def spoil(path, how):
    if how == "missing":
        path.unlink()
    elif how == "not a database":
        path.write_bytes(b"not a database" * 1000)
    elif how == "cut off":
        os.truncate(path, 5000)
    elif how == "half":
        os.truncate(path, path.stat().st_size // 2)
    elif how == "header":
        with path.open("r+b") as file:
            file.seek(4096)
            file.write(os.urandom(8192))
    elif how == "every block":
        with path.open("r+b") as file:
            for block in range(3 * 4096, path.stat().st_size, 1 << 18):
                file.seek(block + 5000)
                file.write(b"damage")
    elif how == "another database":
        path.unlink()
        duckdb.connect(path).close()


def status_of(directory, number):
    """What an actor answers, without one."""
    from duckdb_vss.shards.shard import Shard

    shard = Shard(str(directory), number, cpus=CPUS, memory_limit="500MB")
    try:
        shard.select("FROM items")
        return shard.status()
    finally:
        shard.close()


def test_a_closed_cluster_stays_closed(shards, copy):
    with opened(shards, copy) as cluster:
        cluster.close()
        calls = [lambda: cluster.search(QUERIES[0]), lambda: cluster.sql("FROM items"), lambda: cluster.append([row(1)]), cluster.status]
        for call in calls:
            with pytest.raises(ValueError, match="the cluster is closed: open it again"):
                call()
    for file in copy.glob("*.duckdb"):
        duckdb.connect(str(file), config={"access_mode": "read_only"}).close()  # nobody has it open


def test_a_shard_that_is_open_elsewhere_is_not_replaced(shards, copy, source):
    with opened(shards, copy) as cluster:
        other = opened(shards, copy, check=False)
        with pytest.raises(shards.ShardError, match="Another process has it open: close that one"):
            other.replace_shard(0, f"{source}/*.parquet")
        other.close()
        assert cluster.append([row(-id) for id in range(1, 20)]) == 19
        before = sum(status["rows"] for status in cluster.status())
    with opened(shards, copy) as cluster:
        assert sum(status["rows"] for status in cluster.status()) == before


@pytest.mark.parametrize(
    ("how", "reason"),
    [
        ("missing", "the file is missing"),
        ("not a database", "cannot be opened"),
        ("cut off", "cannot be opened.*call replace_shard"),
        ("half", "is cut off: it has [0-9,]+ bytes, and needs [0-9,]+ at least; put the right file there.*call replace_shard"),
        ("header", "cannot be opened.*call replace_shard"),
        ("every block", "[Cc]hecksum(.|\n)*call replace_shard"),
        ("another database", "is a database, but no shard"),
    ],
)
def test_a_bad_file_is_named(shards, copy, how, reason):
    assert status_of(copy, 1)["index_status"] == "ready"
    spoil(copy / "shard-0001.duckdb", how)
    with pytest.raises(shards.ShardError, match=f"shard 1 .*shard-0001.duckdb.*{reason}") as raised:
        status_of(copy, 1)
    assert raised.value.shards == (1,)


def test_an_index_that_is_missing_is_named(shards, copy):
    import duckdb_vss

    def changed(statement):
        with duckdb_vss.connect(copy / "shard-0001.duckdb") as con:
            con.execute(statement)

    another = "CREATE INDEX another ON items USING HNSW (embedding) WITH (metric = 'cosine')"
    changed(f"SET hnsw_enable_experimental_persistence = true; {another}")
    assert status_of(copy, 1)["index_status"] == "ready"
    changed("DROP INDEX another; CHECKPOINT; DROP INDEX items_by_distance")
    with pytest.raises(shards.ShardError, match="shard 1 .*shard-0001.duckdb.*items_by_distance is missing. Open the file") as raised:
        status_of(copy, 1)
    assert raised.value.shards == (1,)
    changed(str(raised.value).split("execute ")[1].split(". Or ")[0])
    assert status_of(copy, 1)["index_status"] == "ready"


def test_a_bad_file_is_replaced(shards, copy, source, single):
    spoil(copy / "shard-0001.duckdb", "header")
    spoil(copy / "shard-0002.duckdb", "missing")
    with pytest.raises(shards.ShardError, match="shard 1 .*cannot be opened.*shard 2 .*the file is missing") as raised:
        opened(shards, copy)
    assert raised.value.shards == (1, 2)
    with opened(shards, copy, check=False) as cluster:
        with pytest.raises(shards.ShardError, match="shard 1 .*cannot be opened"):
            cluster.search(QUERIES[0])
        for number in (1, 2):
            cluster.replace_shard(number, f"{source}/*.parquet")
        expected = f"SELECT id FROM items ORDER BY array_distance(embedding, $1::FLOAT[{DIMENSIONS}]), id LIMIT 10"
        assert [row[:1] for row in cluster.search(QUERIES[0]).rows()] == single.execute(expected, [QUERIES[0].tolist()]).fetchall()


def test_a_file_of_other_shards_is_refused(shards, copy, source, tmp_path):
    build(shards, source, tmp_path / "other", 2)
    first = copy / "shard-0000.duckdb"
    kept = shutil.copy(first, tmp_path / "kept")
    shutil.copy(tmp_path / "other/shard-0000.duckdb", first)
    with pytest.raises(shards.ShardError, match="shard 0 .* belongs to other shards"):
        status_of(copy, 0)
    shutil.copy(copy / "shard-0001.duckdb", first)
    with pytest.raises(shards.ShardError, match="shard 0 .* holds shard 1: the files were exchanged"):
        status_of(copy, 0)
    shutil.copy(kept, first)
    manifest = json.loads((copy / "manifest.json").read_text())
    manifest["shards"][0]["made"] = str(uuid.uuid4())
    (copy / "manifest.json").write_text(json.dumps(manifest))
    with pytest.raises(shards.ShardError, match="shard 0 .* is another build of this shard"):
        status_of(copy, 0)


@pytest.mark.parametrize(
    ("change", "reason"),
    [
        (lambda manifest: manifest.update(format=2), "format 2, where this version of duckdb-vss reads 1"),
        (lambda manifest: manifest.pop("key"), "is no manifest of shards"),
        (lambda manifest: manifest["shards"].pop(), "names 2 files for 3 shards"),
    ],
)
def test_a_bad_manifest_is_refused(shards, copy, change, reason):
    manifest = json.loads((copy / "manifest.json").read_text())
    change(manifest)
    (copy / "manifest.json").write_text(json.dumps(manifest))
    with pytest.raises(ValueError, match=f"manifest.json .*{reason}"):
        opened(shards, copy)


def test_an_actor_that_is_killed_is_asked_again(shards, copy):
    with opened(shards, copy) as cluster:
        expected = cluster.search(QUERIES[0], 20).rows()
        for shard in (0, 2):
            os.kill(process(cluster, shard), signal.SIGKILL)
            assert cluster.search(QUERIES[0], 20).rows() == expected
        # in the middle of a search
        stopped = threading.Event()
        with concurrent.futures.ThreadPoolExecutor(1) as pool:
            killing = pool.submit(lambda: (stopped.wait(0.2), os.kill(process(cluster, 1), signal.SIGKILL)))
            while not killing.done():
                assert cluster.search(QUERIES[0], 20).rows() == expected
            killing.result()
        assert cluster.search(QUERIES[0], 20).rows() == expected


def test_kills_lose_nothing_and_double_nothing(shards, copy):
    """Appends and deletes while actors are killed at any moment: the table has what was acknowledged, once."""
    choose = random.Random(3)
    with opened(shards, copy) as cluster:
        processes = {status["shard"]: status["process"] for status in cluster.status()}
        expected, stopped = set(), threading.Event()

        def kill():
            for _ in range(6):
                if stopped.wait(choose.uniform(0.3, 1.5)):
                    return
                with contextlib.suppress(ProcessLookupError):
                    os.kill(processes[choose.randrange(3)], signal.SIGKILL)
                for status in cluster.status():
                    processes[status["shard"]] = status["process"]

        with concurrent.futures.ThreadPoolExecutor(1) as pool:
            killing = pool.submit(kill)
            turn = 0
            try:
                while not killing.done():
                    turn += 1
                    keys = [-(turn * 100 + i) for i in range(20)]
                    assert cluster.append([row(key) for key in keys]) == 20
                    assert cluster.delete(keys[:5]) == 5
                    expected |= set(keys[5:])
            finally:
                stopped.set()
            killing.result()
        found = [id for (id,) in cluster.sql("SELECT id FROM items WHERE id < 0").rows()]
        assert len(found) == len(set(found)) and set(found) == expected and turn > 5
        assert {id for id, _ in cluster.search([0.5] * 6, len(expected)).rows()} == expected


def test_a_slow_shard_meets_the_deadline(shards, copy):
    with opened(shards, copy) as cluster:
        expected = cluster.search(QUERIES[0], 30, columns=["kind"])
        cluster.search(QUERIES[:2], 30)
        slow = process(cluster, 1)
        os.kill(slow, signal.SIGSTOP)
        try:
            begin = time.monotonic()
            with pytest.raises(shards.Late, match=r"not answered within [\d.]+ s: shard 1 .*shard-0001.duckdb.*no answer") as raised:
                cluster.search(QUERIES[0], 30, timeout=6)
            assert raised.value.shards == (1,)
            answer = cluster.search(QUERIES[0], 30, columns=["kind"], timeout=6, partial=True)
            assert answer.partial and answer.missing == (1,)
            many = cluster.search(QUERIES[:2], 30, timeout=6, partial=True)
            assert many.missing == (1,) and len(many.table) == 60
            id = uuid.uuid4()
            with pytest.raises((shards.WriteError, shards.Late), match="shard 1"):
                cluster.append([row(-i) for i in range(1, 31)], id=id, timeout=6)
            assert time.monotonic() - begin < 100
            held = {id for id, *_ in expected.rows()}
            assert len(answer.table) == 30 and len({id for id, *_ in answer.rows()} & held) < 30
        finally:
            os.kill(slow, signal.SIGCONT)
        assert cluster.append([row(-i) for i in range(1, 31)], id=id) == 30
        assert len(cluster.sql("SELECT id FROM items WHERE id < 0").table) == 30
        assert cluster.delete([-i for i in range(1, 31)]) == 30
        assert not cluster.search(QUERIES[0], 30, partial=True).partial
        assert cluster.search(QUERIES[0], 30, columns=["kind"]).rows() == expected.rows()


def test_a_long_statement_of_a_shard_is_ended(shards, copy):
    """Nobody waits for it: it does not go on."""
    with opened(shards, copy) as cluster:
        slow = "list_sum(list_transform(range(20000), lambda x: sin(x + id))) > 1e9"
        with pytest.raises(shards.Late, match="shard"):
            cluster.search(QUERIES[0], 5, where=slow, timeout=0.5)
        begin = time.monotonic()
        cluster.search(QUERIES[0], 5)
        assert time.monotonic() - begin < 30


def test_a_long_constant_is_within_the_timeout(shards, copy):
    """It is computed by the shards, each in its time, and not while the statement is planned."""
    with opened(shards, copy) as cluster:
        long = "list_sum(list_transform(range(5000000), lambda x: sin(x)))"
        begin = time.monotonic()
        with pytest.raises(shards.Late, match="not answered within 0.5 s: shard 0"):
            cluster.sql(f"SELECT id FROM items WHERE {long} > -1e9", timeout=0.5)
        assert time.monotonic() - begin < 3


def test_planning_ends_with_the_timeout(shards, cluster):
    """What is computed when a statement is bound is interrupted, and other calls do not wait for it."""
    long = "list_sum(list_transform(range(5000000), lambda x: sin(x)))"
    listed = ", ".join(f"regexp_matches(kind, ({long} + {number})::VARCHAR)" for number in range(20))
    with concurrent.futures.ThreadPoolExecutor(1) as pool:
        planned = pool.submit(cluster.sql, f"SELECT {listed} FROM items", timeout=0.5)
        begin = time.monotonic()
        cluster.sql("SELECT id FROM items WHERE id = 7919 ORDER BY id LIMIT 1")
        assert not planned.done() or time.monotonic() - begin < 1
        with pytest.raises(shards.Late, match="not planned within 0.5 s"):
            planned.result()
        assert time.monotonic() - begin < 5


def test_late_answers_are_not_printed(shards, copy):
    printed = []
    handler = logging.Handler()
    handler.emit = lambda record: printed.append(record.getMessage())
    logging.getLogger("ray").addHandler(handler)
    slow = "SELECT id FROM items WHERE list_sum(list_transform(range(100000), lambda x: sin(x + id))) > 1e9"
    try:
        with opened(shards, copy) as cluster:
            for seconds in (0.7, 0.5, 0.3):
                with pytest.raises(shards.Late):
                    cluster.sql(slow, timeout=seconds)
            # once they have ended, the shards answer again, and what they had to say of these is thrown away
            cluster.search(QUERIES[0])
            time.sleep(1)
    finally:
        logging.getLogger("ray").removeHandler(handler)
    assert not printed


def test_replicas_read(shards, copy):
    with opened(shards, copy, replicas=2) as cluster:
        status = cluster.status()
        assert len({entry["process"] for entry in status}) == 6
        expected = cluster.search(QUERIES[0], 20).rows()
        os.kill(status[0]["process"], signal.SIGKILL)
        for _ in range(4):
            assert cluster.search(QUERIES[0], 20).rows() == expected
        for change in [lambda: cluster.append([row(1)]), lambda: cluster.delete([1]), lambda: cluster.replace_shard(0, "x")]:
            with pytest.raises(ValueError, match="2 replicas, which only read: open it with one to write"):
                change()


def test_more_actors_than_processors_are_refused(shards, built):
    with pytest.raises(shards.Late, match="Ray has 2 processors, and 3 actors want 2 each"):
        opened(shards, built, cpus=2, timeout=3)


def test_without_ray_it_says_what_to_install(package):
    script = "import sys; sys.modules['ray'] = None; import duckdb_vss; import duckdb_vss.shards"
    done = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True)
    assert done.returncode == 1 and "pip install 'duckdb-vss[ray]'" in done.stderr


def test_the_walk(package, dataset, tmp_path):
    command = [sys.executable, ROOT / "examples/shards/walk.py", dataset / "words.parquet", dataset / "queries.parquet", tmp_path / "x"]
    done = subprocess.run(command, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    assert "100 questions at once: 1000 rows; recall 0.9" in done.stdout or "recall 1.0" in done.stdout
    assert "now the nearest: [(1000000, 'what was asked', 0.0)]\n  deleted: 1" in done.stdout
    assert done.stdout.count("index ready") == 2
