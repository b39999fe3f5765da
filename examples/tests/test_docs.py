"""The SQL in the documentation runs as it stands, and its searches use an index unless the text says that they do not."""

import ast
import pathlib
import re
import sys
import types

import duckdb
import model
import numpy as np
import pytest

ROOT = pathlib.Path(__file__).resolve().parents[2]
PAGES = ["examples/words/README.md", "docs/migrating.md", "docs/troubleshooting.md", "docs/tuning.md"]
LINKING = ["README.md", "examples/README.md", *(f"examples/{name}/README.md" for name in ["feed", "refresh", "search", "shards"])]
LINKING += ["docs/reference.md", "docs/scale.md", "docs/works-with.md", "docs/building.md", "docs/architecture.md"]
LINKING += ["CONTRIBUTING.md", "CHANGELOG.md", *PAGES]
SEARCH = re.compile(r"ORDER BY .*(<->|<=>|_distance|_product|_similarity|score)|vector_search|min_by|LATERAL", re.DOTALL)


def blocks(page):
    """The SQL blocks of a page: the words after ```sql, and the statements."""
    return re.findall(r"^```sql *(.*?)\n(.*?)^```$", (ROOT / page).read_text(), re.DOTALL | re.MULTILINE)


@pytest.mark.parametrize("page", PAGES)
def test_statements_run(con, page):
    checked = 0
    for kind, block in blocks(page):
        for statement in con.extract_statements(block):
            sql = statement.query.strip().rstrip(";")
            if kind == "error":
                with pytest.raises(duckdb.Error):
                    con.execute(sql)
                continue
            if sql.upper().startswith(("SELECT", "FROM")) and SEARCH.search(sql) and "hnsw_explain" not in sql:
                used = [row for (row,) in con.execute("SELECT used FROM hnsw_explain($1)", [sql]).fetchall()]
                assert (True in used) == (kind != "exact"), f"{page}: {sql}"
                checked += 1
            con.execute(sql).fetchall()
    assert checked > 0


@pytest.fixture
def duckdb_vss(extension, monkeypatch):
    """In the place of the wheel: what it has, with the extension of these tests. The connections it opened are its `opened`."""
    plain, opened = duckdb.connect, []

    def load(connection):
        connection.load_extension(str(extension))
        opened.append(connection)
        return connection

    def connect(database=":memory:", read_only=False, config=None):
        return load(plain(database, read_only=read_only, config={"allow_unsigned_extensions": "true", **(config or {})}))

    module = types.SimpleNamespace(connect=connect, load=load, opened=opened)
    monkeypatch.setitem(sys.modules, "duckdb_vss", module)
    yield module
    for connection in opened:
        connection.close()


def python(page):
    return re.findall(r"^```python\n(.*?)^```$", (ROOT / page).read_text(), re.DOTALL | re.MULTILINE)


def test_the_python_of_the_readme_runs(con, monkeypatch, capsys):
    monkeypatch.setitem(sys.modules, "duckdb_vss", types.SimpleNamespace(connect=lambda: con))
    (block,) = [block for block in python("README.md") if "CREATE INDEX" in block]
    exec(block, {})
    found = ast.literal_eval(capsys.readouterr().out)
    assert len(found) == 10 and found == sorted(found, key=lambda row: row[1])
    assert con.execute("SELECT count, status FROM pragma_hnsw_index_info()").fetchall() == [(10_000, "ready")]


def test_a_connect_of_ones_own(duckdb_vss, monkeypatch):
    """Settings of the extension in `config`, which DuckDB takes only when it is loaded, and other settings, too."""
    config = {"hnsw_enable_experimental_persistence": True, "threads": 1, "allow_unsigned_extensions": "true"}
    with pytest.raises(duckdb.Error, match="could not be autoloaded"):
        duckdb.connect(config=config)
    monkeypatch.setattr(duckdb, "connect", duckdb.connect)  # put back when the test is over
    (block,) = [block for block in python("docs/works-with.md") if "duckdb.connect = connect" in block]
    exec(block, {})
    settings = duckdb.connect(config=config).execute("SELECT value FROM duckdb_settings() WHERE name IN ($1, $2)", list(config)[:2])
    assert sorted(settings.fetchall()) == [("1",), ("true",)]


