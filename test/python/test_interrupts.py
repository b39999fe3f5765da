"""Whoever stops a statement, and however, it stops soon: the interrupt of another thread, and Ctrl-C.

The Python client looks for Ctrl-C between tasks. It then cancels the query without an interrupt, and waits for the tasks
that are running."""

import os
import shutil
import signal
import threading
import time

import duckdb
import pytest


@pytest.fixture(autouse=True)
def heeds_control_c():
    """A process that a shell starts in the background ignores it."""
    before = signal.signal(signal.SIGINT, signal.default_int_handler)
    yield
    signal.signal(signal.SIGINT, before)


def table(con, rows, dimensions=64, name="t"):
    con.execute(
        f"CREATE TABLE {name} AS SELECT i AS id, list_transform(range({dimensions}), lambda x: hash(i * {dimensions} + x)"
        f" / 1.8e19)::FLOAT[{dimensions}] AS v FROM range({rows}) r(i)"
    )


def control_c(con):
    os.kill(os.getpid(), signal.SIGINT)


def interrupt(con):
    con.interrupt()


def seconds(con, sql):
    begin = time.monotonic()
    con.execute(sql)
    return time.monotonic() - begin


def stopped(con, sql, stop, after):
    """Stops a statement `after` seconds; returns how long it went on."""
    at = []

    def send():
        at.append(time.monotonic())
        stop(con)

    timer = threading.Timer(after, send)
    timer.start()
    try:
        with pytest.raises((KeyboardInterrupt, RuntimeError, duckdb.InterruptException)):
            con.execute(sql).fetchall()
            raise AssertionError(f"came to its end: {sql}")
        return time.monotonic() - at[0]
    finally:
        timer.join()


@pytest.mark.parametrize("stop", [control_c, interrupt])
@pytest.mark.parametrize("threads", [1, 2, 4])
def test_a_build(connect, stop, threads):
    con = connect(threads=threads)
    con.execute("SET enable_progress_bar = true; SET enable_progress_bar_print = false")
    table(con, 30_000)
    over = threading.Event()
    stopped_at = []

    def watch():
        while not over.is_set() and con.query_progress() < 5:
            time.sleep(0.01)
        stopped_at.append(time.monotonic())
        stop(con)

    watcher = threading.Thread(target=watch)
    begin = time.monotonic()
    watcher.start()
    try:
        with pytest.raises((KeyboardInterrupt, RuntimeError, duckdb.InterruptException)):
            con.execute("CREATE INDEX i ON t USING HNSW (v) WITH (ef_construction = 1000)")
    finally:
        went_on = time.monotonic() - stopped_at[0] if stopped_at else None
        over.set()
        watcher.join()
    # a twentieth was done: the rest takes many times as long
    assert went_on < 1 + 4 * (stopped_at[0] - begin)
    assert con.execute("SELECT count(*) FROM duckdb_indexes()").fetchall() == [(0,)]
    con.execute("DELETE FROM t WHERE id > 1000")
    con.execute("CREATE INDEX i ON t USING HNSW (v)")
    assert con.execute("SELECT count, status FROM pragma_hnsw_index_info()").fetchall() == [(1001, "ready")]


def test_rows_that_a_statement_has_no_time_to_link_are_left_to_the_background(con):
    con.execute("SET threads = 1")
    table(con, 20)
    con.execute("CREATE INDEX i ON t USING HNSW (v) WITH (ef_construction = 1000)")
    table(con, 30_000, name="more")
    con.execute("SET max_execution_time = 3000")
    con.execute("INSERT INTO t SELECT * FROM more")
    con.execute("RESET max_execution_time")
    count, pending = con.execute("SELECT count, pending FROM pragma_hnsw_index_info()").fetchone()
    assert count == 30_020 and 4_096 < pending < 30_000
    assert con.execute("SELECT count(*) FROM t").fetchone() == (30_020,)


def until_it_has_time(con, statement):
    """Executes a statement again until max_execution_time lets it end."""
    while True:
        try:
            return con.execute(statement)
        except duckdb.InterruptException:
            pass


