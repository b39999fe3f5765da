"""Whoever stops a statement, and however, it stops soon: the interrupt of another thread, and Ctrl-C.

The Python client looks for Ctrl-C between tasks. It then cancels the query without an interrupt, and waits for the tasks
that are running."""

import os
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


@pytest.mark.parametrize("stop", [interrupt])
def test_a_compaction(con, stop):
    many_dead(con).execute("ROLLBACK")
    stopped(con, "PRAGMA hnsw_compact_index('i')", stop, after=0.1)
    assert dead(con) > 0
    con.execute("PRAGMA hnsw_compact_index('i')")
    assert dead(con) == 0


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
