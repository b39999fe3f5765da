"""What only a host process shows: installing, interrupts, threads, memory."""

import pathlib
import re
import shutil
import threading
import time

import duckdb
import pandas
import pytest

#: Seconds after which something hangs; nothing here is that slow.
HANG = 600


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
    table(con, 40_000, dimensions=64)
    before = reserved(con)
    failure = []

    def build():
        try:
            con.execute("CREATE INDEX i ON t USING HNSW (v) WITH (ef_construction = 1000)")
        except duckdb.InterruptException as interrupted:
            failure.append(interrupted)

    con.execute("SET enable_progress_bar = true; SET enable_progress_bar_print = false")
    for percent in [0, 30]:
        thread = threading.Thread(target=build)
        thread.start()
        while thread.is_alive() and con.query_progress() <= percent:
            time.sleep(0.001)
        con.interrupt()
        thread.join(timeout=HANG)
        assert not thread.is_alive() and len(failure) == 1
        failure.clear()
        assert con.execute("SELECT count(*) FROM duckdb_indexes()").fetchone() == (0,)
        assert reserved(con) == before
    con.execute("DELETE FROM t WHERE id >= 5000")
    con.execute("CREATE INDEX i ON t USING HNSW (v)")
    assert nearest(con, 77, k=1) == [77]


def test_rows_committed_during_the_build_are_in_the_index(con):
    table(con, 20_000)
    other = con.cursor()
    first = next_id = 1_000_000
    # once is enough, except where a build is over before ten commits
    while next_id < first + 10:
        con.execute("DROP INDEX IF EXISTS i")
        thread = threading.Thread(target=con.execute, args=("CREATE INDEX i ON t USING HNSW (v) WITH (ef_construction = 300)",))
        thread.start()
        while thread.is_alive():
            other.execute(
                f"INSERT INTO t SELECT {next_id}, list_transform(range(32), lambda x: hash({next_id} + x) / 1.8e19)::FLOAT[32]"
            )
            next_id += 1
        thread.join()
    vectors = con.execute("SELECT count(v) FROM t").fetchone()[0]
    assert con.execute("SELECT count, status FROM pragma_hnsw_index_info()").fetchone() == (vectors, "ready")
    for row in range(first, next_id, 7):
        assert nearest(con, row, k=1) == [row]


def test_a_bulk_insert_is_linked_in_the_background(con):
    con.execute("SET threads = 4")
    table(con, 5_000)
    con.execute("CREATE INDEX i ON t USING HNSW (v)")
    table(con, 20_000, name="more")
    con.execute("INSERT INTO t SELECT id + 5000, v FROM more")
    assert nearest(con, 20_123, k=2)[0] in (20_123, 15_123)
    deadline = time.monotonic() + HANG
    while con.execute("SELECT pending FROM pragma_hnsw_index_info()").fetchone()[0] >= 512:
        assert time.monotonic() < deadline, "rows stay pending"
        time.sleep(0.05)
    assert con.execute("SELECT count FROM pragma_hnsw_index_info()").fetchone() == (25_000,)


def test_readers_writers_and_compaction_together(con):
    table(con, 8_000)
    con.execute("CREATE INDEX i ON t USING HNSW (v)")
    errors = []
    done = {}

    def work(action, name, steps):
        """Does so many steps; those that another transaction stands in the way of come again."""
        mine = con.cursor()
        done[name] = 0
        try:
            while done[name] < steps and not errors:
                try:
                    action(mine, done[name])
                except duckdb.TransactionException:
                    continue
                done[name] += 1
        except Exception as error:  # noqa: BLE001 - reported below
            errors.append(error)

    def read(mine, step):
        rows = nearest(mine, (step * 37) % 4_000)
        assert len(rows) == 10 and len(set(rows)) == 10

    def insert(mine, step):
        mine.execute(f"INSERT INTO t SELECT {100_000 + step}, v FROM t WHERE id = {step}")

    def delete(mine, step):
        mine.execute(f"DELETE FROM t WHERE id = {4_000 + step}")

    def compact(mine, step):
        # the writers go on between one and the next
        while done["delete"] < 30 * step and not errors:
            time.sleep(0.001)
        mine.execute("PRAGMA hnsw_compact_index('i')")

    plan = {"read": (read, 200), "read too": (read, 200), "insert": (insert, 300), "delete": (delete, 300), "compact": (compact, 10)}
    threads = [threading.Thread(target=work, args=(action, name, steps)) for name, (action, steps) in plan.items()]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(timeout=HANG)
        assert not thread.is_alive(), "deadlock"
    assert not errors, errors[0]
    assert done == {name: steps for name, (_, steps) in plan.items()}
    assert con.execute("SELECT count(*), count(*) FILTER (id >= 100000) FROM t").fetchone() == (8_000, 300)
    assert con.execute("SELECT count FROM pragma_hnsw_index_info()").fetchone() == (8_000,)


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
    message = r"holds [\d.]+ MiB and needs [\d.]+ MiB more, about ([\d.]+) MiB for all rows"
    with pytest.raises(duckdb.OutOfMemoryException, match=message) as refused:
        con.execute("CREATE INDEX i ON t USING HNSW (v)")
    announced = float(re.search(message, str(refused.value))[1]) * 2**20
    con.execute("RESET memory_limit")
    assert con.execute("SELECT count(*) FROM duckdb_indexes()").fetchone() == (0,)
    con.execute("CREATE INDEX i ON t USING HNSW (v)")
    assert nearest(con, 5, k=1) == [5]
    used = con.execute("SELECT approx_memory_usage FROM pragma_hnsw_index_info()").fetchone()[0]
    assert 0.8 * used < announced < 1.1 * used