def test_a_statement_whose_time_is_up_links_nothing(con):
    con.execute("SET threads = 1")
    table(con, 20)
    con.execute("CREATE INDEX i ON t USING HNSW (v) WITH (ef_construction = 1000)")
    table(con, 10_000, name="more")
    for number in range(1, 6):
        con.execute("SET max_execution_time = 1")
        # its time is over when its rows are in the table; DuckDB looks seldom enough to let it go on most of the time
        until_it_has_time(con, "INSERT INTO t SELECT * FROM more")
        until_it_has_time(con, "RESET max_execution_time")
        assert con.execute("SELECT pending FROM pragma_hnsw_index_info()").fetchone() == (10_000 * number,)


def many_dead(con):
    """An index half of whose rows are dead: to compact it takes seconds."""
    table(con, 40_000)
    con.execute("CREATE INDEX i ON t USING HNSW (v) WITH (m = 32, m0 = 64, ef_construction = 32)")
    # so that nobody repairs it in the background
    con.execute("SET threads = 1")
    # a snapshot keeps whoever deletes from cleaning up
    reader = con.cursor()
    reader.execute("BEGIN")
    reader.execute("SELECT count(*) FROM t").fetchall()
    con.execute("DELETE FROM t WHERE id % 2 = 0")
    return reader


def dead(con):
    return con.execute("SELECT deleted FROM pragma_hnsw_index_info()").fetchone()[0]


@pytest.mark.parametrize("stop", [control_c, interrupt])
@pytest.mark.parametrize("statement", ["PRAGMA hnsw_compact_index('i')", "VACUUM t"])
def test_a_compaction(con, stop, statement):
    many_dead(con).execute("ROLLBACK")
    stopped(con, statement, stop, after=0.1)
    assert dead(con) > 0
    con.execute(statement)
    assert dead(con) == 0


@pytest.mark.parametrize("name", ["", "('i')"], ids=["all", "one"])
@pytest.mark.parametrize("stop", [control_c, interrupt])
def test_what_is_left_to_the_background(con, stop, name):
    # with one thread rows stay pending; to link them takes seconds
    con.execute("SET threads = 1")
    con.execute("CREATE TABLE t (id BIGINT, v FLOAT[64])")
    con.execute("CREATE INDEX i ON t USING HNSW (v) WITH (m = 32, ef_construction = 1000)")
    table(con, 4_000, name="source")
    con.execute("INSERT INTO t FROM source")
    stopped(con, f"PRAGMA hnsw_finish{name}", stop, after=0.1)
    pending = "SELECT pending FROM pragma_hnsw_index_info()"
    assert con.execute(pending).fetchone()[0] > 1_000
    con.execute("DELETE FROM t WHERE id >= 500")
    con.execute(f"PRAGMA hnsw_finish{name}")
    assert con.execute(pending).fetchone() == (0,)
    assert con.execute("SELECT count, status FROM pragma_hnsw_index_info()").fetchone() == (500, "ready")


@pytest.mark.parametrize("stop", [interrupt])
def test_a_measurement_of_recall(con, stop):
    table(con, 10_000)
    con.execute("CREATE INDEX i ON t USING HNSW (v)")
    part = seconds(con, "FROM hnsw_recall('i', queries := 100)")
    went_on = stopped(con, "FROM hnsw_recall('i', queries := 10000)", stop, after=part)
    assert went_on < 20 * part + 1


def test_nobody_waits_for_a_vacuum(con):
    reader = many_dead(con)
    other = con.cursor()
    # from now on this connection looks after the table
    other.execute("INSERT INTO t SELECT -1, v FROM t LIMIT 1")
    reader.execute("ROLLBACK")
    over = threading.Event()

    def vacuum():
        con.cursor().execute("VACUUM t")
        over.set()

    thread = threading.Thread(target=vacuum)
    thread.start()
    time.sleep(0.3)
    assert other.execute("SELECT 42").fetchall() == [(42,)]
    assert not over.is_set()
    thread.join()
    assert dead(con) == 0


# ---- comparisons with the table

