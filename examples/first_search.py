"""The first search: real data, in the Python wheel of DuckDB.

    python first_search.py <vss.duckdb_extension> <model> [words …]

Loads 20,340 dictionary definitions, builds an HNSW index, and looks up those whose meaning is nearest; then the same without the
index, to compare. With words of your own, these are looked up: they are embedded on the spot, by the small model that the folder
<model> holds (model.py). Without, a few example sentences, whose embeddings are in the data, and then words that are embedded.
"""

import sys
import time

import data
import duckdb
import model
import numpy as np

#: Example sentences of the data, and words that are not in it.
SENTENCES = [138, 196, 568]
WORDS = "a small boat for fishing"
AGAIN = "the smell of rain"

SEARCH = """
    SELECT array_to_string(words, ', ') AS words, definition,
           array_cosine_distance({column}, $query::FLOAT[{dimensions}]) AS distance
    FROM words
    ORDER BY distance LIMIT {count}"""


def timed(action):
    start = time.perf_counter()
    result = action()
    return result, (time.perf_counter() - start) * 1000


def load(extension):
    """A database with the table `words`."""
    con = duckdb.connect(config={"allow_unsigned_extensions": "true"})
    con.load_extension(extension)
    con.execute(
        f"CREATE TABLE words AS SELECT * REPLACE (embedding::FLOAT[{data.DIMENSIONS}] AS embedding) FROM read_parquet($1)", [data.WORDS]
    )
    return con


def add_own_embeddings(con, own):
    """The table gets a column `own_embedding`, by the model that also embeds the words of the person."""
    ids, texts = zip(*con.execute("SELECT id, array_to_string(words, ', ') || ': ' || definition FROM words").fetchall())
    vectors = own.embed(texts)
    # a BLOB of 32-bit floats is the fast way for a vector into DuckDB
    embedded = {"id": np.array(ids, np.int32), "vector": np.array([row.tobytes() for row in vectors], object)}
    con.register("embedded", embedded)
    con.execute(
        f"""
        CREATE OR REPLACE TABLE words AS
        SELECT words.*, vector::BLOB::FLOAT[{model.DIMENSIONS}] AS own_embedding FROM words JOIN embedded USING (id)
        """
    )
    con.unregister("embedded")


def index(con, column):
    sql = f"CREATE INDEX by_{column} ON words USING HNSW ({column}) WITH (metric = 'cosine')"
    _, ms = timed(lambda: con.execute(sql))
    return ms / 1000


def show(con, column, text, vector, count):
    """Prints the nearest rows from the index, and how long they took with it and without."""
    sql = SEARCH.format(column=column, dimensions=len(vector), count=count)
    search = lambda: con.execute(sql, {"query": np.asarray(vector, "<f4").tobytes()}).fetchall()
    found, with_index = timed(search)
    con.execute("SET disabled_optimizers = 'extension'")
    exact, without = timed(search)
    con.execute("RESET disabled_optimizers")
    same = "the same answer" if found == exact else f"{len(set(found) & set(exact))} of {count} the same"
    print(f"\n» {text}   ({with_index:.1f} ms; without the index {without:.1f} ms, {same})")
    for words, definition, distance in found:
        print(f"   {distance:.3f}  {words}: {definition}")


def main(extension, folder, given):
    con = load(extension)
    (rows,) = con.execute("SELECT count(*) FROM words").fetchone()
    if not given:
        seconds = index(con, "embedding")
        print(f"{rows:,} definitions with embeddings of {data.DIMENSIONS} numbers; index built in {seconds:.1f} s. Nearest to an example sentence:")
        asked = con.execute(
            f"SELECT sentence, embedding FROM read_parquet($1) WHERE id IN ({', '.join(map(str, SENTENCES))}) ORDER BY id", [data.QUERIES]
        ).fetchall()
        for sentence, vector in asked:
            show(con, "embedding", sentence, vector, 3)
        con.execute("DROP INDEX by_embedding")
        print()
    own = model.Model(folder)
    _, ms = timed(lambda: add_own_embeddings(con, own))
    seconds = index(con, "own_embedding")
    print(f"{rows:,} definitions embedded by a small model in {ms / 1000:.1f} s; index built in {seconds:.1f} s. Nearest to your words:")
    text = given or WORDS
    show(con, "own_embedding", text, own.embed([text])[0], 5)
    print("\nThe search:\n" + SEARCH.format(column="own_embedding", dimensions=model.DIMENSIONS, count=5))
    print(f'\nTry your own words: make example QUERY="{AGAIN if given != AGAIN else WORDS}"')


if __name__ == "__main__":
    if len(sys.argv) < 3:
        sys.exit(__doc__)
    main(sys.argv[1], sys.argv[2], " ".join(sys.argv[3:]).strip())
