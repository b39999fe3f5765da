"""The daily job: a Parquet file with embeddings becomes a database file with an index, which takes the place of yesterday's.

    python load.py items.parquet feed.db

Each day's database is a file of its own, `feed-<time>.db`; `feed.db` is a link to the newest. The link changes in one step, when
the file is complete, so whoever opens `feed.db` sees yesterday's items or today's, and who is reading yesterday's file goes on.
"""

import os
import pathlib
import sys
import time

import duckdb

# The last one may still be about to be opened by somebody who has just read the link.
KEPT = 2


def load(parquet, link):
    """Path of the new file."""
    link = pathlib.Path(link)
    path = link.with_name(f"{link.stem}-{time.time_ns()}{link.suffix}")
    con = duckdb.connect(path, config={"allow_unsigned_extensions": "true"})
    con.load_extension(os.environ.get("VSS_EXTENSION", "vss"))
    # An HNSW index in a database file needs this; reading the file does not.
    con.execute("SET hnsw_enable_experimental_persistence = true")
    con.execute(
        """
        CREATE TABLE items AS
        -- as text: rows are fetched one by one, and of all types DuckDB fetches lists slowest, a millisecond a row
        SELECT id, array_to_string(words, ', ') AS words, definition, category, part_of_speech,
               embedding::FLOAT[384] AS embedding
        FROM read_parquet($1)
        """,
        [str(parquet)],
    )
    con.execute("CREATE INDEX items_by_meaning ON items USING HNSW (embedding) WITH (metric = 'cosine')")
    con.close()  # writes everything into the file: nothing is left in a log beside it

    swapped = link.with_name(f"{link.name}.new")
    swapped.symlink_to(path.name)
    swapped.replace(link)
    for old in sorted(link.parent.glob(f"{link.stem}-*{link.suffix}"))[:-KEPT]:
        old.unlink()
    return path


if __name__ == "__main__":
    if len(sys.argv) != 3:
        sys.exit(__doc__)
    print(load(*sys.argv[1:]))
