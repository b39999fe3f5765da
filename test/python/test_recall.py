"""Recall and metrics at default options."""

import itertools

import embeddings
import numpy
import pytest

QUERIES = 250
VECTOR = f"FLOAT[{embeddings.DIMENSIONS}]"


@pytest.fixture(scope="module")
def words(request):
    import duckdb

    con = duckdb.connect(config={"allow_unsigned_extensions": "true"})
    con.load_extension(request.getfixturevalue("extension"))
    embeddings.load(con, QUERIES)
    yield con
    con.close()


@pytest.mark.parametrize("quantization", ["none", "sq8", "sq4"])
@pytest.mark.parametrize(
    "metric, function, direction",
    [
        ("l2sq", "array_distance", "ASC"),
        ("cosine", "array_cosine_distance", "ASC"),
        ("ip", "array_inner_product", "DESC"),
    ],
)
def test_recall_at_10_is_at_least_95_percent_at_defaults(words, metric, function, direction, quantization):
    options = f"metric = '{metric}', quantization = '{quantization}'"
    words.execute(f"CREATE INDEX by_{metric} ON words USING HNSW (v) WITH ({options})")
    sql = f"SELECT id, {function}(v, $q::{VECTOR}) AS d FROM words ORDER BY d {direction} LIMIT 10"
    queries = [q for (q,) in words.execute("SELECT q FROM queries").fetchall()]
    assert "Hnsw Index Scan" in words.execute("EXPLAIN " + sql, {"q": queries[0]}).fetchone()[1]
    hits = 0
    for q in queries:
        found = words.execute(sql, {"q": q}).fetchall()
        words.execute("SET disabled_optimizers = 'extension,late_materialization'")
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


@pytest.mark.parametrize(("metric", "function"), [("cosine", "array_cosine_distance"), ("l2sq", "array_distance")])
def test_pages_of_an_answer_have_each_row_once(extension, metric, function):
    """Ten pages of twenty, as an interface asks for them, of searches through the graph.

    Rows at one distance come in any order, as without an index: the last of a page may also be the first of the next.
    """
    import duckdb

    with duckdb.connect(config={"allow_unsigned_extensions": "true"}) as con:
        con.load_extension(str(extension))
        embeddings.load(con, 40)
        # some more rows: fewer would be searched exactly with the width of pages
        moved = f"list_transform(v::FLOAT[], lambda x, i: x + 0.02 * sin(id + i))::{VECTOR}"
        con.execute(f"INSERT INTO words SELECT id + 100_000, category, {moved} FROM words WHERE id % 4 = 0")
        con.execute(f"CREATE INDEX i ON words USING HNSW (v) WITH (metric = '{metric}')")
        page = f"SELECT id, {function}(v, $1::{VECTOR}) AS d FROM words ORDER BY d LIMIT 20 OFFSET $2"
        hits = total = 0
        for (query,) in con.execute("SELECT q FROM queries").fetchall():
            for offset in (0, 180):
                assert "Strategy: graph" in con.execute("EXPLAIN " + page, [query, offset]).fetchone()[1]
            pages = [con.execute(page, [query, offset]).fetchall() for offset in range(0, 200, 20)]
            found = {row for rows in pages for (row, _) in rows}
            borders = [(last[-1][1], first[0][1]) for last, first in itertools.pairwise(pages)]
            assert all(last <= first for last, first in borders)
            assert len(found) >= 200 - sum(last == first for last, first in borders)
            con.execute("SET hnsw_strategy = 'exact'")
            exact = con.execute(page.replace("LIMIT 20", "LIMIT 200"), [query, 0]).fetchall()
            con.execute("RESET hnsw_strategy")
            hits += len(found & {row for (row, _) in exact})
            total += len(exact)
        assert hits / total >= 0.98