def test_rows_from_the_appender_are_in_the_index(con):
    con.execute("CREATE TABLE t (id INTEGER, v FLOAT[2])")
    con.execute("CREATE INDEX i ON t USING HNSW (v)")
    con.append("t", pandas.DataFrame({"id": range(100), "v": [[i, 0.0] for i in range(100)]}))
    assert con.execute("SELECT count FROM pragma_hnsw_index_info()").fetchone() == (100,)
    assert nearest(con, 42, k=1) == [42]


def test_progress_reaches_the_end(con):
    # one thread is at it for seconds, in which it is asked thousands of times
    con.execute("SET threads = 1")
    table(con, 30_000, dimensions=64)
    con.execute("SET enable_progress_bar = true; SET enable_progress_bar_print = false")
    thread = threading.Thread(target=lambda: con.execute("CREATE INDEX i ON t USING HNSW (v)"))
    thread.start()
    seen = []
    while thread.is_alive():
        seen.append(con.query_progress())
        time.sleep(0.001)
    assert seen == sorted(seen[:-1]) + seen[-1:] and max(seen) > 60


def progress_of(con, statement):
    """What the progress bar shows, in percent, while it runs; -1 where nothing is known."""
    con.execute("SET enable_progress_bar = true; SET enable_progress_bar_print = false; SET progress_bar_time = 0")
    thread = threading.Thread(target=lambda: con.execute(statement).fetchall())
    thread.start()
    seen = []
    while thread.is_alive():
        seen.append(con.query_progress())
        time.sleep(0.0005)
    # the last one may be of no query
    return seen[:-1]


def test_a_compaction_shows_its_progress(con):
    con.execute("SET threads = 1")
    table(con, 40_000, dimensions=32)
    con.execute("CREATE INDEX i ON t USING HNSW (v)")
    # so few that they are left to the compaction
    con.execute("DELETE FROM t WHERE id % 5 = 0")
    seen = progress_of(con, "PRAGMA hnsw_compact_index('i')")
    assert seen == sorted(seen) and any(0 < percent < 100 for percent in seen)


def test_health_shows_the_rows_that_a_statement_links(con):
    """No task of the background's does it: there is one thread, and that is the statement's."""
    con.execute("SET threads = 1")
    table(con, 1_000)
    con.execute("CREATE INDEX i ON t USING HNSW (v) WITH (ef_construction = 300)")
    table(con, 15_000, name="more")
    other = con.cursor()
    thread = threading.Thread(target=lambda: con.execute("INSERT INTO t SELECT * FROM more"))
    thread.start()
    seen = []
    while thread.is_alive():
        work = "SELECT w.what, w.done, w.total, background_tasks FROM hnsw_index_health(), unnest(work) u(w)"
        seen.extend(other.execute(work).fetchall())
        time.sleep(0.01)
    done = [done for (what, done, total, tasks) in seen if what == "linking" and total == 16_000 and tasks == 0]
    assert done == sorted(done) and len(done) > 1
    assert other.execute("SELECT work FROM hnsw_index_health()").fetchone() == ([],)


def test_the_comparison_of_an_index_with_its_table_shows_its_progress(connect, tmp_path):
    """The index is in the log alone, so the first search reads the table."""
    con = connect(str(tmp_path / "first.db"))
    con.execute("SET checkpoint_threshold = '1TB'; SET hnsw_enable_experimental_persistence = true")
    table(con, 400_000, dimensions=16)
    con.execute("CREATE INDEX i ON t USING HNSW (v) WITH (m = 4, ef_construction = 4)")
    for end in ["", ".wal"]:
        shutil.copy(f"{tmp_path}/first.db{end}", f"{tmp_path}/second.db{end}")
    again = connect(str(tmp_path / "second.db"), threads=1)
    seen = progress_of(again, f"SELECT id FROM t ORDER BY array_distance(v, {[1.0] * 16}::FLOAT[16]) LIMIT 1")
    assert seen == sorted(seen) and any(0 < percent < 100 for percent in seen)


FEW_PAIRS = "SELECT q.id, t.id FROM q, t WHERE array_distance(t.v, q.v) < 0.5 AND t.id IN (SELECT id FROM w)"


def test_pairs_are_searched_for_unless_a_join_tells_the_scan_that_few_rows_are_left(con):
    """DuckDB 2.0.0 tells no scan that is below another join: there all pairs are compared, which an index does faster."""
    con.execute("CREATE TABLE t AS SELECT i AS id, [sin(i), cos(i * 3), sin(i * 7), cos(i * 5)]::FLOAT[4] AS v FROM range(6000) r(i)")
    con.execute("CREATE TABLE q AS SELECT i AS id, [sin(i * 2), cos(i), sin(i * 9), cos(i * 4)]::FLOAT[4] AS v FROM range(1000) r(i)")
    con.execute("CREATE TABLE w AS SELECT i * 150 AS id FROM range(40) r(i)")
    exact = sorted(con.execute(FEW_PAIRS).fetchall())
    con.execute("CREATE INDEX i ON t USING HNSW (v)")
    tells_scans = "Dynamic Filters" in con.execute("EXPLAIN ANALYZE " + FEW_PAIRS).fetchall()[0][1]
    assert tells_scans == (duckdb.__version__ != "2.0.0")
    is_searched = "HNSW_INDEX_JOIN" in con.execute("EXPLAIN " + FEW_PAIRS).fetchall()[0][1].upper().replace(" ", "_")
    assert is_searched != tells_scans
    ((used, reason),) = con.execute("SELECT used, reason FROM hnsw_explain(?)", [FEW_PAIRS]).fetchall()
    assert used == is_searched and (used or reason == "a join above leaves few rows to be compared")
    assert sorted(con.execute(FEW_PAIRS).fetchall()) == exact
