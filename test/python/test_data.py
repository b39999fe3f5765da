"""The real data in the repository: that it is what its README and the tests say."""

import duckdb
import embeddings
import pytest

WORDS, QUERIES = (str(embeddings.DATA / f"{name}.parquet") for name in ("words", "queries"))


def one(sql, *parameters):
    return duckdb.execute(sql, parameters).fetchone()


def test_rows_and_queries():
    assert one("SELECT count(*), count(DISTINCT id), min(len(words)) FROM read_parquet($1)", WORDS) == (20_340, 20_340, 1)
    columns = ["synset", "part_of_speech", "category", "words", "definition", "embedding"]
    counts = ", ".join(f"count({column})" for column in columns)
    assert one(f"SELECT {counts} FROM read_parquet($1)", WORDS) == (20_340,) * len(columns)
    joined = "SELECT count(*), count(DISTINCT q.id) FROM read_parquet($1) q JOIN read_parquet($2) w ON w.id = q.source_id"
    assert one(joined, QUERIES, WORDS) == (500, 500)


@pytest.mark.parametrize("path", [WORDS, QUERIES], ids=["words", "queries"])
def test_vectors_are_half_floats_of_one_dimension(path):
    sql = "SELECT min(len(embedding)), max(len(embedding)), bool_and(list_bool_and([isfinite(x) FOR x IN embedding])) FROM read_parquet($1)"
    assert one(sql, path) == (embeddings.DIMENSIONS, embeddings.DIMENSIONS, True)
    kind = "SELECT DISTINCT logical_type FROM parquet_schema($1) WHERE type = 'FIXED_LEN_BYTE_ARRAY'"
    assert "Float16" in one(kind, path)[0]


def test_a_sentence_is_near_the_row_that_it_comes_from():
    """Wrong vectors, or rows of other vectors, are no nearer than any other."""
    sql = """
        SELECT avg((array_cosine_distance(w.v, q.v) < 0.6)::INTEGER)
        FROM (SELECT source_id, embedding::FLOAT[384] AS v FROM read_parquet($1)) q
        JOIN (SELECT id, embedding::FLOAT[384] AS v FROM read_parquet($2)) w ON {}
    """
    assert one(sql.format("w.id = q.source_id"), QUERIES, WORDS)[0] > 0.5
    assert one(sql.format("w.id = (q.source_id // 3 + 1) * 3"), QUERIES, WORDS)[0] < 0.05


@pytest.mark.parametrize(("name", "rows"), [("rare", 7), ("common", 973), ("largest", 2554)])
def test_categories(name, rows):
    assert one("SELECT count(*) FROM read_parquet($1) WHERE category = $2", WORDS, embeddings.CATEGORIES[name]) == (rows,)


def test_small_enough_to_be_cloned():
    assert sum(path.stat().st_size for path in embeddings.DATA.glob("*.parquet")) <= 16_000_000
    assert "Princeton University" in (embeddings.DATA / "LICENSE").read_text()
