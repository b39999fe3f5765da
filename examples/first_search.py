"""The first search: real sentence embeddings, in the Python wheel of DuckDB.

    python first_search.py <vss.duckdb_extension> <wordnet.parquet> <wordnet_queries.parquet>

Loads 60,000 dictionary entries with their embeddings, builds an HNSW index, and looks up the entries whose meaning is nearest to a
few example sentences; then the same without the index, to compare.
"""

import sys
import time

import duckdb

TOP = """
    SELECT array_to_string(words, ', ') AS words, definition,
           round(array_cosine_distance(embedding, $q::FLOAT[384]), 3) AS distance
    FROM words ORDER BY array_cosine_distance(embedding, $q::FLOAT[384]) LIMIT 3
"""


def timed(action):
    start = time.perf_counter()
    result = action()
    return result, (time.perf_counter() - start) * 1000


def main(extension, words, queries):
    con = duckdb.connect(config={"allow_unsigned_extensions": "true"})
    con.load_extension(extension)
    con.execute(
        "CREATE TABLE words AS SELECT * REPLACE (embedding::FLOAT[384] AS embedding) FROM read_parquet($1)", [words]
    )
    _, build_ms = timed(
        lambda: con.execute("CREATE INDEX by_meaning ON words USING HNSW (embedding) WITH (metric = 'cosine')")
    )
    rows = con.execute("SELECT count(*) FROM words").fetchone()[0]
    print(f"index over {rows:,} embeddings built in {build_ms / 1000:.1f} s\n")

    sentences = con.execute(
        "SELECT sentence, embedding::FLOAT[384] FROM read_parquet($1) WHERE id IN (1, 300, 700) ORDER BY id", [queries]
    ).fetchall()
    for sentence, vector in sentences:
        found, with_index = timed(lambda: con.execute(TOP, {"q": vector}).fetchall())
        con.execute("SET disabled_optimizers = 'extension'")
        exact, without = timed(lambda: con.execute(TOP, {"q": vector}).fetchall())
        con.execute("RESET disabled_optimizers")
        print(f"» {sentence}   ({with_index:.1f} ms; {without:.1f} ms without the index, {'same' if found == exact else 'other'} answer)")
        for words, definition, distance in found:
            print(f"   {distance:.3f}  {words}: {definition}")
        print()
    print(con.execute("EXPLAIN " + TOP, {"q": sentences[0][1]}).fetchone()[1])


if __name__ == "__main__":
    if len(sys.argv) != 4:
        sys.exit(__doc__)
    main(*sys.argv[1:])
