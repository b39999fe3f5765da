"""Keys that change while their row stays: DuckDB updates columns of plain types in place."""

import threading
import time

import duckdb
import pytest

KEY = "(array_value(a, b)::FLOAT[2])"
#: Tries to meet the build between its scan and its end: an update that comes before the scan makes CREATE INDEX an error.
TRIES = 20


def build_beside_an_update(con, delay, committed):
    """Whether the update came after the scan and before the index was there."""
    con.execute("CREATE OR REPLACE TABLE t AS SELECT i AS id, i::FLOAT AS a, (i * 7 % 1000)::FLOAT AS b FROM range(30000) r(i)")
    updater, building = con.cursor(), threading.Event()
    met = []

    def update():
        time.sleep(delay)
        updater.execute("BEGIN")
        updater.execute("UPDATE t SET a = a + 100000, b = b + 5 WHERE id % 1000 = 7")
        if committed == "during the build":
            updater.execute("COMMIT")
        met.append(building.is_set())

    thread = threading.Thread(target=update)
    building.set()
    thread.start()
    try:
        con.execute(f"CREATE INDEX i ON t USING HNSW ({KEY}) WITH (m = 8, ef_construction = 64)")
        created = True
    except duckdb.TransactionException as error:
        assert "outstanding updates" in str(error)
        created = False
    building.clear()
    thread.join()
    if committed == "after it":
        updater.execute("COMMIT")
    return created and met == [True]


@pytest.mark.parametrize("committed", ["during the build", "after it"])
def test_updates_in_place_during_a_build_are_in_the_index(connect, committed):
    con = connect(threads=2)
    assert any(build_beside_an_update(con, 0.02 * (turn + 1), committed) for turn in range(TRIES)), "no build was met"
    nearest = f"SELECT id FROM t ORDER BY array_distance({KEY}, [112007, 89]::FLOAT[2]), id LIMIT 3"
    con.execute("SET disabled_optimizers = 'extension,late_materialization'")
    exact = con.execute(nearest).fetchall()
    con.execute("RESET disabled_optimizers")
    assert exact[0] == (12007,)
    for _ in range(3):
        assert con.execute(nearest).fetchall() == exact
    assert con.execute("SELECT status FROM pragma_hnsw_index_info()").fetchall() == [("ready",)]
    assert "hnsw" in con.execute("EXPLAIN " + nearest).fetchone()[1].lower()


def test_an_update_that_was_planned_long_before_the_index(con):
    """A prepared statement is planned again when its transaction sees the index: not when it began before that was committed."""
    con.execute("CREATE TABLE t AS SELECT i AS id, i::FLOAT AS a, (i % 7)::FLOAT AS b FROM range(5000) r(i)")
    con.execute("CREATE TABLE other (i INTEGER)")
    updater, creator = con.cursor(), con.cursor()
    # else DuckDB plans every EXECUTE again
    updater.execute("PRAGMA disable_optimizer")
    updater.execute("PREPARE u AS UPDATE t SET a = -1000 WHERE id = 77")
    creator.execute("BEGIN")
    creator.execute(f"CREATE INDEX i ON t USING HNSW ({KEY})")
    for _ in range(2):
        con.execute("INSERT INTO other VALUES (1)")
    updater.execute("BEGIN")
    updater.execute("SELECT count(*) FROM t")
    creator.execute("COMMIT")
    nearest = f"SELECT id FROM t ORDER BY array_distance({KEY}, [-1000, 0]::FLOAT[2]) LIMIT 1"
    assert con.execute(nearest).fetchall() == [(0,)]
    updater.execute("EXECUTE u")
    updater.execute("COMMIT")
    for _ in range(2):
        assert con.execute(nearest).fetchall() == [(77,)]
    assert con.execute("SELECT status FROM pragma_hnsw_index_info()").fetchall() == [("ready",)]
    assert "hnsw" in con.execute("EXPLAIN " + nearest).fetchone()[1].lower()
