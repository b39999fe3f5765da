"""Retrieval for a language model in one file: chunks with metadata, found by their meaning and by their words at once.

    python rag.py [question number …]

`hybrid_search` fuses the two rankings by their ranks (reciprocal rank fusion: each adds 1 / (60 + rank)), so a distance and a BM25 score
need no common scale. Tenant and date filter both. Words are ranked by DuckDB's `fts` extension where it can be installed (`INSTALL fts`, once,
with a network); elsewhere by the number of words that question and text share.
"""

import datetime
import os
import pathlib
import sys

import duckdb

sys.path.append(str(pathlib.Path(__file__).resolve().parents[1]))
import data  # noqa: E402

BY_BM25 = "fts_main_chunks.match_bm25(id, $question)"
BY_SHARED_WORDS = "nullif(len(list_intersect(words_of(text), words_of($question))), 0)"

# NOT MATERIALIZED: the rows are read several times, and a stored copy of them has no index
HYBRID = """
    WITH mine AS NOT MATERIALIZED (
        FROM chunks WHERE tenant = $tenant AND published >= $since
    ), by_words AS (
        SELECT id, {word_score} AS score FROM mine
    )
    SELECT id, published, text, score
    FROM hybrid_search('mine', 'by_words', $embedding::FLOAT[384], $k, candidates := 50)
"""


def load(words, rows=None):
    """A database of chunks with tenants and dates. In an application, `text` comes from your documents, `embedding` from your model."""
    con = duckdb.connect(config={"allow_unsigned_extensions": "true"})
    con.load_extension(os.environ.get("VSS_EXTENSION", "vss"))
    con.execute(
        f"""
        CREATE TABLE chunks AS
        SELECT id, ['acme', 'globex', 'initech'][1 + (hash(id) % 3)::INTEGER] AS tenant, DATE '2026-01-01' + id % 300 AS published,
               array_to_string(words, ', ') || ': ' || definition AS text, embedding::FLOAT[384] AS embedding
        FROM read_parquet('{words}') LIMIT {rows or "ALL"}
        """
    )
    con.execute("CREATE INDEX chunks_by_meaning ON chunks USING HNSW (embedding) WITH (metric = 'cosine')")
    con.execute("CREATE MACRO words_of(t) AS list_filter(regexp_split_to_array(lower(t), '[^a-z0-9]+'), lambda w: len(w) > 2)")
    return con


def index_words(con):
    """Ranks by BM25 from now on; whether that is possible here. Such an index does not follow its table: make it again after changes."""
    try:
        con.execute("INSTALL fts; LOAD fts")
    except (duckdb.IOException, duckdb.HTTPException):
        return False
    con.execute("PRAGMA create_fts_index('chunks', 'id', 'text')")
    return True


def retrieve(con, question, embedding, tenant, since, k=5, word_score=BY_SHARED_WORDS):
    """The k chunks of a tenant, not older than `since`, that a language model should read: id, published, text, score."""
    values = {"question": question, "embedding": embedding, "tenant": tenant, "since": since, "k": k}
    return con.execute(HYBRID.format(word_score=word_score), values).fetchall()


def main(numbers):
    con = load(data.WORDS)
    word_score = BY_BM25 if index_words(con) else BY_SHARED_WORDS
    print(f"words are ranked by {'BM25' if word_score == BY_BM25 else 'the number of shared ones (fts is not installed)'}")
    questions = con.execute(f"SELECT sentence, embedding FROM '{data.QUERIES}' WHERE id IN ({', '.join(map(str, numbers))})").fetchall()
    if len(questions) < len(set(numbers)):
        sys.exit(f"not all of {', '.join(map(str, numbers))} are there: the numbers of the questions are the even ones from 0 to 998")
    for question, embedding in questions:
        print(f"\n» {question}")
        for _, published, text, score in retrieve(con, question, embedding, "acme", datetime.date(2026, 3, 1), 5, word_score):
            print(f"   {score:.4f}  {published}  {text}")


if __name__ == "__main__":
    main([int(number) for number in sys.argv[1:]] or [138, 568])
