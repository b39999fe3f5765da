"""Not enough memory for an index: its table stays usable, the index says why, and is whole again when there is memory."""

import duckdb
import pytest

ROWS, DIMENSIONS = 60_000, 128
VECTOR = f"list_transform(range({DIMENSIONS}), lambda x: hash(i * {DIMENSIONS} + x) / 1.8e19)::FLOAT[{DIMENSIONS}]"

#: Rows in the log only, or in an image; then the limit under which the file is opened: less than the vectors take.
SCRIPT = f"""
path = sys.argv[2] + "/short.db"


def opened(**config):
    con = duckdb.connect(path, config={{**CONFIG, **config}})
    con.load_extension(sys.argv[1])
    return con


def write(in_log):
    con = opened()
    con.execute("SET GLOBAL hnsw_enable_experimental_persistence = true")
    con.execute("SET checkpoint_threshold = '1GB'; PRAGMA disable_checkpoint_on_shutdown")
    con.execute("CREATE TABLE t (id BIGINT, v FLOAT[{DIMENSIONS}])")
    if in_log:
        con.execute("CREATE INDEX i ON t USING HNSW (v) WITH (ef_search = 99, ef_construction = 8, m = 4); CHECKPOINT")
    for first in range(0, {ROWS}, 2000):
        con.execute(f"INSERT INTO t SELECT i, {VECTOR} FROM range({{first}}, {{first}} + 2000) r(i)")
    if not in_log:
        con.execute("CREATE INDEX i ON t USING HNSW (v) WITH (ef_search = 99, ef_construction = 8, m = 4); CHECKPOINT")
    con.close()


def all_of(con, sql):
    rows = []
    together(lambda: rows.extend(con.cursor().execute(sql).fetchall()))
    return rows


STATE = "SELECT count, ef_search, status FROM pragma_hnsw_index_info()"
NEAREST = "SELECT id FROM t ORDER BY array_distance(v, {[0.5] * DIMENSIONS}::FLOAT[{DIMENSIONS}]) LIMIT 3"


def check_short(con):
    exact = con.execute("SET disabled_optimizers = 'extension,late_materialization'").execute(NEAREST).fetchall()
    con.execute("RESET disabled_optimizers")
    assert all_of(con, NEAREST) == exact
    ((count, ef_search, status),) = all_of(con, STATE)
    assert (count, ef_search) == (0, 99) and status.startswith("incomplete: queries scan the table; an HNSW index"), status
    # nobody waits for it, also not who comes second
    all_of(con, "INSERT INTO t SELECT -1, NULL")
    all_of(con, "DELETE FROM t WHERE id = -1")
    assert all_of(con, NEAREST) == exact
    # what it could not use is given back
    assert con.execute("SELECT memory_usage_bytes FROM duckdb_memory() WHERE tag = 'EXTENSION'").fetchall() == [(0,)]
"""


def test_rows_of_the_log_that_do_not_fit(child):
    child(
        SCRIPT
        + f"""
write(in_log=True)
con = opened(memory_limit="25MB")
check_short(con)
con.execute("SET memory_limit = '2GB'")
((count, _, status),) = all_of(con, STATE)
assert count == {ROWS} and status.startswith("ready"), (count, status)
"""
    )


def test_the_host_cannot_read_the_rows_of_the_log_for_an_index(connect, tmp_path):
    """It copies a few thousand vectors at a time. The table has the rows all the same."""
    path = str(tmp_path / "wide.db")
    con = connect(path)
    con.execute("SET GLOBAL hnsw_enable_experimental_persistence = true")
    con.execute("SET checkpoint_threshold = '1GB'; PRAGMA disable_checkpoint_on_shutdown")
    con.execute("CREATE TABLE t (id BIGINT, v FLOAT[1536])")
    con.execute("CREATE INDEX i ON t USING HNSW (v) WITH (ef_construction = 8, m = 4); CHECKPOINT")
    vector = "list_transform(range(1536), lambda x: hash(i * 1536 + x) / 1.8e19)::FLOAT[1536]"
    for first in range(0, 6000, 1500):
        con.execute(f"INSERT INTO t SELECT i, {vector} FROM range({first}, {first} + 1500) r(i)")
    nearest = f"SELECT id FROM t ORDER BY array_distance(v, {[0.5] * 1536}::FLOAT[1536]) LIMIT 3"
    con.execute("SET disabled_optimizers = 'extension,late_materialization'")
    exact = con.execute(nearest).fetchall()
    con.close()
    con = connect(path, memory_limit="40MB", threads=1)
    assert con.execute(nearest).fetchall() == exact
    con.execute("SET memory_limit = '1GB'")
    assert con.execute(nearest).fetchall() == exact
    assert con.execute("SELECT count, status FROM pragma_hnsw_index_info()").fetchall() == [(6000, "ready")]


