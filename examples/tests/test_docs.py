"""The SQL in the documentation runs as it stands, and its searches use an index unless the text says that they do not."""

import ast
import pathlib
import re
import sys
import types

import duckdb
import pytest

ROOT = pathlib.Path(__file__).resolve().parents[2]
PAGES = ["examples/words/README.md", "docs/migrating.md", "docs/troubleshooting.md", "docs/tuning.md"]
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


def test_the_python_of_the_readme_runs(con, monkeypatch, capsys):
    monkeypatch.setitem(sys.modules, "duckdb_vss", types.SimpleNamespace(connect=lambda: con))
    python = re.findall(r"^```python\n(.*?)^```$", (ROOT / "README.md").read_text(), re.DOTALL | re.MULTILINE)
    (block,) = [block for block in python if "CREATE INDEX" in block]
    exec(block, {})
    found = ast.literal_eval(capsys.readouterr().out)
    assert len(found) == 10 and found == sorted(found, key=lambda row: row[1])
    assert con.execute("SELECT count, status FROM pragma_hnsw_index_info()").fetchall() == [(10_000, "ready")]


@pytest.mark.parametrize("page", ["README.md", "examples/README.md", "docs/reference.md", "docs/works-with.md", *PAGES])
def test_links_lead_somewhere(page):
    for target in re.findall(r"\]\(([^)#]+)\)", (ROOT / page).read_text()):
        assert target.startswith("http") or (ROOT / page).parent.joinpath(target).exists(), f"{page}: {target}"


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
