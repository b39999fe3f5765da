"""Build, query, memory, checkpoint and file of an index against the number of rows. A JSON object a line.

Usage: growth.py EXTENSION SET DIRECTORY ROWS_MAX     (SET holds dimensions, items.parquet and queries.f32)

In a database file, l2sq, default options. Every size has a process of its own: memory that one has used would be there
for the next.
"""

import json
import statistics
import subprocess
import sys
from pathlib import Path

import duckdb
import numpy as np

from measure import resident, seconds

QUERIES = 200
STEPS = (1, 2, 5)


def sizes(rows_max):
    size = 1_000
    while True:
        for step in STEPS:
            if size * step >= rows_max:
                yield rows_max
                return
            yield size * step
        size *= 10


def accounted(con):
    return con.execute("SELECT sum(memory_usage_bytes)::BIGINT FROM duckdb_memory()").fetchone()[0]


def measure(extension, data, directory, rows):
    file = Path(directory) / "growth.db"
    file.parent.mkdir(parents=True, exist_ok=True)
    for old in file.parent.glob("growth.db*"):
        old.unlink()
    dimensions = int((data / "dimensions").read_text())
    queries = np.fromfile(data / "queries.f32", np.float32).reshape(-1, dimensions)
    con = duckdb.connect(file, config={"allow_unsigned_extensions": "true"})
    con.load_extension(extension)
    # only when asked: the build would include it
    con.execute("SET checkpoint_threshold = '1TB'")
    con.execute("SET hnsw_enable_experimental_persistence = true")
    # no blocks of the table come and go while the index grows
    vectors = f"SELECT id, v::FLOAT[{dimensions}] AS v FROM '{data}/items.parquet' WHERE id < {rows}"
    con.execute(f"CREATE TABLE items AS {vectors}")
    con.execute("CHECKPOINT")
    con.execute("SELECT sum(v[1]), sum(id) FROM items").fetchall()
    bytes_before, resident_before, accounted_before = file.stat().st_size, resident(), accounted(con)
    build = seconds(lambda: con.execute("CREATE INDEX by_v ON items USING HNSW (v)"))
    resident_grown, accounted_grown = resident() - resident_before, accounted(con) - accounted_before
    info = con.execute("SELECT approx_memory_usage FROM pragma_hnsw_index_info()").fetchone()[0]
    checkpoint = seconds(lambda: con.execute("CHECKPOINT"))
    sql = f"SELECT id FROM items ORDER BY array_distance(v, $q::FLOAT[{dimensions}]) LIMIT 10"
    times = []
    for query in queries[:QUERIES]:
        blob = query.astype("<f4").tobytes()
        times.append(seconds(lambda: con.execute(sql, {"q": blob}).fetchall()) * 1e3)
    measured = "SELECT recall, index_ms FROM hnsw_recall('by_v', k := 10, queries := 200)"
    recall, core_ms = con.execute(measured).fetchone()
    return {
        "rows": rows,
        "dimensions": dimensions,
        "build": build,
        "query_ms": statistics.median(times),
        "core_ms": core_ms,
        "recall": recall,
        "index_bytes": info,
        "resident_bytes": resident_grown,
        "accounted_bytes": accounted_grown,
        "checkpoint": checkpoint,
        "file_bytes": file.stat().st_size - bytes_before,
    }


def main():
    extension, data, directory, rows_max, *one = sys.argv[1:]
    if one:
        print(json.dumps(measure(extension, Path(data), directory, int(rows_max))), flush=True)
        return
    for rows in sizes(int(rows_max)):
        subprocess.run([sys.executable, __file__, extension, data, directory, str(rows), "one"], check=True)


if __name__ == "__main__":
    main()
