"""A call that panics may leave anything: the index must not answer with it, and must not be stored. `make asan` runs these: the calls
of its build panic when the environment names them."""

import contextlib
import os

import duckdb
import pytest

ROWS, DIMENSIONS = 3_000, 4
#: What the status says after a panic: the name of the call, and what to do.
STATUS = "ready: built again from the table, as {}: vss: a panic was asked for; please report this"


def vector(number):
    return f"[{number} % 101, {number} % 103, {number} % 107, {number} % 109]::FLOAT[{DIMENSIONS}]"


@contextlib.contextmanager
def panics_in(call):
    os.environ["VSS_PANIC_IN"] = call
    try:
        yield
    finally:
        del os.environ["VSS_PANIC_IN"]


@pytest.fixture
def open(connect, tmp_path):
    def open():
        con = connect(str(tmp_path / "panics.db"), threads=1)
        con.execute("SET GLOBAL hnsw_enable_experimental_persistence = true")
        return con

    return open


def make(con):
    con.execute(f"CREATE TABLE t AS SELECT i AS id, {vector('i')} AS v FROM range({ROWS}) r(i)")
    con.execute("CREATE INDEX i ON t USING HNSW (v) WITH (m = 4, ef_construction = 8)")
    con.execute("CHECKPOINT")
    # in step, with nothing left to do
    con.execute("PRAGMA hnsw_finish")
    assert status(con) == (ROWS, "ready")


def status(con):
    return con.execute("SELECT count, status FROM pragma_hnsw_index_info()").fetchone()


def assert_exact(con):
    """The index has the rows of the table, and their vectors."""
    nearest = f"SELECT id FROM t WHERE id % 2 < 2 ORDER BY array_distance(v, {vector(17)}), id LIMIT 500"
    con.execute("SET hnsw_strategy = 'exact'")
    found = con.execute(nearest).fetchall()
    con.execute("SET disabled_optimizers = 'extension,late_materialization'")
    assert found == con.execute(nearest).fetchall()
    con.execute("RESET disabled_optimizers")
    con.execute("RESET hnsw_strategy")


def vectors(con):
    return con.execute("SELECT count(v) FROM t").fetchone()[0]


#: A statement that makes the call.
CALLS = {
    "remove": "DELETE FROM t WHERE id % 3 = 0",
    "append": f"INSERT INTO t SELECT {ROWS} + i, {vector('(i + 5)')} FROM range(100) r(i)",
    "without_vector": "INSERT INTO t SELECT -i, NULL FROM range(10) r(i)",
    "expire": "DELETE FROM t WHERE id % 3 = 0",
    "tend": f"INSERT INTO t SELECT {ROWS} + i, {vector('(i + 5)')} FROM range(6000) r(i)",
    "compact": "PRAGMA hnsw_compact_index('i')",
    "finish": "PRAGMA hnsw_finish",
}


@pytest.mark.parametrize("call", CALLS)
def test_an_index_is_made_anew_after_a_panic(open, call):
    con = open()
    make(con)
    with panics_in(call), contextlib.suppress(duckdb.Error):
        con.execute(CALLS[call])
    assert_exact(con)
    assert status(con) == (vectors(con), STATUS.format(call))
    # and serves: with rows that come and go, in the file, too
    con.execute("DELETE FROM t WHERE id % 7 = 0")
    con.execute(f"INSERT INTO t SELECT -i, {vector('(i + 50)')} FROM range(100) r(i)")
    con.execute("CHECKPOINT")
    con.close()
    con = open()
    assert_exact(con)
    assert status(con) == (vectors(con), "ready")


@pytest.mark.parametrize("call", ["link", "consolidate", "reconnect", "shrink_if_oversize"])
def test_background_work_that_panics_is_not_lost_sight_of(connect, call):
    con = connect(threads=4)
    make(con)
    con.execute("SET disabled_optimizers = 'extension,late_materialization'")
    with panics_in(call):
        for turn in range(20):
            con.execute(f"UPDATE t SET v = {vector(f'(id + {turn})')}")
    con.execute("RESET disabled_optimizers")
    assert_exact(con)
    count, text = status(con)
    assert count == ROWS and text in ("ready", STATUS.format(call))


@pytest.mark.parametrize("call", ["append", "saw", "begin_comparison", "end_comparison"])
def test_who_panics_while_it_is_made_anew_is_left_alone_until_the_database_is_opened_again(open, call):
    con = open()
    make(con)
    con.execute("PRAGMA disable_checkpoint_on_shutdown")
    con.execute("DELETE FROM t WHERE id % 3 = 0")
    with panics_in("remove"):
        con.execute("DELETE FROM t WHERE id % 3 = 1")
    with panics_in(call):
        assert_exact(con)
    count, text = status(con)
    assert count == 0 and text.startswith(f"incomplete: queries scan the table; {call}: ")
    assert_exact(con)
    con.execute("CHECKPOINT")
    con.close()
    con = open()
    assert_exact(con)
    assert status(con) == (vectors(con), "ready")


def test_a_checkpoint_that_panics_leaves_database_and_image(open):
    con = open()
    make(con)
    con.execute("DELETE FROM t WHERE id % 3 = 0")
    with panics_in("store"):
        con.execute("CHECKPOINT")
    con.execute("PRAGMA disable_checkpoint_on_shutdown")
    con.close()
    con = open()
    assert_exact(con)
    assert status(con) == (vectors(con), "ready")
    with panics_in("store"):
        con.execute("INSERT INTO t VALUES (-1, [1, 2, 3, 4])")
        con.execute("CHECKPOINT")
    assert_exact(con)
    assert status(con) == (vectors(con), STATUS.format("store"))
    con.execute("CHECKPOINT")
    con.execute("DROP INDEX i")
    con.execute("CHECKPOINT")


def test_a_damaged_index_can_be_dropped(open):
    con = open()
    make(con)
    blocks = "SELECT used_blocks FROM pragma_database_size() WHERE database_name = 'panics'"
    for call in ["remove", "forget_pages"]:
        with panics_in(call):
            con.execute("DELETE FROM t WHERE id % 10 = 0")
            con.execute("DROP INDEX i")
        con.execute("CHECKPOINT")
        con.execute("CREATE INDEX i ON t USING HNSW (v) WITH (m = 4, ef_construction = 8)")
        con.execute("CHECKPOINT")
        assert_exact(con)
    assert con.execute(blocks).fetchone()[0] > 0


def test_an_index_whose_building_panics_is_none(connect):
    con = connect()
    con.execute(f"CREATE TABLE t AS SELECT i AS id, {vector('i')} AS v FROM range({ROWS}) r(i)")
    for call in ["append", "link"]:
        with panics_in(call), pytest.raises(duckdb.Error, match="a panic was asked for; please report this"):
            con.execute("CREATE INDEX i ON t USING HNSW (v)")
        assert con.execute("SELECT count(*) FROM duckdb_indexes()").fetchone() == (0,)
    for call in ["reserve_rows", "scatter"]:
        with panics_in(call):
            con.execute("CREATE INDEX i ON t USING HNSW (v)")
        assert_exact(con)
        assert status(con) == (ROWS, STATUS.format(call))
        con.execute("DROP INDEX i")