def test_an_image_that_does_not_fit_is_kept(child):
    """It is no reason to link all rows again, whatever happens to the file meanwhile."""
    child(
        SCRIPT
        + f"""
write(in_log=False)
for turn in range(2):
    con = opened(memory_limit="25MB")
    check_short(con)
    con.execute("CHECKPOINT")
    if turn == 0:
        con.close()
con.execute("SET memory_limit = '2GB'")
assert all_of(con, STATE) == [({ROWS}, 99, "ready")]
# read, not built: nothing is left to link
assert all_of(con, "SELECT pending FROM pragma_hnsw_index_info()") == [(0,)]
con.close()
con = opened()
assert all_of(con, STATE) == [({ROWS}, 99, "ready")]
"""
    )


def test_rows_found_for_many_query_vectors_that_are_answered_together(child):
    """A row is kept once, however often it is found."""
    child("""
con = connect(threads="1")
con.execute("CREATE TABLE t AS SELECT i AS id, [i % 141, i // 141]::FLOAT[2] AS v FROM range(20000) r(i)")
con.execute("CREATE INDEX i ON t USING HNSW (v) WITH (m = 4, ef_construction = 8)")
con.execute("CREATE TABLE q AS SELECT [i, i]::FLOAT[2] AS qv FROM range(1000) r(i)")
con.execute("CREATE TABLE u AS SELECT i AS id, i % 100 AS x FROM range(20000) r(i)")
sql = "SELECT t.id, x FROM t JOIN u USING (id), q ORDER BY array_distance(v, qv) LIMIT 15000"
assert "Hnsw Index Scan" in con.execute("EXPLAIN " + sql).fetchall()[0][1]


def resident(what):
    (line,) = [line for line in open("/proc/self/status") if line.startswith(what)]
    return int(line.split()[1]) / 1024


con.execute("SET hnsw_strategy = 'exact'")
open("/proc/self/clear_refs", "w").write("5")
before = resident("VmRSS")
assert len(con.execute(sql).fetchall()) == 15000
# all that were found, as often as they were, are more than 100 MiB
assert resident("VmHWM") - before < 40, resident("VmHWM") - before
""")


@pytest.mark.parametrize("dimensions, limit, rows", [(128, 48, 60_000), (128, 36, 45_000), (64, 36, 70_000)])
def test_an_index_leaves_the_host_the_memory_to_take_a_commit_back(connect, tmp_path, dimensions, limit, rows):
    """What an index holds cannot be evicted. When a commit is refused for want of memory, DuckDB reads the rows again to take
    them out of the indexes; if it cannot, the database is invalidated."""
    source = str(tmp_path / "source.db")
    with duckdb.connect(source) as con:
        con.execute(
            f"CREATE TABLE s AS SELECT i AS id, list_transform(range({dimensions}), lambda x: hash(i * {dimensions} + x)"
            f" / 1.8e19)::FLOAT[{dimensions}] AS v FROM range({rows}) r(i)"
        )
    con = connect(str(tmp_path / "a.db"), memory_limit=f"{limit}MB", threads=1)
    con.execute("SET hnsw_enable_experimental_persistence = true")
    con.execute(f"ATTACH '{source}' AS source (READ_ONLY)")
    con.execute(f"CREATE TABLE t (id INTEGER, v FLOAT[{dimensions}])")
    con.execute("CREATE INDEX i ON t USING HNSW (v) WITH (m = 4, ef_construction = 8)")
    inserted = 0
    with pytest.raises((duckdb.TransactionException, duckdb.OutOfMemoryException), match="memory|pin block|allocate"):
        for _ in range(6):
            con.execute("INSERT INTO t FROM source.s")
            inserted += 1
    assert inserted > 0
    con.execute("DELETE FROM t WHERE id % 2 = 0")
    assert con.execute("SELECT count(*) FROM t").fetchone() == (inserted * rows // 2,)
    assert con.execute("SELECT count, status FROM pragma_hnsw_index_info()").fetchone() == (inserted * rows // 2, "ready")
