"""Recall and metrics at default options."""

import embeddings
import numpy
import pytest

QUERIES = 500
VECTOR = f"FLOAT[{embeddings.DIMENSIONS}]"


@pytest.fixture(scope="module")
def words(request):
    import duckdb

    con = duckdb.connect(config={"allow_unsigned_extensions": "true"})
    con.load_extension(request.getfixturevalue("extension"))
    embeddings.load(con, QUERIES)
    yield con
    con.close()


@pytest.mark.parametrize(
    "metric, function, direction",
    [
        ("l2sq", "array_distance", "ASC"),
        ("cosine", "array_cosine_distance", "ASC"),
        ("ip", "array_inner_product", "DESC"),
    ],
)
def test_recall_at_10_is_at_least_95_percent_at_defaults(words, metric, function, direction):
    words.execute(f"CREATE INDEX by_{metric} ON words USING HNSW (v) WITH (metric = '{metric}')")
    sql = f"SELECT id, {function}(v, $q::{VECTOR}) AS d FROM words ORDER BY d {direction} LIMIT 10"
    queries = [q for (q,) in words.execute("SELECT q FROM queries").fetchall()]
    assert "Hnsw Index Scan" in words.execute("EXPLAIN " + sql, {"q": queries[0]}).fetchone()[1]
    hits = 0
    for q in queries:
        found = words.execute(sql, {"q": q}).fetchall()
        words.execute("SET disabled_optimizers = 'extension'")
        exact = words.execute(sql, {"q": q}).fetchall()
        words.execute("RESET disabled_optimizers")
        assert len(found) == 10
        distances = [d for _, d in found]
        assert distances == sorted(distances, reverse=direction == "DESC")
        hits += len(set(found) & set(exact))
    assert hits / (10 * len(queries)) >= 0.95

    measured = words.execute(f"SELECT recall, recall_low, recall_high FROM hnsw_recall('by_{metric}')").fetchone()
    assert 0.9 <= measured[1] <= measured[0] <= measured[2] <= 1
    words.execute(f"DROP INDEX by_{metric}")


def test_a_blob_is_the_fast_way_in(words):
    words.execute("CREATE INDEX i ON words USING HNSW (v) WITH (metric = 'cosine')")
    sql = f"SELECT id FROM words ORDER BY array_cosine_distance(v, $q::{VECTOR}) LIMIT 10"
    (q,) = words.execute("SELECT q FROM queries").fetchone()
    blob = numpy.asarray(q, dtype="<f4").tobytes()
    assert "Hnsw Index Scan" in words.execute("EXPLAIN " + sql, {"q": blob}).fetchone()[1]
    assert words.execute(sql, {"q": blob}).fetchall() == words.execute(sql, {"q": q}).fetchall()
    words.execute("DROP INDEX i")
