"""Ibis: `ibis_words.py WORD…` finds words by their definitions.

Ibis knows no distances: a builtin function names DuckDB's, and Ibis's arrays are lists, which an index on the list column serves.
"""

import sys

import connecting
import definitions
import ibis


@ibis.udf.scalar.builtin
def list_cosine_distance(a: list[float], b: list[float]) -> float:
    """DuckDB's."""


def table(con, rows):
    """A table of Ibis with these rows, in a connection of `connecting.connect`, with its index."""
    con.execute("CREATE TABLE definitions (id INTEGER, text VARCHAR, category VARCHAR, embedding DOUBLE[])")
    columns = {name: [row[name] for row in rows] for name in ("id", "text", "category", "embedding")}
    con.execute("INSERT INTO definitions SELECT unnest($id), unnest($text), unnest($category), unnest($embedding)", columns)
    con.execute("CREATE INDEX by_meaning ON definitions USING HNSW (embedding) WITH (metric = 'cosine')")
    return ibis.duckdb.from_connection(con).table("definitions")


def nearest(made, query, k):
    """The expression for the `k` rows nearest to `query`, a list."""
    distance = list_cosine_distance(made.embedding, ibis.literal(query, type="array<float64>"))
    return made.select("id", "text", "category", distance=distance).order_by("distance").limit(k)


def main():
    rows = definitions.rows()
    with connecting.connect() as con:
        made = table(con, rows)
        embeddings = {row["text"]: row["embedding"] for row in rows}
        for word in sys.argv[1:]:
            print(nearest(made, embeddings[definitions.definition(rows, word)], 5).select("distance", "text").to_pandas().to_string(index=False))


if __name__ == "__main__":
    main()
