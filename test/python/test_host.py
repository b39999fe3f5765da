"""What only a host process shows: installing, interrupts, threads, memory."""

import pathlib
import threading
import time

import duckdb
import pytest


def table(con, rows, dimensions=32, name="t"):
    con.execute(
        f"CREATE TABLE {name} AS SELECT i AS id, list_transform(range({dimensions}), lambda x: hash(i * {dimensions} + x)"
        f" / 1.8e19 + sin(i % 100 + x))::FLOAT[{dimensions}] AS v FROM range({rows}) r(i)"
    )


def nearest(con, q, k=10, name="t"):
    sql = f"SELECT id FROM {name} ORDER BY array_distance(v, (SELECT v FROM {name} WHERE id = {q})) LIMIT {k}"
    return [row for (row,) in con.execute(sql).fetchall()]


def reserved(con):
    return con.execute("SELECT memory_usage_bytes FROM duckdb_memory() WHERE tag = 'EXTENSION'").fetchone()[0]


def test_install_from_a_directory(extension, tmp_path):
    repository = pathlib.Path(extension).parent / "repository"
    con = duckdb.connect(config={"allow_unsigned_extensions": "true", "extension_directory": str(tmp_path)})
    con.execute(f"INSTALL vss FROM '{repository}'")
    con.execute("LOAD vss")
    row = con.execute("SELECT installed, loaded FROM duckdb_extensions() WHERE extension_name = 'vss'").fetchone()
    assert row == (True, True)
    # loading twice is harmless
    con.execute("LOAD vss")


def test_only_the_entry_is_exported(extension):
    import subprocess

    symbols = subprocess.run(["nm", "-D", "--defined-only", extension], capture_output=True, text=True, check=True)
    exported = [line.split()[-1] for line in symbols.stdout.splitlines() if line.split()[-2].isupper()]
    assert exported == ["vss_duckdb_cpp_init"]


def test_an_interrupted_build_stops_and_leaves_nothing(con):
    table(con, 150_000, dimensions=64)
    before = reserved(con)
    failure = []

    def build():
        try:
            con.execute("CREATE INDEX i ON t USING HNSW (v) WITH (ef_construction = 1000)")
        except duckdb.InterruptException as interrupted:
            failure.append(interrupted)

    for delay in [0.2, 2.0]:
        thread = threading.Thread(target=build)
        thread.start()
        time.sleep(delay)
        con.interrupt()
        thread.join(timeout=5)
        assert not thread.is_alive() and len(failure) == 1
        failure.clear()
        assert con.execute("SELECT count(*) FROM duckdb_indexes()").fetchone() == (0,)
        assert reserved(con) == before
    con.execute("DELETE FROM t WHERE id >= 5000")
    con.execute("CREATE INDEX i ON t USING HNSW (v)")
    assert nearest(con, 77, k=1) == [77]


def test_rows_committed_during_the_build_are_in_the_index(con):
    table(con, 40_000)
    other = con.cursor()
    built = threading.Event()

    def build():
        con.execute("CREATE INDEX i ON t USING HNSW (v) WITH (ef_construction = 300)")
        built.set()

    thread = threading.Thread(target=build)
    thread.start()
    next_id = 1_000_000
    while not built.is_set():
        other.execute(
            f"INSERT INTO t SELECT {next_id}, list_transform(range(32), lambda x: hash({next_id} + x) / 1.8e19)::FLOAT[32]"
        )
        next_id += 1
        time.sleep(0.002)
    thread.join()
    assert next_id > 1_000_010
    vectors = con.execute("SELECT count(v) FROM t").fetchone()[0]
    assert con.execute("SELECT count, status FROM pragma_hnsw_index_info()").fetchone() == (vectors, "ready")
    for row in range(1_000_000, next_id, 7):
        assert nearest(con, row, k=1) == [row]


