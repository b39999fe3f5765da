"""Statements that are stopped half-way: index and table agree afterwards."""

import threading
import time

import duckdb
import pytest

DIMENSIONS = 64
BATCH = f"list_transform(range({DIMENSIONS}), lambda x: sin(i * (x + 1)))::FLOAT[{DIMENSIONS}]"


@pytest.fixture
def indexed(con):
    con.execute(f"CREATE TABLE t AS SELECT i AS id, {BATCH} AS v FROM range(5000) r(i)")
    con.execute("CREATE INDEX i ON t USING HNSW (v)")
    con.execute("SET hnsw_ef_search = 10000")
    return con


def agree(con):
    """Every vector of the table is in the index, and answers are those without it."""
    vectors = con.execute("SELECT count(v) FROM t").fetchall()[0][0]
    assert con.execute("SELECT count, status FROM pragma_hnsw_index_info()").fetchall() == [(vectors, "ready")]
    q = [0.1] * DIMENSIONS
    sql = f"SELECT array_distance(v, {q}::FLOAT[{DIMENSIONS}]) AS d FROM t ORDER BY d LIMIT 200"
    assert "Hnsw Index Scan" in con.execute("EXPLAIN " + sql).fetchall()[0][1]
    found = con.execute(sql).fetchall()
    con.execute("SET disabled_optimizers = 'extension,late_materialization'")
    assert found == con.execute(sql).fetchall()
    con.execute("RESET disabled_optimizers")


@pytest.mark.parametrize(
    "statement",
    [
        f"INSERT INTO t SELECT i, {BATCH} FROM range(5000, 30000) r(i)",
        f"UPDATE t SET v = (SELECT {BATCH} FROM (SELECT t.id + 1 AS i))",
        "DELETE FROM t WHERE id % 2 = 0",
        "PRAGMA hnsw_compact_index('i')",
    ],
)
def test_an_interrupted_statement(indexed, statement):
    indexed.execute("DELETE FROM t WHERE id % 7 = 0")
    for delay in [0, 0.01, 0.05, 0.2]:
        timer = threading.Timer(delay, indexed.interrupt)
        timer.start()
        try:
            indexed.execute(statement)
        except duckdb.Error as error:
            assert not isinstance(error, (duckdb.InternalException, duckdb.FatalException)), error
        timer.join()
        time.sleep(0.01)
        agree(indexed)


def test_out_of_memory_while_rows_are_appended(indexed):
    """The limit is lowered until commits fail; some fail in the table, some in the index."""
    failed = []
    indexed.execute("SET max_temp_directory_size = '0MB'")
    for megabytes in [120, 60, 40, 30, 24, 20, 16, 12]:
        first = 10_000 * megabytes
        try:
            indexed.execute(f"SET memory_limit = '{megabytes}MB'")
            indexed.execute(f"INSERT INTO t SELECT i, {BATCH} FROM range({first}, {first + 20_000}) r(i)")
        except duckdb.Error as error:
            assert "memory" in str(error).lower() or "max_temp_directory_size" in str(error), error
            failed.append(str(error))
        indexed.execute("RESET memory_limit")
        agree(indexed)
        indexed.execute("DELETE FROM t WHERE id >= 10000")
        agree(indexed)
    assert len(failed) > 2
    indexed.execute(f"INSERT INTO t SELECT i, {BATCH} FROM range(10000, 20000) r(i)")
    agree(indexed)
