"""docs/reference.md is true, and nothing is missing on it."""

import json
import re

import duckdb
import pages
import pytest

PAGE = "docs/reference.md"
SEARCH = re.compile(
    r"ORDER BY array_\w+\(|(vector_search|hybrid_search|mmr|more_like_this|vss_join|vss_match)\(", re.DOTALL
)


@pytest.fixture(autouse=True)
def in_a_folder(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)


@pytest.fixture
def without():
    """A connection without the extension."""
    with duckdb.connect(config={"allow_unsigned_extensions": "true"}) as con:
        yield con


def test_statements_and_answers(con):
    """Every statement of the page, in order; its searches use an index."""
    served = answered = refused = 0
    for _, block in pages.blocks(PAGE):
        for sql, answer in pages.statements(block):
            error = bool(answer and pages.ERROR.match(answer[0]))
            if sql.startswith(("SELECT", "FROM")) and SEARCH.search(sql) and "hnsw_explain" not in sql and not error:
                used = [row for (row,) in con.execute("SELECT used FROM hnsw_explain($1)", [sql]).fetchall()]
                assert True in used, sql
                served += 1
            pages.check(con, sql, answer)
            answered += bool(answer) and not error
            refused += error
    assert served > 8 and answered > 25 and refused > 50


def test_the_check_of_answers_can_fail(con):
    for sql, answer in [
        ("SELECT 1", ["2"]),
        ("SELECT 1", ["1", "1"]),
        ("SELECT 1", ["Binder Error: no"]),
        ("SELECT nope", ["Binder Error: another"]),
        ("SELECT nope", ["Catalog Error: Referenced column …"]),
    ]:
        with pytest.raises(AssertionError):
            pages.check(con, sql, answer)
    with pytest.raises(duckdb.Error):
        pages.check(con, "SELECT nope", ["1"])
    pages.check(con, "SELECT nope", ["Binder Error: Referenced column …"])
    assert pages.statements("SELECT 1;\nSELECT\n2;\n-- 2\n-- 3\nSELECT 4;\n") == [
        ("SELECT 1", []),
        ("SELECT\n2", ["2", "3"]),
        ("SELECT 4", []),
    ]


def names(rows):
    return {row[0].strip("`") for row in rows}


SETTINGS = "SELECT name, input_type, coalesce(value, 'NULL') FROM duckdb_settings()"
FUNCTIONS = "SELECT DISTINCT function_name, function_type, parameter_types::VARCHAR FROM duckdb_functions()"


def added(con, without, query):
    """Rows that there are with the extension only."""
    return set(con.execute(query).fetchall()) - set(without.execute(query).fetchall())


def test_settings(con, without):
    settings = added(con, without, SETTINGS)
    assert settings == {(name.strip("`"), type_, default) for name, type_, default in pages.table(pages.read(PAGE), "setting")}
    for name, _, _ in settings:
        assert f"`{name}`" in pages.headings(PAGE)


def test_functions_pragmas_and_macros(con, without):
    expected = set()
    for name, kind, _ in added(con, without, FUNCTIONS):
        heading = {"pragma": f"`PRAGMA {name}`", "table": f"`{name}()`", "table_macro": f"`{name}()`", "macro": f"`{name}()`"}.get(kind, name)
        expected.add(heading)
    on_page = {h for h in pages.headings(PAGE) if h.startswith("`PRAGMA ") or h.endswith("()`")}
    for section in ["The metric of an index", "Distances of an array and a list", "Arithmetic of vectors", "Sums and averages of vectors"]:
        on_page |= names(pages.table(pages.section(PAGE, section), "function"))
    assert on_page == expected
    # casts, types and optimizers, of which DuckDB has no list or a list that has not grown
    for query in ["SELECT type_name FROM duckdb_types()", "SELECT * FROM duckdb_optimizers()"]:
        assert not added(con, without, query)


def test_signatures(con):
    """The lines of signatures are those that DuckDB shows when it is called wrongly."""
    macros = ["vector_search", "hybrid_search", "mmr", "more_like_this", "near_duplicates", "near_duplicate_groups"]
    macros += ["vss_join", "vss_match"]
    for call in [*macros, "hnsw_recall", "hnsw_explain", "pragma_hnsw_compact_index"]:
        with pytest.raises(duckdb.Error) as refused:
            con.execute(f"FROM {call}()")
        (signature,) = [line.strip() for line in str(refused.value).splitlines() if line.startswith(f"\t{call}(")]
        signature = signature.replace("col0 VARCHAR, /", "VARCHAR").replace("col0 VARCHAR", "VARCHAR")  # as 2.0.0 writes it
        assert f"```text\n{signature}\n```" in pages.section(PAGE, f"`{call}()`")


@pytest.mark.parametrize(
    ("function", "call"),
    [
        ("pragma_hnsw_index_info", "pragma_hnsw_index_info()"),
        ("pragma_hnsw_compact_index", "pragma_hnsw_compact_index('i')"),
        ("pragma_hnsw_finish", "pragma_hnsw_finish('i')"),
        ("hnsw_index_health", "hnsw_index_health()"),
        ("hnsw_explain", "hnsw_explain('FROM t')"),
        ("hnsw_recall", "hnsw_recall('i')"),
        ("vss_join", "vss_join(t, t, v, v, 1)"),
        ("vss_match", "(FROM (FROM t), vss_match(t, v, v, 1) SELECT matches)"),
    ],
)
def test_columns(con, function, call):
    con.execute("CREATE TABLE t (v FLOAT[2])")
    con.execute("CREATE INDEX i ON t USING HNSW (v)")
    described = [row[:2] for row in con.execute(f"DESCRIBE FROM {call}").fetchall()]
    rows = pages.table(pages.section(PAGE, f"`{function}()`"), "column", "type")
    assert len(rows) == len(described)
    for (name, type_), row in zip(described, rows):
        assert row[0] == f"`{name}`"
        # the rows of macros are those of the tables that they are given
        assert row[1] == "STRUCT" and type_.startswith("STRUCT(") or pages.pattern(row[1]).fullmatch(type_)