#: Takes long for each row: a comparison of 60,000 rows takes seconds.
SLOW_KEY = "[levenshtein(a, b), x, y]::FLOAT[3]"
NEAREST = f"SELECT id FROM t ORDER BY array_distance({SLOW_KEY}, [1, 2, 3]::FLOAT[3]) LIMIT 3"
COMPARING = {
    "join": "SELECT count(*) FROM (SELECT p FROM range(5) r(p)) AS probes, LATERAL "
    f"(SELECT id FROM t ORDER BY array_distance({SLOW_KEY}, [p, p, 3]::FLOAT[3]) LIMIT 3)",
    "info": "FROM pragma_hnsw_index_info()",
    "explain": f"FROM hnsw_explain('{NEAREST}')",
    "recall": "FROM hnsw_recall('i')",
    "compaction": "PRAGMA hnsw_compact_index('i')",
}


@pytest.fixture(scope="module")
def incomparable(extension, tmp_path_factory):
    """A database whose log alone knows the index: it is compared when it is used first. And the seconds that takes."""
    path = tmp_path_factory.mktemp("incomparable") / "slow.db"

    def open():
        con = duckdb.connect(str(path), config={"allow_unsigned_extensions": "true"})
        con.load_extension(extension)
        con.execute("SET GLOBAL hnsw_enable_experimental_persistence = true")
        con.execute("PRAGMA disable_checkpoint_on_shutdown")
        return con

    with open() as con:
        rows = "SELECT i AS id, i % 211 AS x, i % 223 AS y, repeat('a', 150) AS a, repeat('b', 150 + i % 2) AS b FROM range(60_000) r(i)"
        con.execute(f"CREATE TABLE t AS {rows}")
        con.execute("CHECKPOINT")
        con.execute(f"CREATE INDEX i ON t USING HNSW (({SLOW_KEY})) WITH (m = 4, ef_construction = 8)")
    with open() as con:
        took = seconds(con, COMPARING["info"])
    return path, took


@pytest.fixture
def uncompared(incomparable, connect, tmp_path):
    """A connection to a copy, and the seconds that the comparison takes."""
    path, took = incomparable
    for suffix in ["", ".wal"]:
        shutil.copy(f"{path}{suffix}", tmp_path / f"slow.db{suffix}")
    return connect(str(tmp_path / "slow.db")), took


@pytest.mark.parametrize("stop", [control_c, interrupt])
def test_a_comparison_of_a_search(uncompared, stop):
    con, took = uncompared
    assert stopped(con, NEAREST, stop, after=took / 8) < 0.5 + took / 4
    # the next one compares
    con.execute(NEAREST).fetchall()
    assert con.execute("SELECT count, status FROM pragma_hnsw_index_info()").fetchall() == [(60_000, "ready")]


@pytest.mark.parametrize("what", COMPARING)
def test_a_comparison(uncompared, what):
    con, took = uncompared
    assert stopped(con, COMPARING[what], control_c, after=took / 8) < 0.5 + took / 4


def test_a_comparison_on_the_clients_only_thread(uncompared):
    con, took = uncompared
    con.execute("SET threads = 1")
    assert stopped(con, NEAREST, control_c, after=took / 8) < 0.5 + took / 4


def test_who_waits_for_the_comparison_of_another_one(uncompared):
    con, took = uncompared
    other = con.cursor()
    thread = threading.Thread(target=lambda: other.execute(NEAREST).fetchall())
    thread.start()
    assert stopped(con, NEAREST, control_c, after=took / 8) < 0.5 + took / 4
    thread.join()
    assert con.execute("SELECT count, status FROM pragma_hnsw_index_info()").fetchall() == [(60_000, "ready")]


def test_who_only_plans_does_not_compare(uncompared):
    con, _ = uncompared

    def planned():
        plan = con.execute(f"EXPLAIN {NEAREST}").fetchone()[1].lower()
        return "comparison" in plan, "strategy: auto" in plan

    con.execute(f"PREPARE nearest AS {NEAREST}")
    assert [planned(), planned()] == 2 * [(True, True)]
    analyzed = con.execute(f"EXPLAIN ANALYZE {NEAREST}").fetchone()[1].lower()
    assert "operator: hnsw_index_scan" in analyzed and "compares: index 'i' with table 't'" in analyzed
    assert planned() == (False, False)
    # the plan of the prepared statement compares still, but there is nothing left to be done
    found = con.execute("EXECUTE nearest").fetchall()
    con.execute("SET disabled_optimizers = 'extension,late_materialization'")
    # two of these rows are equally near
    assert sorted(con.execute(NEAREST).fetchall()) == sorted(found)
