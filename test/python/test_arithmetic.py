"""Sums and averages of vectors: windows, states, memory; and what they leave as it is."""

import duckdb
import pytest

#: Whole numbers: their sums are exact, in whatever order they are made.
VECTORS = """
    CREATE OR REPLACE TABLE vectors AS
    SELECT i AS id, i % 5 AS g, i % 3 = 0 AS f, CASE WHEN hash(i) % 11 = 0 OR (i % 5 = 4 AND i < {rows} // 2) THEN NULL
        ELSE [CASE WHEN hash(i * 7 + j) % 7 = 0 THEN NULL ELSE hash(i * 100 + j)::DOUBLE % 2000 - 1000 END
            FOR j IN range({n})]::{type}[{n}] END AS v
    FROM range({rows}) r(i)
"""


@pytest.fixture
def without():
    """A connection without the extension."""
    with duckdb.connect(config={"allow_unsigned_extensions": "true"}) as con:
        yield con


def by_element(con, window, function, n, type_):
    """A window of a function of vectors, computed with a column for each element."""
    columns = ", ".join(f"{function}(v[{j}]) {window} AS x{j}" for j in range(1, n + 1))
    made = ", ".join(f"x{j}" for j in range(1, n + 1))
    return con.execute(
        f"SELECT id, CASE WHEN present > 0 THEN [{made}]::{type_}[{n}] END"
        f" FROM (SELECT id, count(v) {window} AS present, {columns} FROM vectors) ORDER BY id"
    ).fetchall()


@pytest.mark.parametrize("type_", ["FLOAT", "DOUBLE"])
@pytest.mark.parametrize(
    "window",
    [
        "OVER ()",
        "OVER (PARTITION BY g)",
        "OVER (ORDER BY id ROWS UNBOUNDED PRECEDING)",
        "OVER (PARTITION BY g ORDER BY id ROWS UNBOUNDED PRECEDING)",
        "OVER (PARTITION BY g ORDER BY id ROWS BETWEEN 3 PRECEDING AND 2 FOLLOWING)",
        "OVER (ORDER BY id ROWS BETWEEN 500 PRECEDING AND 100 FOLLOWING EXCLUDE CURRENT ROW)",
        "OVER (ORDER BY g RANGE BETWEEN 1 PRECEDING AND CURRENT ROW)",
        "OVER (PARTITION BY f ORDER BY g GROUPS BETWEEN CURRENT ROW AND UNBOUNDED FOLLOWING EXCLUDE TIES)",
        "FILTER (f) OVER (PARTITION BY g ORDER BY id DESC ROWS 20 PRECEDING)",
        "FILTER (f) OVER (ROWS UNBOUNDED PRECEDING)",
        "OVER (ROWS UNBOUNDED PRECEDING)",
    ],
)
def test_windows(con, window, type_):
    con.execute(VECTORS.format(rows=3000, n=2, type=type_))
    for function in ["sum", "avg"]:
        computed = con.execute(f"SELECT id, {function}(v) {window} FROM vectors ORDER BY id").fetchall()
        assert computed == by_element(con, window, function, 2, type_)


def test_running_totals_anywhere(con):
    """DuckDB streams a running total without a partition, and gives arrays to the aggregate wrongly then."""
    con.execute("CREATE TABLE t AS SELECT i AS id, CASE WHEN i != 2 THEN [i, 10]::FLOAT[2] END AS v FROM range(5) r(i)")
    total = "SELECT id, sum(v) OVER (ROWS UNBOUNDED PRECEDING) AS s FROM t"
    expected = [(0, 10), (1, 20), (1, 20), (4, 30), (8, 40)]
    for sql in [
        total,
        f"SELECT * FROM (FROM ({total}) ORDER BY id)",
        f"WITH c AS ({total}) SELECT a.id, b.s FROM c a JOIN c b USING (id) ORDER BY id",
        f"SELECT id, (SELECT s FROM ({total}) x WHERE x.id = t.id) FROM t ORDER BY id",
    ]:
        for disabled in ["", "extension"]:
            con.execute(f"SET disabled_optimizers = '{disabled}'")
            assert [row[1] for row in con.execute(sql).fetchall()] == expected, sql
    con.execute(f"PREPARE p AS {total}")
    con.execute(f"CREATE VIEW totals AS {total}")
    con.execute(f"CREATE TABLE made AS {total}")
    for sql in ["EXECUTE p", "FROM totals", "FROM made ORDER BY id"]:
        assert [row[1] for row in con.execute(sql).fetchall()] == expected, sql
    longest = "SELECT id, max(v) OVER (ROWS UNBOUNDED PRECEDING) FROM t"
    assert [row[1] for row in con.execute(longest).fetchall()] == [(0, 10), (1, 10), (1, 10), (3, 10), (4, 10)]


def seen(con, sql, *values):
    """The rows of a statement, or the class and first line of its error."""
    try:
        return con.execute(sql, values).fetchall()
    except duckdb.Error as error:
        return type(error), str(error).split("\n")[0]


