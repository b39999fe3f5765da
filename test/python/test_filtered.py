"""Recall of filtered searches at default options, whatever the filter lets pass."""

import embeddings
import pytest

QUERIES = 80
K = 10
VECTOR = f"FLOAT[{embeddings.DIMENSIONS}]"


class Words:
    """The indexed table `words`, the distance function of its index, and query vectors."""

    def __init__(self, con, distance):
        self.execute = con.execute
        self.distance = distance
        self.queries = [q for (q,) in con.execute("SELECT q FROM queries").fetchall()]


@pytest.fixture(scope="module", params=["l2sq", "cosine"])
def words(request):
    import duckdb

    con = duckdb.connect(config={"allow_unsigned_extensions": "true"})
    con.load_extension(request.getfixturevalue("extension"))
    embeddings.load(con, QUERIES)
    con.execute("ALTER TABLE words ADD COLUMN part UBIGINT")
    con.execute("UPDATE words SET part = hash(id) % 10000")
    con.execute(f"CREATE INDEX by_v ON words USING HNSW (v) WITH (metric = '{request.param}')")
    yield Words(con, {"l2sq": "array_distance", "cosine": "array_cosine_distance"}[request.param])
    con.close()


def exactly(words, sql, q):
    words.execute("SET disabled_optimizers = 'extension,late_materialization'")
    rows = words.execute(sql, {"q": q}).fetchall()
    words.execute("RESET disabled_optimizers")
    return rows


def check(words, predicate):
    """`predicate`: SQL, or a function from a query vector to SQL."""
    hits = possible = 0
    for q in words.queries:
        where = predicate(q) if callable(predicate) else predicate
        sql = f"SELECT id FROM words WHERE {where} ORDER BY {words.distance}(v, $q::{VECTOR}) LIMIT {K}"
        assert "Hnsw Index Scan" in words.execute("EXPLAIN " + sql, {"q": q}).fetchone()[1]
        found, exact = words.execute(sql, {"q": q}).fetchall(), exactly(words, sql, q)
        assert len(found) == len(set(found)) == len(exact)
        hits += len(set(found) & set(exact))
        possible += len(exact)
    assert hits >= 0.95 * possible


@pytest.mark.parametrize("percent", [100, 50, 20, 10, 4, 1, 0.1, 0.03])
def test_filters_independent_of_the_vectors(words, percent):
    check(words, f"part < {percent * 100}")


def test_the_category_of_the_nearest_row_and_all_others(words):
    def nearest(q):
        sql = f"SELECT category FROM words ORDER BY {words.distance}(v, $q::{VECTOR}) LIMIT 1"
        return exactly(words, sql, q)[0][0]

    check(words, lambda q: f"category = '{nearest(q)}'")
    check(words, lambda q: f"category <> '{nearest(q)}'")


@pytest.mark.parametrize("category", embeddings.CATEGORIES)
def test_a_category_that_has_nothing_to_do_with_the_query(words, category):
    check(words, f"category = '{embeddings.CATEGORIES[category]}'")


@pytest.mark.parametrize("farther_than", [0.5, 0.9])
def test_rows_far_from_the_query(words, farther_than):
    def far(q):
        sql = f"SELECT quantile_disc({words.distance}(v, $q::{VECTOR}), {farther_than}) FROM words"
        limit = exactly(words, sql, q)[0][0]
        words.execute("CREATE OR REPLACE TABLE far AS SELECT id FROM words WHERE"
                      f" {words.distance}(v, $q::{VECTOR}) > $limit", {"q": q, "limit": limit})
        return "id IN (FROM far)"

    check(words, far)
