"""Words like this one: the nearest neighbours of a word among all senses of all words, from the index and by brute force.

    python words.py [--dimensions 50] [--rows 5000] [word …]

One row for each sense of each word: 36,000 of 384 dimensions, or of fewer by principal components. Prints both
answers' times and how many of the exact neighbours the index has found.
"""

import argparse
import os
import pathlib
import sys
import time

import duckdb
import numpy as np
import pyarrow as pa

sys.path.append(str(pathlib.Path(__file__).resolve().parents[1]))
import data  # noqa: E402

NEAREST = """
    SELECT word, category, definition, array_cosine_distance(embedding, $query::FLOAT[{dimensions}]) AS distance
    FROM senses
    ORDER BY array_cosine_distance(embedding, $query::FLOAT[{dimensions}])
    LIMIT 10
"""


def load(words, dimensions=data.DIMENSIONS, rows=None):
    """A database with the table `senses` (word, category, definition, embedding), without an index."""
    con = duckdb.connect(config={"allow_unsigned_extensions": "true"})
    con.load_extension(os.environ.get("VSS_EXTENSION", "vss"))
    source = f"(FROM read_parquet('{words}')" + (f" ORDER BY id LIMIT {rows})" if rows else ")")
    if dimensions == data.DIMENSIONS:
        embeddings = f"SELECT id, embedding::FLOAT[{dimensions}] AS embedding FROM {source}"
    else:
        full = con.sql(f"SELECT id, embedding FROM {source}").to_arrow_table()
        matrix = np.asarray(full["embedding"].combine_chunks().flatten()).reshape(len(full), -1)
        reduced = pa.array(principal(matrix, dimensions).ravel(), pa.float32())
        # a column of fixed-size lists arrives in DuckDB as FLOAT[dimensions]
        embedding = pa.FixedSizeListArray.from_arrays(reduced, dimensions)
        con.register("reduced", pa.table({"id": full["id"], "embedding": embedding}))
        embeddings = "FROM reduced"
    con.execute(
        f"""
        CREATE TABLE senses AS
        SELECT unnest(words) AS word, category, definition, e.embedding
        FROM {source} AS w JOIN ({embeddings}) AS e USING (id) ORDER BY id
        """
    )
    return con


def principal(matrix, dimensions):
    """The matrix in the `dimensions` directions in which its rows vary most."""
    centred = matrix - matrix.mean(axis=0)
    _, directions = np.linalg.eigh(centred.T @ centred)
    return centred @ directions[:, : -dimensions - 1 : -1]


def timed(action, rounds=5):
    """The result, and the milliseconds of the fastest of some rounds."""
    best = float("inf")
    for _ in range(rounds):
        start = time.perf_counter()
        result = action()
        best = min(best, (time.perf_counter() - start) * 1000)
    return result, best


def compare(con, word, dimensions):
    """The rows from the index and the exact ones, and the milliseconds of each; nothing for an unknown word."""
    vector = con.execute("SELECT embedding FROM senses WHERE word = $1 LIMIT 1", [word]).fetchone()
    if not vector:
        return None
    search = lambda: con.execute(NEAREST.format(dimensions=dimensions), {"query": vector[0]}).fetchall()
    found, with_index = timed(search)
    con.execute("SET disabled_optimizers = 'extension'")
    exact, without = timed(search)
    con.execute("RESET disabled_optimizers")
    return found, exact, with_index, without


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("words", nargs="*")
    parser.add_argument("--dimensions", type=int, default=data.DIMENSIONS)
    parser.add_argument("--rows", type=int, help="of the data, not of its words")
    given = parser.parse_args()

    con = load(data.WORDS, given.dimensions, given.rows)
    senses = con.execute("SELECT count(*) FROM senses").fetchone()[0]
    _, build = timed(lambda: con.execute("CREATE INDEX by_meaning ON senses USING HNSW (embedding) WITH (metric = 'cosine')"), 1)
    print(f"{senses:,} senses of {given.dimensions} dimensions, indexed in {build / 1000:.1f} s")
    # without a word: some that are in any data
    words = given.words or [w for (w,) in con.execute("SELECT word FROM senses USING SAMPLE reservoir(3 ROWS) REPEATABLE (7)").fetchall()]
    for word in words:
        compared = compare(con, word, given.dimensions)
        if not compared:
            print(f"\n{word}: not in this dictionary")
            continue
        found, exact, with_index, without = compared
        # rows are as good as the exact ones if they are as near: senses that share a definition have the same vector
        same = sum(row[3] <= exact[-1][3] for row in found)
        print(f"\n{word}   index {with_index:.1f} ms, exact {without:.1f} ms, {same} of {len(exact)} the same")
        for name, category, definition, distance in found:
            print(f"   {distance:.3f}  {name} ({category}): {definition}")


if __name__ == "__main__":
    main()
