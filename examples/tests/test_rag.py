"""Hybrid search: both rankings, their fusion, the filters."""

import datetime

import duckdb
import pytest
import rag

SINCE = datetime.date(2026, 3, 1)


@pytest.fixture(scope="module")
def chunks(extension, dataset):
    con = rag.load(dataset / "words.parquet")
    yield con
    con.close()


@pytest.fixture(scope="module")
def questions(dataset):
    sql = f"SELECT sentence, embedding FROM '{dataset}/queries.parquet' ORDER BY id LIMIT 10"
    return duckdb.execute(sql).fetchall()


def ranking(con, order, where, values):
    """Ids of a tenant's 50 best, exactly."""
    con.execute("SET disabled_optimizers = 'extension'")
    sql = f"SELECT id FROM chunks WHERE tenant = 'acme' AND published >= $since AND {where} ORDER BY {order} LIMIT 50"
    ids = [row for (row,) in con.execute(sql, values | {"since": SINCE}).fetchall()]
    con.execute("RESET disabled_optimizers")
    return ids


def fuse(*rankings):
    """Ids with their scores, the best first; of equal ones the one that is better in the first ranking."""
    ranks = [{key: rank for rank, key in enumerate(ids, 1)} for ids in rankings]
    score = {key: sum(1 / (60 + of[key]) for of in ranks if key in of) for key in set().union(*ranks)}
    return sorted(score.items(), key=lambda item: (-item[1], *(of.get(item[0], len(of) + 1) for of in ranks)))


def test_fusion(chunks, questions):
    # wide enough that no neighbour is missed
    chunks.execute("SET hnsw_ef_search = 1000")
    for question, embedding in questions:
        meaning = ranking(chunks, "array_cosine_distance(embedding, $v::FLOAT[384])", "true", {"v": embedding})
        shared = "len(list_intersect(words_of(text), words_of($q)))"
        words = ranking(chunks, f"{shared} DESC, id", f"{shared} > 0", {"q": question})
        found = rag.retrieve(chunks, question, embedding, "acme", SINCE, 20)
        expected = fuse(meaning, words)[:20]
        assert [row[0] for row in found] == [key for key, _ in expected]
        assert [row[3] for row in found] == pytest.approx([score for _, score in expected])


def test_filters(chunks, questions):
    since = datetime.date(2026, 10, 1)
    for tenant in ["acme", "globex", "initech"]:
        found = rag.retrieve(chunks, *questions[0], tenant, since, 100)
        assert found
        held = chunks.execute("SELECT id FROM chunks WHERE tenant = $1 AND published >= $2", [tenant, since]).fetchall()
        assert {row[0] for row in found} <= {key for (key,) in held}
    assert rag.retrieve(chunks, *questions[0], "nobody", since) == []


def test_meaning_alone(chunks, questions):
    """A question without a word in common is answered by its vector."""
    assert len(rag.retrieve(chunks, "??", questions[0][1], "acme", SINCE, 5)) == 5


def test_served_from_the_index(chunks, questions):
    _, embedding = questions[0]
    sql = rag.HYBRID.format(word_score=rag.BY_SHARED_WORDS)
    # hnsw_explain takes a query without parameters
    values = {"question": "'a word'", "embedding": str(embedding), "tenant": "'acme'", "since": f"DATE '{SINCE}'", "k": "5"}
    for name, value in values.items():
        sql = sql.replace(f"${name}", value)
    assert chunks.execute("SELECT index_name, used FROM hnsw_explain($1)", [sql]).fetchall() == [("chunks_by_meaning", True)]


def test_bm25(chunks, questions):
    if not rag.index_words(chunks):
        pytest.skip("DuckDB's extension fts cannot be installed here (`INSTALL fts` needs a network)")
    for question, embedding in questions:
        found = rag.retrieve(chunks, question, embedding, "acme", SINCE, 20, rag.BY_BM25)
        assert len(found) == 20
        assert [score for *_, score in found] == sorted([score for *_, score in found], reverse=True)
