"""The notebook of recall against time, executed: as it stands, and for a table of one's own."""

import json
import pathlib

import duckdb
import nbclient
import nbformat
import pytest

NOTEBOOK = pathlib.Path(__file__).resolve().parents[1] / "notebook.ipynb"


def execute(own=""):
    """What it has measured, a dictionary for each width, and the types of what its cells show. `own` is run after the second cell."""
    notebook = nbformat.read(NOTEBOOK, as_version=4)
    notebook.cells[1].source += "\n" + own
    notebook.cells.append(nbformat.v4.new_code_cell("print(measured.to_json(orient='records'))"))
    nbclient.NotebookClient(notebook, timeout=600, kernel_name="python3", resources={"metadata": {"path": NOTEBOOK.parent}}).execute()
    outputs = [output for cell in notebook.cells for output in cell.get("outputs", [])]
    shown = {kind for output in outputs for kind in output.get("data", {})}
    (printed,) = [output.text for output in outputs if output.get("name") == "stdout"]
    return json.loads(printed), shown


def test_as_it_stands(extension):
    measured, shown = execute()
    assert "image/png" in shown
    assert [row["ef_search"] for row in measured] == [40, 64, 100, 200, 400, 800]
    assert {(row["k"], row["queries"]) for row in measured} == {(10, 200)}
    assert all(row["recall"] >= 0.9 for row in measured) and measured[-1]["recall"] >= 0.99


@pytest.mark.parametrize("metric", ["l2sq", "ip"])
def test_own_table(extension, tmp_path, metric):
    with duckdb.connect(tmp_path / "my.db") as con:
        vector = "CASE WHEN i % 10 > 0 THEN [hash(i * 8 + j) % 1000 / 500 - 1 FOR j IN range(8)] END"
        con.execute(f"CREATE TABLE items AS SELECT i AS id, {vector} AS v FROM range(6000) r(i)")
    own = f"ATTACHED, SOURCE, COLUMN, DIMENSIONS = {str(tmp_path / 'my.db')!r}, 'FROM own.items', 'v', 8\n"
    measured, shown = execute(own + f"METRIC, K, QUERIES, WIDTHS = {metric!r}, 5, 50, [50, 500]")
    assert "image/png" in shown
    assert [(row["k"], row["queries"], row["ef_search"]) for row in measured] == [(5, 50, 50), (5, 50, 500)]
    assert measured[-1]["recall"] >= 0.9


def test_kept_without_results():
    """What it shows depends on the machine."""
    cells = json.loads(NOTEBOOK.read_text())["cells"]
    assert all(not cell.get("outputs") and cell.get("execution_count") is None for cell in cells)