def test_a_bulk_insert_is_linked_in_the_background(con):
    table(con, 5_000)
    con.execute("CREATE INDEX i ON t USING HNSW (v)")
    table(con, 20_000, name="more")
    con.execute("INSERT INTO t SELECT id + 5000, v FROM more")
    assert nearest(con, 20_123, k=2)[0] in (20_123, 15_123)
    deadline = time.monotonic() + 60
    while con.execute("SELECT pending FROM pragma_hnsw_index_info()").fetchone()[0] >= 512:
        assert time.monotonic() < deadline, "rows stay pending"
        time.sleep(0.05)
    assert con.execute("SELECT count FROM pragma_hnsw_index_info()").fetchone() == (25_000,)


def test_readers_writers_and_compaction_together(con):
    table(con, 8_000)
    con.execute("CREATE INDEX i ON t USING HNSW (v)")
    stop = time.monotonic() + 4
    errors = []

    def work(action):
        mine = con.cursor()
        turn = 0
        try:
            while time.monotonic() < stop:
                turn += 1
                action(mine, turn)
        except duckdb.TransactionException:
            pass
        except Exception as error:  # noqa: BLE001 - reported below
            errors.append(error)

    def read(mine, turn):
        rows = nearest(mine, (turn * 37) % 4_000)
        assert len(rows) == 10 and len(set(rows)) == 10

    def insert(mine, turn):
        mine.execute(f"INSERT INTO t SELECT {100_000 + turn}, v FROM t WHERE id = {turn % 4_000}")

    def delete(mine, turn):
        mine.execute(f"DELETE FROM t WHERE id = {4_000 + turn % 4_000}")

    def compact(mine, turn):
        mine.execute("PRAGMA hnsw_compact_index('i')")
        time.sleep(0.2)

    threads = [threading.Thread(target=work, args=(action,)) for action in [read, read, insert, delete, compact]]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(timeout=60)
        assert not thread.is_alive(), "deadlock"
    assert not errors, errors[0]
    count = con.execute("SELECT count(*) FROM t").fetchone()[0]
    assert con.execute("SELECT count FROM pragma_hnsw_index_info()").fetchone() == (count,)


def test_memory_is_reserved_and_given_back(con):
    table(con, 20_000, dimensions=128)
    before = reserved(con)
    con.execute("CREATE INDEX i ON t USING HNSW (v)")
    used = con.execute("SELECT approx_memory_usage FROM pragma_hnsw_index_info()").fetchone()[0]
    assert 20_000 * 128 * 4 < used <= reserved(con) - before < 1.3 * used
    con.execute("DROP INDEX i")
    assert reserved(con) == before


def test_a_build_beyond_the_memory_limit_is_a_clean_error(con):
    table(con, 60_000, dimensions=128)
    con.execute("SET memory_limit = '40MB'")
    with pytest.raises(duckdb.OutOfMemoryException, match=r"holds [\d.]+ MiB and needs [\d.]+ MiB more, about 38.8 MiB for all rows"):
        con.execute("CREATE INDEX i ON t USING HNSW (v)")
    con.execute("RESET memory_limit")
    assert con.execute("SELECT count(*) FROM duckdb_indexes()").fetchone() == (0,)
    con.execute("CREATE INDEX i ON t USING HNSW (v)")
    assert nearest(con, 5, k=1) == [5]


def test_rows_from_the_appender_are_in_the_index(con):
    pandas = pytest.importorskip("pandas")
    con.execute("CREATE TABLE t (id INTEGER, v FLOAT[2])")
    con.execute("CREATE INDEX i ON t USING HNSW (v)")
    con.append("t", pandas.DataFrame({"id": range(100), "v": [[i, 0.0] for i in range(100)]}))
    assert con.execute("SELECT count FROM pragma_hnsw_index_info()").fetchone() == (100,)
    assert nearest(con, 42, k=1) == [42]


def test_progress_reaches_the_end(con):
    table(con, 60_000, dimensions=64)
    con.execute("SET enable_progress_bar = true; SET enable_progress_bar_print = false")
    thread = threading.Thread(target=lambda: con.execute("CREATE INDEX i ON t USING HNSW (v)"))
    thread.start()
    seen = []
    while thread.is_alive():
        seen.append(con.query_progress())
        time.sleep(0.02)
    assert seen == sorted(seen[:-1]) + seen[-1:] and max(seen) > 60
