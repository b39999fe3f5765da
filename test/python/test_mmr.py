"""mmr chooses what the definition of maximal marginal relevance says."""

import numpy as np
import pytest

ROWS, DIMENSIONS = 2000, 24

SIMILARITY = {
    "cosine": lambda a, b: (a @ b.T) / np.linalg.norm(a, axis=1)[:, None] / np.linalg.norm(b, axis=1),
    "ip": lambda a, b: a @ b.T,
    "l2sq": lambda a, b: 1 / (1 + np.linalg.norm(a[:, None] - b[None], axis=2)),
}


@pytest.fixture
def vectors(con):
    vectors = np.random.default_rng(1).normal(size=(ROWS, DIMENSIONS)).astype("f4")
    con.execute(f"CREATE TABLE t (id INTEGER, embedding FLOAT[{DIMENSIONS}])")
    con.execute(f"INSERT INTO t SELECT unnest(range($1)), unnest($2::FLOAT[{DIMENSIONS}][])", [ROWS, vectors.tolist()])
    con.execute("SET hnsw_strategy = 'exact'")
    return vectors.astype("f8")


def chosen(candidates, relevance, likeness, k, share):
    """The definition, step by step: `relevance` of the candidates to the query, their `likeness` to each other."""
    result, left = [0], list(range(1, len(candidates)))
    while len(result) < k:
        best = max(left, key=lambda row: share * relevance[row] - (1 - share) * likeness[row, result].max())
        result.append(best)
        left.remove(best)
    return [candidates[row] for row in result]


@pytest.mark.parametrize("metric", SIMILARITY)
@pytest.mark.parametrize("share", [0, 0.3, 0.5, 0.8, 1])
def test_definition(con, vectors, metric, share):
    con.execute(f"CREATE INDEX i ON t USING HNSW (embedding) WITH (metric = '{metric}')")
    query = np.random.default_rng(2).normal(size=(1, DIMENSIONS)).astype("f4")
    relevance = SIMILARITY[metric](vectors, query.astype("f8"))[:, 0]
    for k, candidates in [(5, 20), (20, 100)]:
        nearest = np.argsort(-relevance, kind="stable")[:candidates]
        likeness = SIMILARITY[metric](vectors[nearest], vectors[nearest])
        found = con.execute(
            f"SELECT id, position FROM mmr('t', $1::FLOAT[{DIMENSIONS}], $2, lambda_mult := $3, candidates := $4, metric := $5)",
            [query[0].tobytes(), k, share, candidates, metric],
        ).fetchall()
        assert [position for _, position in found] == list(range(1, k + 1))
        assert [row for row, _ in found] == chosen(nearest, relevance[nearest], likeness, k, share)


@pytest.mark.parametrize("metric", ["cosine", "l2sq"])
def test_the_query_is_a_row(con, vectors, metric):
    """As relevant as they are alike: after the row itself the nearest one is chosen, and nothing that rounding prefers."""
    query = "(SELECT embedding FROM t WHERE id = 7)"
    nearest = con.execute(f"SELECT id FROM vector_search('t', {query}, 2, metric := '{metric}')").fetchall()
    assert con.execute(f"SELECT id FROM mmr('t', {query}, 2, metric := '{metric}')").fetchall() == nearest
