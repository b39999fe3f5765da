"""Rows a second into a table, by the way they come; with and without an index that is there already.

    python benches/loading.py <extension> [<file.parquet with id and embedding>]

Needs numpy, pandas, polars and pyarrow: the environment of `make examples` has them. Without a file it takes the data of the tests.
"""

import pathlib
import sys
import time

import duckdb
import numpy as np
import pandas as pd
import polars as pl
import pyarrow as pa

WORDS = pathlib.Path(__file__).resolve().parents[1] / "test/data/wordnet/words.parquet"
#: Rows of what goes row by row.
FEW = 1000


def connect(extension):
    con = duckdb.connect(config={"allow_unsigned_extensions": "true"})
    con.load_extension(extension)
    return con


def main(extension, parquet=WORDS):
    con = connect(extension)
    rows, n = con.execute(f"SELECT count(*), any_value(len(embedding)) FROM '{parquet}'").fetchall()[0]
    embeddings = con.execute(f"SELECT embedding::FLOAT[{n}] AS embedding FROM '{parquet}'").fetchnumpy()["embedding"]
    vectors = np.stack(embeddings).astype("<f4")
    ids = range(rows)
    arrow = pa.table({"id": ids, "embedding": pa.FixedSizeListArray.from_arrays(vectors.ravel(), n)})
    frames = {
        "Arrow, fixed-size list": arrow,
        "polars, Array(Float32)": pl.DataFrame({"id": ids, "embedding": vectors}),
        "pandas, a column of ndarrays": pd.DataFrame({"id": ids, "embedding": list(vectors)}),
    }
    few = {
        "executemany, ndarrays": ("?", [[i, vector] for i, vector in enumerate(vectors[:FEW])]),
        "executemany, lists": ("?", [[i, vector.tolist()] for i, vector in enumerate(vectors[:FEW])]),
        "executemany, bytes": (f"?::FLOAT[{n}]", [[i, vector.tobytes()] for i, vector in enumerate(vectors[:FEW])]),
    }
    threads = con.execute("SELECT current_setting('threads')").fetchall()[0][0]
    print(f"{rows:,} rows of {n} dimensions; DuckDB {duckdb.__version__}, {threads} threads\n")
    print("| way | rows a second | beside an index, until all rows are linked |\n|---|---|---|")

    def measure(name, count, load):
        rates = []
        for index in [False, True]:
            con.execute(f"CREATE OR REPLACE TABLE items (id BIGINT, embedding FLOAT[{n}])")
            if index:
                con.execute("CREATE INDEX i ON items USING HNSW (embedding) WITH (metric = 'cosine')")
            start = time.perf_counter()
            load()
            if index:
                con.execute("PRAGMA hnsw_finish")
            rates.append(count / (time.perf_counter() - start))
            assert con.execute("SELECT count(*) FROM items").fetchall() == [(count,)]
        print(f"| {name} | {rates[0]:,.0f} | {rates[1]:,.0f} |")

    measure("Parquet", rows, lambda: con.execute(f"INSERT INTO items SELECT row_number() OVER (), embedding FROM '{parquet}'"))
    for name, frame in frames.items():
        con.register("frame", frame)
        measure(name, rows, lambda: con.execute("INSERT INTO items FROM frame"))
    for name, (value, values) in few.items():
        measure(f"{name} ({FEW:,} rows)", FEW, lambda: con.executemany(f"INSERT INTO items VALUES (?, {value})", values))

    con.execute("CREATE OR REPLACE TABLE items AS FROM arrow")
    start = time.perf_counter()
    con.execute("CREATE INDEX i ON items USING HNSW (embedding) WITH (metric = 'cosine')")
    print(f"\nCREATE INDEX after loading: {rows / (time.perf_counter() - start):,.0f} rows a second")


if __name__ == "__main__":
    if len(sys.argv) < 2:
        sys.exit(__doc__)
    main(*sys.argv[1:])
