"""Recall and metrics on the shared sentence embeddings: 60,000 rows of 384 dimensions, at default options."""

import pathlib

import pytest

DATA = pathlib.Path(__file__).resolve().parents[3] / "shared/data"
QUERIES = 500

pytestmark = pytest.mark.skipif(not (DATA / "wordnet.parquet").exists(), reason="needs ../shared/data/wordnet.parquet")


@pytest.fixture(scope="module")
def words(request):
    import duckdb

    con = duckdb.connect(config={"allow_unsigned_extensions": "true"})
    con.load_extension(request.getfixturevalue("extension"))
    con.execute(
        f"CREATE TABLE words AS SELECT id, embedding::FLOAT[384] AS v FROM read_parquet('{DATA}/wordnet.parquet')"
    )
    con.execute(
        f"CREATE TABLE queries AS SELECT embedding::FLOAT[384] AS q FROM read_parquet('{DATA}/wordnet_queries.parquet')"
        f" LIMIT {QUERIES}"
    )
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
    sql = f"SELECT id, {function}(v, $q::FLOAT[384]) AS d FROM words ORDER BY d {direction} LIMIT 10"
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
    numpy = pytest.importorskip("numpy")
    words.execute("CREATE INDEX i ON words USING HNSW (v) WITH (metric = 'cosine')")
    sql = "SELECT id FROM words ORDER BY array_cosine_distance(v, $q::FLOAT[384]) LIMIT 10"
    (q,) = words.execute("SELECT q FROM queries").fetchone()
    blob = numpy.asarray(q, dtype="<f4").tobytes()
    assert "Hnsw Index Scan" in words.execute("EXPLAIN " + sql, {"q": blob}).fetchone()[1]
    assert words.execute(sql, {"q": blob}).fetchall() == words.execute(sql, {"q": q}).fetchall()
    words.execute("DROP INDEX i")
