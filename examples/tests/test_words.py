"""Neighbours of words, from the index and by brute force."""

import subprocess
import sys

import numpy as np
import pytest
import words


@pytest.mark.parametrize("dimensions", [384, 50])
def test_found_as_by_brute_force(dataset, dimensions):
    con = words.load(dataset / "words.parquet", dimensions)
    con.execute("CREATE INDEX by_meaning ON senses USING HNSW (embedding) WITH (metric = 'cosine')")
    plan = con.execute(
        "SELECT used FROM hnsw_explain($1)",
        [words.NEAREST.format(dimensions=dimensions).replace("$query", "(SELECT embedding FROM senses LIMIT 1)")],
    ).fetchall()
    assert plan == [(True,)]
    near = wanted = 0
    for (word,) in con.execute("SELECT word FROM senses USING SAMPLE reservoir(20 ROWS) REPEATABLE (1)").fetchall():
        found, exact, _, _ = words.compare(con, word, dimensions)
        assert found[0][3] == pytest.approx(0, abs=1e-6)
        near += sum(row[3] <= exact[-1][3] for row in found)
        wanted += len(exact)
    assert near >= 0.95 * wanted
    assert words.compare(con, "no such word", dimensions) is None
    con.close()


def test_principal_components_keep_neighbours():
    random = np.random.default_rng(3)
    matrix = random.standard_normal((300, 5)) @ random.standard_normal((5, 40))
    reduced = words.principal(matrix, 5)
    assert reduced.shape == (300, 5)
    distances = lambda m: np.linalg.norm(m[:, None] - m[None], axis=2)
    assert np.allclose(distances(matrix), distances(reduced))


def test_prints_both_times():
    command = [sys.executable, words.__file__, "--rows", "1000", "--dimensions", "20"]
    printed = subprocess.run(command, check=True, capture_output=True, text=True).stdout
    assert "senses of 20 dimensions, indexed in" in printed
    assert printed.count(" of 10 the same\n") == 3
