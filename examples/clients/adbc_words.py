"""ADBC, Arrow in both directions, with the driver in DuckDB's wheel: `adbc_words.py WORD…` finds words by their definitions."""

import os
import sys

import _duckdb
import definitions
import pyarrow as pa
from adbc_driver_manager import dbapi


def connect():
    """A connection to a database in memory, with the extension."""
    options = {"path": ":memory:", "entrypoint": "duckdb_adbc_init", "allow_unsigned_extensions": "true"}
    con = dbapi.connect(driver=_duckdb.__file__, db_kwargs=options, autocommit=True)
    with con.cursor() as cursor:
        cursor.execute(f"LOAD '{os.environ.get('VSS_EXTENSION', 'vss')}'")
    return con


def fill(con, rows):
    """The rows, handed over as an Arrow table; a vector is a list of fixed size."""
    vectors = pa.array([row["embedding"] for row in rows], pa.list_(pa.float32(), definitions.DIMENSIONS))
    columns = {name: pa.array([row[name] for row in rows]) for name in ("id", "text", "category")}
    with con.cursor() as cursor:
        cursor.adbc_ingest("definitions", pa.table({**columns, "embedding": vectors}))
    with con.cursor() as cursor:
        cursor.execute("CREATE INDEX by_meaning ON definitions USING HNSW (embedding) WITH (metric = 'cosine')")


def nearest(con, query, k):
    """The `k` rows nearest to `query`, a list, as an Arrow table. The vector goes as bytes: quicker than a list."""
    dimensions = definitions.DIMENSIONS
    statement = f"SELECT id, text, array_cosine_distance(embedding, ?::BLOB::FLOAT[{dimensions}]) AS distance FROM definitions"
    with con.cursor() as cursor:
        cursor.execute(f"{statement} ORDER BY distance LIMIT {k}", [pa.array(query, pa.float32()).buffers()[1].to_pybytes()])
        return cursor.fetch_arrow_table()


def main():
    rows = definitions.rows()
    embeddings = {row["text"]: row["embedding"] for row in rows}
    with connect() as con:
        fill(con, rows)
        for word in sys.argv[1:]:
            for row in nearest(con, embeddings[definitions.definition(rows, word)], 5).to_pylist():
                print(f"{row['distance']:.3f}  {row['text']}")


if __name__ == "__main__":
    main()