def test_other_types_are_as_ever(con, without):
    """Of any other type, sum and avg are what they are without the extension."""
    types = {row[0] for row in without.execute("SELECT logical_type FROM duckdb_types()").fetchall()}
    types -= {"STRUCT", "MAP", "LIST", "ARRAY", "UNION", "ENUM", "DECIMAL", "TYPE"}
    types |= {"DECIMAL(4, 1)", "DECIMAL(18, 3)", "DECIMAL(38, 0)", "INTEGER[]", "FLOAT[]", "VARCHAR[2]", "FLOAT[2][2]", "STRUCT(a INTEGER)"}
    literals = ["NULL", "1", "1.5", "1e3", "'1'", "'[1, 2]'", "[1, 2]", "[1.5]", "[]", "true", "[[1.0], [2.0]]", "'\\x00'::BLOB"]
    for argument in [f"NULL::{type_}" for type_ in types] + literals:
        for call in ["typeof({}({}))", "{}({})::VARCHAR", "{}(DISTINCT {})::VARCHAR", "{}({}) OVER ()"]:
            for function in ["sum", "avg", "mean"]:
                sql = f"SELECT {call.format(function, argument)}"
                assert seen(con, sql) == seen(without, sql), sql
    for value in [1, 1.5, "a", None, True, [1, 2], [1.0, 2.0]]:
        for function in ["sum", "avg"]:
            sql = f"SELECT typeof({function}($1)), {function}($1)::VARCHAR"
            assert seen(con, sql, value) == seen(without, sql, value), (sql, value)
    for con_ in [con, without]:
        con_.execute("CREATE TABLE numbers AS SELECT i AS id, i::DECIMAL(9, 2) AS d, i::FLOAT AS f FROM range(1000) r(i)")
    for sql in [
        "SELECT id % 3, sum(id), avg(d), sum(f) FROM numbers GROUP BY 1 ORDER BY 1",
        "SELECT sum(id) OVER (ROWS 3 PRECEDING) FROM numbers",
    ]:
        assert seen(con, sql) == seen(without, sql)
        assert seen(con, f"EXPLAIN {sql}") == seen(without, f"EXPLAIN {sql}")


def test_exported_states(con):
    con.execute(VECTORS.format(rows=3000, n=3, type="FLOAT"))
    for function in ["sum", "avg"]:
        whole = con.execute(f"SELECT {function}(v) FROM vectors").fetchall()
        states = f"SELECT g, {function}(v) EXPORT_STATE AS s FROM vectors WHERE id >= 0 GROUP BY g"
        assert con.execute(f"SELECT finalize(combine_aggr(s)) FROM ({states})").fetchall() == whole
        assert con.execute(f"SELECT g, finalize(s) FROM ({states}) ORDER BY g").fetchall() == con.execute(
            f"SELECT g, {function}(v) FROM vectors GROUP BY g ORDER BY g"
        ).fetchall()
        nothing = f"SELECT {function}(v) EXPORT_STATE AS s FROM vectors WHERE id < 0"
        assert con.execute(f"SELECT finalize(s) FROM ({nothing})").fetchall() == [(None,)]


@pytest.mark.parametrize(
    ("state", "expected"),
    [
        ("{'rows': 2, 'sums': [1, 2], 'missing': [0, 1]}", (0.5, 2)),
        ("{'rows': 2, 'sums': [1, 2], 'missing': []}", (0.5, 1)),
        ("{'rows': 2, 'sums': [1, 2], 'missing': [2, 1]}", (None, 2)),
        ("{'rows': 0, 'sums': [], 'missing': []}", None),
        ("NULL", None),
        ("{'rows': 2, 'sums': [1, 2, 3], 'missing': []}", "has 3 sums, but its vectors have 2 elements"),
        ("{'rows': 2, 'sums': [1, 2], 'missing': [1]}", "has 2 rows, 2 sums and 1 counts of NULLs"),
        ("{'rows': 2, 'sums': [1, 2], 'missing': [3, 0]}", "has 2 rows and more NULLs than that"),
        ("{'rows': 2, 'sums': [], 'missing': []}", "has 2 rows, 0 sums"),
        ("{'rows': 0, 'sums': [1, 2], 'missing': []}", "has 0 rows, 2 sums"),
        ("{'rows': 2, 'sums': [1, NULL], 'missing': []}", "has a NULL in a list"),
        ("{'rows': NULL, 'sums': [1, 2], 'missing': []}", "is NULL; use 0 rows and empty lists"),
    ],
)
def test_states_by_hand(con, state, expected):
    type_ = 'STRUCT("rows" UBIGINT, sums DOUBLE[], missing UBIGINT[])'
    sql = f"SELECT finalize(to_aggregate_state({state}::{type_}, 'avg', ['FLOAT[2]']))"
    if isinstance(expected, str):
        with pytest.raises(duckdb.InvalidInputException, match=expected):
            con.execute(sql).fetchall()
    else:
        assert con.execute(sql).fetchall() == [(expected,)]


WIDE = """
    CREATE TABLE wide AS
    SELECT i AS id, (i * 7919) % 20000 AS g, [i + j FOR j IN range(100)]::FLOAT[100] AS v FROM range(40000) r(i)
"""
GROUPED = "SELECT g, avg(v) AS a FROM wide GROUP BY g"


def used(con):
    return con.execute("SELECT sum(memory_usage_bytes)::BIGINT FROM duckdb_memory()").fetchone()[0]


def test_groups_that_do_not_fit_in_memory_are_written_out(connect, tmp_path):
    con = connect(threads=2, temp_directory=str(tmp_path))
    con.execute(WIDE)
    con.execute(f"CREATE TABLE roomy AS {GROUPED}")
    con.execute(f"SET memory_limit = '{used(con) + 24_000_000}B'")
    con.execute(f"CREATE TABLE narrow AS {GROUPED}")
    same = "SELECT count(*) FROM roomy JOIN narrow ON roomy.g = narrow.g AND roomy.a = narrow.a"
    con.execute("RESET memory_limit")
    assert con.execute(same).fetchall() == [(20000,)]


def test_out_of_memory(connect):
    con = connect(threads=2, temp_directory="")
    con.execute(WIDE)
    con.execute(f"SET memory_limit = '{used(con) + 4_000_000}B'")
    with pytest.raises(duckdb.OutOfMemoryException):
        con.execute(GROUPED).fetchall()
    assert con.execute("SELECT count(*) FROM wide").fetchall() == [(40000,)]