def test_placeholders_of_psycopg(con):
    class Vector:
        """What `pgvector.Vector` has."""

        def to_numpy(self):
            return np.array([3, 1, 2], dtype="<f4")

    con.execute("CREATE TABLE moved AS SELECT i AS id, [i, 2, 3]::FLOAT[3] AS embedding, 'a%' AS name FROM range(5000) r(i)")
    (block,) = [block for block in python("docs/migrating.md") if "def execute" in block]
    names = {"con": con, "np": np}
    exec(block, names)
    execute = names["execute"]
    sql = "SELECT id FROM moved WHERE id %% 2 = 0 ORDER BY embedding <-> {} LIMIT {}"
    expected = con.execute("SELECT id FROM moved WHERE id % 2 = 0 ORDER BY array_distance(embedding, [3, 1, 2]) LIMIT 3").fetchall()
    for vector in [Vector(), [3, 1, 2], "[3,1,2]"]:
        assert execute(con, sql.format("%s", "%s"), (vector, 3)).fetchall() == expected
        assert execute(con, sql.format("%(q)s", "%(k)s"), {"q": vector, "k": 3}).fetchall() == expected
    assert execute(con, "SELECT count(*) FROM moved").fetchall() == [(5000,)]


def test_macros_of_pgvectors_functions(con):
    for _, block in blocks("docs/migrating.md"):
        for statement in con.extract_statements(block):
            if statement.query.strip().startswith("CREATE MACRO"):
                con.execute(statement.query)
    functions = {
        "l2_distance([1, 2], [4, 6])": 5,
        "cosine_distance([1, 0], [0, 1])": 1,
        "inner_product([1, 2], [3, 4])": 11,
        "vector_dims([1, 2])": 2,
        "vector_norm([3, 4])": 5,
        "l2_normalize([3, 4]::DOUBLE[2])": (0.6, 0.8),
        "l1_distance([1, 2], [4, 6])": 7,
        "[1, 2] <+> [4, 6]": 7,
    }
    for call, value in functions.items():
        assert con.execute(f"SELECT {call}").fetchall() == [(value,)], call
    con.execute("CREATE TABLE t AS SELECT [i, 1]::FLOAT[2] AS v FROM range(3000) r(i)")
    for metric, order in {"l2sq": "l2_distance", "cosine": "cosine_distance", "ip": "-inner_product"}.items():
        con.execute(f"CREATE INDEX by_{metric} ON t USING HNSW (v) WITH (metric = '{metric}')")
        used = con.execute("SELECT index_name FROM hnsw_explain($1) WHERE used", [f"FROM t ORDER BY {order}(v, [1, 2]) LIMIT 3"])
        assert used.fetchall() == [(f"by_{metric}",)]


def test_text_instead_of_a_vector(con, model_folder):
    names = {"con": con, "np": np, "embed": model.Model(model_folder).embed}
    (block,) = [block for block in python("docs/migrating.md") if "create_function" in block]
    exec(block, names)
    assert len(names["by_text"]) == 5
    for query in [
        "SELECT id, name, score FROM vector_search(products, 'wireless headphones') LIMIT 5",
        "SELECT id FROM vector_search('products', embed('product 7'), 3)",
        "SELECT id FROM products ORDER BY array_cosine_distance(embedding, embed('product 7')) LIMIT 3",
    ]:
        assert con.execute("SELECT used FROM hnsw_explain($1)", [query]).fetchall() == [(True,)], query
    assert con.execute("SELECT name FROM vector_search(products, 'product 7', 1)").fetchall() == [("product 7",)]


def test_frames_in_and_out(duckdb_vss):
    names = {}
    for block in python("docs/works-with.md")[1:]:
        exec(block, names)
    con, vectors = names["con"], names["vectors"]
    assert con.execute("SELECT count(*), count(embedding), max(id) FROM items").fetchall() == [(1501, 1501, 1500)]
    for frame in ["as_pandas", "as_polars", "as_arrow"]:
        # 7 is the first row of the nearest to itself, in all that was inserted by then
        assert list(names[frame]["id"])[0] in (7, names["pa"].scalar(7)) and len(names[frame]) == 5
    assert str(names["as_polars"].schema["embedding"]) == "Array(Float32, shape=(384,))"
    assert names["as_matrix"].shape == (5, 384) and (names["as_matrix"][0] == vectors[7]).all()
    assert len(names["joined"]) == 6 and {(0, 0), (1, 1), (2, 2)} <= set(names["joined"].rows())
    assert names["by_array"] == names["by_bytes"] == names["by_saved"] == [(7,)]
    assert con.execute("SELECT embedding FROM items WHERE id = 1500").fetchall()[0][0] == tuple(vectors[7])
    infos = con.execute("SELECT index_name, count, status FROM pragma_hnsw_index_info() ORDER BY index_name").fetchall()
    assert infos == [("by_distance", 1501, "ready"), ("of_bulk", 2000, "ready")]
    assert "Hnsw Index Scan" in names["nearest"].explain()
    questions = names["questions"]  # DuckDB finds it by this name
    query = "FROM questions, LATERAL (FROM items ORDER BY array_distance(embedding, vector) LIMIT 2) n"
    assert len(questions) == 3 and "Hnsw Index Join" in con.sql(query).explain()
    assert con.execute("SELECT used FROM hnsw_explain($1)", [names["sql"].replace("$q", "?")]).fetchall() == [(True,)]