def test_options(con):
    """Names, defaults and ranges: the values at the ends are taken, those beyond refused."""
    con.execute("CREATE TABLE t (v FLOAT[2])")
    with pytest.raises(duckdb.Error, match="the options are (.*)$") as refused:
        con.execute("CREATE INDEX i ON t USING HNSW (v) WITH (nothing = 1)")
    options = re.search("the options are (.*)$", str(refused.value))[1].split(", ")
    rows = pages.table(pages.section(PAGE, "Options"), "option", "type")
    assert [row[0] for row in rows] == [f"`{option}`" for option in options]
    assert all(f"`{option}`" in pages.headings(PAGE) for option in options)

    def create(**given):
        shown = ", ".join(f"{name} = {value!r}" for name, value in given.items())
        con.execute(f"CREATE INDEX i ON t USING HNSW (v) {f'WITH ({shown})' if given else ''}")
        made = con.execute(f"SELECT {', '.join(options)} FROM pragma_hnsw_index_info()").fetchall()[0]
        con.execute("DROP INDEX i")
        return dict(zip(options, made))

    defaults = create()
    for name, type_, default, allowed in rows:
        name = name.strip("`")
        if type_ == "VARCHAR":
            assert default == f"`{defaults[name]}`"
            continue
        if type_ == "DOUBLE":
            assert (default, defaults[name], allowed) == ("none", None, "above 0 to 1")
            assert create(**{name: 0.001})[name] == 0.001 and create(**{name: 1})[name] == 1
            for beyond in [0, -0.1, 1.001]:
                with pytest.raises(duckdb.BinderException, match=name):
                    create(**{name: beyond})
            continue
        assert str(defaults[name]) == {"2 · `m`": "32"}.get(default, default)
        low, high = allowed.replace("`m`", "16").split(" to ")
        assert create(**{name: int(low)})[name] == int(low) and create(**{name: int(high)})[name] == int(high)
        for beyond in [int(low) - 1, int(high) + 1]:
            with pytest.raises(duckdb.BinderException, match=name):
                create(**{name: beyond})


def test_metrics(con):
    con.execute("CREATE TABLE t (v FLOAT[2])")
    with pytest.raises(duckdb.Error) as refused:
        con.execute("CREATE INDEX i ON t USING HNSW (v) WITH (metric = 'x')")
    known = re.findall(r"'(\w+)' \((.*?)\)", str(refused.value))
    rows = pages.table(pages.section(PAGE, "`metric`"), "metric", "other names")
    assert [(row[0].strip("`"), row[1].replace("`", "")) for row in rows] == known
    for n, row in enumerate(rows):
        metric = row[0].strip("`")
        con.execute(f"CREATE INDEX i{n} ON t USING HNSW (v) WITH (metric = '{metric}')")
        ways = [(row[2], "")] + [(cell, "DESC") for cell in row[3:]]
        for function, direction in [(f, d) for cell, d in ways for f in re.findall("`(.*?)`", cell)]:
            call = f"v {function} [1, 2]" if function.startswith("<") else f"{function}(v, [1, 2])"
            query = f"FROM t ORDER BY {call} {direction} LIMIT 1"
            used = con.execute("SELECT index_name FROM hnsw_explain($1) WHERE used", [query]).fetchall()
            assert used == [(f"i{n}",)], query


def test_plans(con):
    """Every line that the operators show is on the page, and the other way round."""
    con.execute("CREATE TABLE t AS SELECT i AS id, [i, 1]::FLOAT[2] AS v FROM range(5000) r(i)")
    con.execute("CREATE INDEX i ON t USING HNSW (v)")
    operators, lines = set(), {"EXPLAIN": set(), "EXPLAIN ANALYZE": set()}

    def walk(node, kind):
        shown = node.get("extra_info", {})
        name = shown.get("Operator", node.get("name", node.get("operator_name", "")))
        if name.startswith("HNSW"):
            operators.add(name)
            lines[kind] |= set(shown)
        for child in node.get("children", []):
            walk(child, kind)

    for query in [
        "FROM t WHERE id % 2 = 0 ORDER BY array_distance(v, [1, 2]) LIMIT 5",
        "SELECT id % 7 g, min(array_distance(v, [1, 2])) d FROM t GROUP BY g ORDER BY d LIMIT 3",
        "FROM (FROM t LIMIT 3) q, LATERAL (FROM t ORDER BY array_distance(t.v, q.v) LIMIT 2) n",
        "FROM t WHERE array_distance(v, [1, 2]) < 3",
    ]:
        if "ORDER BY" not in query:
            # so short vectors are scanned otherwise
            con.execute("SET hnsw_strategy = 'exact'")
        for kind in lines:
            options = "ANALYZE, FORMAT json" if kind == "EXPLAIN ANALYZE" else "FORMAT json"
            plan = json.loads(con.execute(f"EXPLAIN ({options}) {query}").fetchall()[0][1])
            for node in plan["operator"] if kind == "EXPLAIN ANALYZE" else plan:
                walk(node, kind)
    text = pages.section(PAGE, "Operators in plans")
    assert operators == names(pages.table(text, "operator"))
    on_page = [(line, kind) for cell, kind, *_ in pages.table(text, "line") for line in re.findall("`(.*?)`", cell)]
    assert {line for line, kind in on_page if kind == "EXPLAIN"} == lines["EXPLAIN"]
    assert {line for line, _ in on_page} == lines["EXPLAIN ANALYZE"]
