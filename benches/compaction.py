"""Compaction beside DROP INDEX and CREATE INDEX, after more and more rows were deleted.

`python benches/compaction.py <extension> <words.parquet>`, with the embeddings as FLOAT[384] in column `embedding`.
"""

import sys
import time

import duckdb

CREATE = "CREATE INDEX i ON words USING HNSW (embedding) WITH (metric = 'cosine')"


def seconds(con, *statements):
    started = time.perf_counter()
    for statement in statements:
        con.execute(statement)
    return time.perf_counter() - started


def main(extension, words):
    con = duckdb.connect(config={"allow_unsigned_extensions": "true"})
    con.load_extension(extension)
    con.execute(f"CREATE TABLE words AS SELECT id, embedding::FLOAT[384] AS embedding FROM '{words}'")
    con.execute(CREATE)
    for percent in (5, 20):
        con.execute(f"DELETE FROM words WHERE hash(id) % 100 < {percent}")
        count, deleted = con.execute("SELECT count, deleted FROM pragma_hnsw_index_info()").fetchone()
        compacted = seconds(con, "PRAGMA hnsw_compact_index('i')")
        rebuilt = seconds(con, "DROP INDEX i", CREATE)
        print(f"{count} rows, {deleted} deleted: compaction {compacted:.1f} s, DROP and CREATE {rebuilt:.1f} s")


if __name__ == "__main__":
    main(*sys.argv[1:])
