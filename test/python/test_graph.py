"""Tables large enough for the graph: rows are never wrong, missing or double, and recall stays high through changes."""

import random

ROWS = 12_000
DIMENSIONS = 16


def fill(con, first, count):
    con.execute(
        f"INSERT INTO t SELECT i, list_transform(range({DIMENSIONS}), lambda x: (hash(i * 64 + x) % 2000) / 1000.0 - 1"
        f" + sin(i % 50 + x))::FLOAT[{DIMENSIONS}] FROM range({first}, {first + count}) r(i)"
    )


def query(con, q, k):
    sql = f"SELECT id, array_distance(v, {q}::FLOAT[{DIMENSIONS}]) AS d FROM t ORDER BY d LIMIT {k}"
    assert "Strategy: graph" in con.execute("EXPLAIN " + sql).fetchone()[1]
    found = con.execute(sql).fetchall()
    con.execute("SET disabled_optimizers = 'extension,late_materialization'")
    exact = con.execute(sql).fetchall()
    con.execute("RESET disabled_optimizers")
    return found, exact


def check(con, rng, turns, k=10, least=0.9):
    """`turns` searches: as many rows as without the index, each visible and with its distance; enough of the nearest."""
    hits = 0
    for _ in range(turns):
        q = [round(rng.uniform(-2, 2), 3) for _ in range(DIMENSIONS)]
        found, exact = query(con, q, k)
        assert len(found) == len(exact) == len({row for row, _ in found})
        assert [d for _, d in found] == sorted(d for _, d in found)
        true = dict(
            con.execute(
                f"SELECT id, array_distance(v, {q}::FLOAT[{DIMENSIONS}]) FROM t WHERE id IN {tuple(r for r, _ in found)}"
            ).fetchall()
        )
        assert dict(found) == true
        hits += len({row for row, _ in found} & {row for row, _ in exact})
    assert hits / (k * turns) >= least, hits / (k * turns)


def indexed(connect):
    con = connect()
    con.execute(f"CREATE TABLE t (id INTEGER, v FLOAT[{DIMENSIONS}])")
    fill(con, 0, ROWS)
    con.execute("CREATE INDEX i ON t USING HNSW (v)")
    return con


def test_recall_survives_inserts_updates_deletes_and_compaction(connect):
    rng = random.Random(1)
    con = indexed(connect)
    check(con, rng, 20)
    fill(con, 100_000, 6_000)
    check(con, rng, 20)
    con.execute("DELETE FROM t WHERE id % 3 = 0")
    check(con, rng, 20)
    con.execute(f"UPDATE t SET v = (SELECT v FROM t WHERE id = 1) WHERE id % 100 = 1 AND id < {ROWS}")
    check(con, rng, 20, least=0.85)
    con.execute("PRAGMA hnsw_compact_index('i')")
    assert con.execute("SELECT deleted FROM pragma_hnsw_index_info()").fetchone() == (0,)
    check(con, rng, 20, least=0.85)


def test_the_nearest_rows_deleted_leave_no_hole(connect):
    rng = random.Random(2)
    con = indexed(connect)
    con.execute("SET hnsw_ef_search = 1")
    for _ in range(5):
        q = [round(rng.uniform(-2, 2), 3) for _ in range(DIMENSIONS)]
        con.execute("BEGIN")
        con.execute(
            f"DELETE FROM t WHERE id IN (SELECT id FROM t ORDER BY array_distance(v, {q}::FLOAT[{DIMENSIONS}]) LIMIT 200)"
        )
        found, exact = query(con, q, 10)
        assert len(found) == 10
        alive = {row for (row,) in con.execute("SELECT id FROM t").fetchall()}
        assert {row for row, _ in found} <= alive
        con.execute(rng.choice(["COMMIT", "ROLLBACK"]))


def test_a_snapshot_keeps_its_rows(connect):
    rng = random.Random(3)
    con = indexed(connect)
    reader = con.cursor()
    reader.execute("BEGIN")
    before = reader.execute("SELECT count(*) FROM t").fetchone()[0]
    con.execute("DELETE FROM t WHERE id % 2 = 0")
    fill(con, 200_000, 2_000)
    con.execute("UPDATE t SET v = (SELECT v FROM t WHERE id = 3) WHERE id % 10 = 1")
    con.execute("PRAGMA hnsw_compact_index('i')")
    assert reader.execute("SELECT count(*) FROM t").fetchone()[0] == before
    check(reader, rng, 20)
    check(con, rng, 10, least=0.8)
    reader.execute("COMMIT")
    con.execute("VACUUM t")
    check(con, rng, 10, least=0.8)
