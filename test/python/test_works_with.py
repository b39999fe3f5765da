"""The SQL of docs/works-with.md: what it calls served is, what it calls exact is not."""

import re

import pages
import pytest

PAGE = "docs/works-with.md"
SEARCH = re.compile(r"ORDER BY|>= 0\.5")


def test_served_or_exact(con):
    served = exact = 0
    for kind, block in pages.blocks(PAGE):
        assert kind in ("", "exact")
        for sql, answer in pages.statements(block):
            if sql.startswith(("SELECT", "FROM", "WITH")) and SEARCH.search(sql):
                used = {row for (row,) in con.execute("SELECT used FROM hnsw_explain($1)", [sql]).fetchall()}
                assert used, f"no index at all: {sql}"
                assert (True in used) == (kind == ""), sql
                plan = con.execute(f"EXPLAIN (FORMAT json) {sql}").fetchall()[0][1]
                assert ('"HNSW_INDEX_' in plan) == (kind == ""), sql
                served += kind == ""
                exact += kind == "exact"
                if kind == "":
                    same_as_without(con, sql)
            pages.check(con, sql, answer)
    assert served >= 22 and exact >= 2


def same_as_without(con, sql):
    """The rows that the exact answer has: these are few rows, of three dimensions, which an index finds all."""
    rows = con.execute(sql).fetchall()
    con.execute("SET disabled_optimizers = 'extension,late_materialization'")
    exact = con.execute(sql).fetchall()
    con.execute("RESET disabled_optimizers")
    missing = {row[0] for row in exact} - {row[0] for row in rows}
    assert len(rows) == len(exact) and len(missing) <= len(exact) // 10, sql


def test_not_null_is_no_filter(con):
    """What the page says of it: no row is looked at for it, though there are NULLs."""
    con.execute("CREATE TABLE t AS SELECT i AS id, CASE WHEN i > 0 THEN [i, 1]::FLOAT[2] END AS v FROM range(5000) r(i)")
    con.execute("CREATE INDEX i ON t USING HNSW (v)")
    query = "SELECT id FROM t WHERE v IS NOT NULL ORDER BY array_distance(v, [7, 1]) LIMIT 3"
    plan = con.execute(f"EXPLAIN ANALYZE {query}").fetchall()[0][1]
    assert "Operator: HNSW_INDEX_SCAN" in plan and "Qualifying" not in plan and "Table Scan" not in plan


def test_groups_by_a_field_of_json_are_served(con):
    """Metadata as JSON, which not every host of the SQL tests has; chunks of few authors, best author first."""
    con.execute("CREATE TABLE t AS SELECT json_object('author', 'a' || (i % 40)) AS meta, [sin(i), cos(i)]::FLOAT[2] AS v FROM range(3000) r(i)")
    con.execute("CREATE INDEX i ON t USING HNSW (v)")
    query = "SELECT meta->>'author' a, min(array_distance(v, [0.6, 0.8]::FLOAT[2])) s FROM t GROUP BY a ORDER BY s LIMIT 10"
    plan = con.execute(f"EXPLAIN (FORMAT json) {query}").fetchall()[0][1]
    assert '"HNSW_INDEX_SCAN"' in plan and '"Groups": "10"' in plan
    same_as_without(con, query)


def test_prepared_statements_are_served(con):
    for _, block in pages.blocks(PAGE):
        for sql, _ in pages.statements(block):
            if sql.startswith("EXECUTE"):
                assert '"HNSW_INDEX_SCAN"' in con.execute(f"EXPLAIN (FORMAT json) {sql}").fetchall()[0][1]
                return
            if sql.startswith(("CREATE TABLE base", "CREATE TABLE items", "CREATE INDEX by_angle", "PREPARE")):
                con.execute(sql)
    pytest.fail("there is no EXECUTE on the page")


def test_every_client_of_the_table_has_its_place():
    """The links of the table lead to headings of the page; what was run as SQL has a block."""
    text = pages.read(PAGE)
    anchors = {re.sub(r"[^\w -]", "", h.lower()).replace(" ", "-") for h in pages.headings(PAGE)}
    links = set(re.findall(r"\]\(#([\w-]+)\)", text))
    assert links and links <= anchors
    rows = pages.table(text, "client", "how")
    assert {row[1] for row in rows} == {"run", "SQL", "not run"}
