"""What the tests of clients share. Each client's own operations are compared with a search without the index, and its plan is read."""

import json
import pathlib
import sys

import pytest

sys.path.insert(0, str(pathlib.Path(__file__).resolve().parents[2] / "clients"))

QUERY = 7


@pytest.fixture(scope="package")
def rows():
    import definitions

    return definitions.rows(3000)


@pytest.fixture
def query(rows):
    return rows[QUERY]


@pytest.fixture
def nearest(rows):
    """A function: the texts of the `k` rows nearest to a row, by their cosines, exactly; of a category, or of all."""
    import numpy as np

    vectors = np.array([row["embedding"] for row in rows])
    vectors /= np.linalg.norm(vectors, axis=1, keepdims=True)

    def texts(query, k, category=None):
        distances = 1 - vectors @ vectors[rows.index(query)]
        some = [number for number, row in enumerate(rows) if category in (None, row["category"])]
        return [rows[number]["text"] for number in sorted(some, key=distances.__getitem__)[:k]]

    return texts


@pytest.fixture
def operators(tmp_path):
    """A function: the names of the operators of the last statement of a call, `call()`, for which `run(sql)` executes settings."""

    def names(run, call):
        path = tmp_path / "profile.json"
        run("SET enable_profiling = 'json'")
        run(f"SET profiling_output = '{path}'")
        call()
        text = path.read_text()
        run("RESET enable_profiling")
        found = []

        def visit(node):
            found.append(node["name"])
            for child in node.get("children", []):
                visit(child)

        for node in json.loads(text)["operator"]:
            visit(node)
        return found

    return names
