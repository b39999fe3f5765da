"""Makes wordnet/, the real data of tests and examples, from the full set: `python make_wordnet.py DIRECTORY [OUT]`.

DIRECTORY has `wordnet.parquet`, 60,000 rows, and `wordnet_queries.parquet`, 1,000. Every second query is taken, every third row, and
the rows that the queries come from; nothing in them is changed. The same packages (examples/requirements.txt) write the same bytes.
"""

import pathlib
import sys

import duckdb
import pyarrow.parquet as pq

#: Of both files together.
MOST_BYTES = 16_000_000
#: DuckDB reads half floats in no encoding that would make them much smaller.
STORED = {"compression": "zstd", "compression_level": 19, "use_dictionary": ["part_of_speech", "category"]}


def chosen(directory):
    """The rows and the queries, as tables."""
    rows, queries = (pq.read_table(directory / f"{name}.parquet") for name in ("wordnet", "wordnet_queries"))
    queries = queries.filter([number % 2 == 0 for number in queries["id"].to_pylist()])
    sources = set(queries["source_id"].to_pylist())
    return rows.filter([number % 3 == 0 or number in sources for number in rows["id"].to_pylist()]), queries


def check(full, written):
    """That DuckDB reads in `written` what it reads in `full`."""
    columns = ", ".join(name for name in pq.read_schema(full).names if name != "embedding")
    read = f"SELECT {columns}, embedding::FLOAT[384] AS embedding FROM read_parquet($1)"
    con = duckdb.connect()
    con.execute(f"CREATE TABLE full_set AS {read}", [str(full)])
    con.execute(f"CREATE TABLE written AS {read}", [str(written)])
    (count,) = con.execute("SELECT count(*) FROM written JOIN full_set USING (id) WHERE written = full_set").fetchone()
    if count != pq.read_metadata(written).num_rows:
        sys.exit(f"{written}: DuckDB reads {count} rows as they are in {full}, of {pq.read_metadata(written).num_rows}")


def main(directory, out):
    tables = chosen(directory)
    size = 0
    for name, source, table in zip(("words", "queries"), ("wordnet", "wordnet_queries"), tables):
        path = out / f"{name}.parquet"
        # one chunk a column: how the source was cut must not show in the bytes
        pq.write_table(table.combine_chunks().replace_schema_metadata(None), path, **STORED)
        check(directory / f"{source}.parquet", path)
        size += path.stat().st_size
        print(f"{path.stat().st_size:>12,} bytes, {len(table):>6,} rows: {path}")
    if size > MOST_BYTES:
        sys.exit(f"{size:,} bytes are more than {MOST_BYTES:,}")


if __name__ == "__main__":
    if len(sys.argv) not in (2, 3):
        sys.exit(__doc__)
    main(pathlib.Path(sys.argv[1]), pathlib.Path(sys.argv[2] if len(sys.argv) == 3 else pathlib.Path(__file__).parent / "wordnet"))