def anchors(page):
    """The headings of a page, as links write them."""
    text = re.sub(r"^```.*?^```$", "", page.read_text(), flags=re.DOTALL | re.MULTILINE)
    return {re.sub(r"[^\w -]", "", heading.lower()).replace(" ", "-") for heading in re.findall(r"^#+ (.*)$", text, re.MULTILINE)}


@pytest.mark.parametrize("page", LINKING)
def test_links_lead_somewhere(page):
    for target in re.findall(r"\]\(([^) ]+)\)", re.sub(r"^```.*?^```$", "", (ROOT / page).read_text(), flags=re.DOTALL | re.MULTILINE)):
        if target.startswith("http"):
            continue
        path, _, anchor = target.partition("#")
        led = (ROOT / page).parent / path if path else ROOT / page
        assert led.exists(), f"{page}: {target}"
        assert not anchor or anchor in anchors(led), f"{page}: {target}"


@pytest.mark.parametrize(
    ("loaded", "statement"),
    [
        (False, "SET hnsw_ef_search = 1"),
        (False, "CREATE INDEX i ON items USING HNSW (embedding)"),
        (True, "CREATE INDEX i ON items USING HNSW (embedding) WITH (metric = cosine)"),
        (True, "CREATE INDEX i ON lists USING HNSW (l)"),
        (True, "FROM items ORDER BY array_distance(embedding, [1, 2]::FLOAT[2])"),
        (True, "FROM items ORDER BY array_distance(embedding, [1, 2])"),
        (True, "FROM items ORDER BY array_distance(embedding, [1, 2, NULL])"),
        (True, "SELECT '\\x00'::BLOB::FLOAT[3]"),
        (True, "FROM items ORDER BY array_distance(embedding, '\\x00'::BLOB)"),
        (True, "ALTER TABLE items RENAME TO things"),
        (True, "FROM vector_search('items', [1, 2, 3])"),
        (True, "FROM vector_search('items', 'a boat', 10)"),
    ],
)
def test_errors(con, loaded, statement):
    """What DuckDB says stands in the table of errors."""
    con = con if loaded else duckdb.connect()
    con.execute("CREATE TABLE items AS SELECT [1, 2, 3]::FLOAT[3] AS embedding")
    con.execute("CREATE TABLE lists (l FLOAT[])")
    if loaded:
        con.execute("CREATE INDEX e ON items USING HNSW (embedding)")
    with pytest.raises(duckdb.Error) as refused:
        con.execute(statement).fetchall()
    page = (ROOT / "docs/troubleshooting.md").read_text()
    cells = [line.split(" | ")[0] for line in page[page.index("## Errors") :].splitlines() if line.startswith("| `")]
    messages = [".*".join(map(re.escape, message.split("…"))) for cell in cells for message in re.findall("`(.*?)`", cell)]
    assert any(re.search(message, str(refused.value)) for message in messages), refused.value


def test_reasons(con):
    """Each row of the table of reasons: the query is refused for this reason, and the other one is served."""
    for _, block in blocks("docs/troubleshooting.md")[:1]:
        con.execute(block)
    page = (ROOT / "docs/troubleshooting.md").read_text()
    rows = re.findall(r"^\| `(.*?)` \| `((?:SELECT|FROM) .*?)` \| (.*) \|$", page, re.MULTILINE)
    assert len(rows) > 10
    for reason, query, instead in rows:
        assert con.execute("SELECT used, reason FROM hnsw_explain($1)", [query]).fetchall() == [(False, reason)], query
        con.execute(query).fetchall()
        for served in re.findall("`(.*?)`", instead):
            assert con.execute("SELECT used FROM hnsw_explain($1)", [served]).fetchall() == [(True,)], served
            con.execute(served).fetchall()
