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


def agree(con, least=False):
    """Every vector of the table is in the index, and answers are those without it. `least`: the index may hold more."""
    vectors = con.execute("SELECT count(v) FROM t").fetchall()[0][0]
    count, status = con.execute("SELECT count, status FROM pragma_hnsw_index_info()").fetchall()[0]
    assert status == "ready"
    assert count == vectors or least and count > vectors
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


@pytest.mark.parametrize("megabytes", [12, 15, 16, 17, 18, 24, 60])
def test_out_of_memory_while_rows_are_appended(indexed, megabytes):
    """Depending on the limit the statement fails, or the commit in the index, or in the table, or nothing."""
    indexed.execute("SET max_temp_directory_size = '0MB'")
    failed = ""
    try:
        indexed.execute(f"SET memory_limit = '{megabytes}MB'")
        indexed.execute(f"INSERT INTO t SELECT i, {BATCH} FROM range(10000, 30000) r(i)")
    except duckdb.Error as error:
        failed = str(error)
        assert "failed to offload" in failed or "could not allocate" in failed.lower() or "memory" in failed.lower()
    assert failed or megabytes > 12
    indexed.execute("RESET memory_limit")
    # DuckDB does not take rows back from an index if the table runs out of memory after it, and spoils that table
    agree(indexed, least="Failed to commit" in failed)
    if "Failed to commit" not in failed:
        indexed.execute("DELETE FROM t WHERE id >= 10000")
        indexed.execute(f"INSERT INTO t SELECT i, {BATCH} FROM range(10000, 20000) r(i)")
        agree(indexed)


@pytest.mark.parametrize("condition", ["(lists.id + t.id - t.id) % 10 <> 3 AND", "lists.id % 10 <> 3 AND", ""])
def test_pairs_fail_where_they_fail_without_the_index(con, condition):
    """A query vector that cannot be computed, for rows that a condition before may drop: DuckDB's order decides, which differs by version."""
    con.execute("CREATE TABLE t AS SELECT i AS id, [i % 40, i % 7, 0]::FLOAT[3] AS v FROM range(3000) r(i)")
    con.execute("CREATE INDEX i ON t USING HNSW (v)")
    con.execute(
        "CREATE TABLE lists AS SELECT i AS id, CASE WHEN i % 10 = 3 THEN [1] ELSE [i % 40, i % 7, 0] END AS l FROM range(100) r(i)"
    )
    sql = f"SELECT count(*) FROM t, lists WHERE {condition} array_distance(t.v, lists.l::FLOAT[3]) < 0.2"
    assert "Hnsw Index Join" in con.execute("EXPLAIN " + sql).fetchall()[0][1]

    def outcome():
        try:
            return con.execute(sql).fetchall()
        except duckdb.ConversionException as error:
            return str(error).split("\n")[0]

    found = outcome()
    con.execute("SET disabled_optimizers = 'extension,late_materialization'")
    assert outcome() == found
