"""Writing to an indexed table, and reading meanwhile. A JSON object a line.

Usage: writes.py EXTENSION ITEMS.parquet      (id, part, v FLOAT[])

In memory, l2sq, default options. `single`: one-row INSERTs into a table with an index and into one without, in turn.
`bulk`: INSERT … SELECT of a third as many rows as there are, until it returns and until they are linked, beside the
build of the index. `reads`: top-10 queries on an idle database and during such an INSERT.
"""

import json
import statistics
import sys
import threading
import time

import duckdb
import numpy as np

from measure import seconds

SINGLE = 500
READS = 300
#: Seconds between two looks at how many rows are not linked yet.
POLL = 0.05
#: So few are left as they are: they are searched exactly.
PENDING = 512


def connect(extension, items):
    con = duckdb.connect(config={"allow_unsigned_extensions": "true"})
    con.load_extension(extension)
    dimensions = con.execute(f"SELECT len(v) FROM '{items}' LIMIT 1").fetchone()[0]
    con.execute(f"CREATE TABLE plain AS SELECT id, v::FLOAT[{dimensions}] AS v FROM '{items}'")
    con.execute("CREATE TABLE indexed AS FROM plain")
    # like the rows that are there, but others
    con.execute(
        "CREATE TABLE more AS SELECT id, list_transform(v::FLOAT[], lambda x: x * (0.95 + 0.1 * random()))"
        f"::FLOAT[{dimensions}] AS v FROM plain USING SAMPLE reservoir(33 PERCENT) REPEATABLE (1)"
    )
    return con, dimensions


def single(con, vectors):
    times = {"plain": [], "indexed": []}
    for number in range(SINGLE):
        for table, taken in times.items():
            row = [10_000_000 + number, vectors[number % len(vectors)].tolist()]
            taken.append(seconds(lambda: con.execute(f"INSERT INTO {table} VALUES (?, ?)", row)) * 1e3)
    return times


def linked(con):
    while con.execute("SELECT pending FROM pragma_hnsw_index_info()").fetchone()[0] >= PENDING:
        time.sleep(POLL)


def read(con, vectors, dimensions, enough):
    """Milliseconds of queries until `enough(how many)`."""
    sql = f"SELECT id FROM indexed ORDER BY array_distance(v, $q::FLOAT[{dimensions}]) LIMIT 10"
    times = []
    while not enough(len(times)):
        blob = vectors[len(times) % len(vectors)].astype("<f4").tobytes()
        times.append(seconds(lambda: con.execute(sql, {"q": blob}).fetchall()) * 1e3)
    return times


def reads_meanwhile(con, vectors, dimensions):
    writer = con.cursor()
    done = threading.Event()

    def write():
        writer.execute("INSERT INTO indexed FROM more")
        linked(writer)
        done.set()

    thread = threading.Thread(target=write)
    thread.start()
    times = read(con, vectors, dimensions, lambda _: done.is_set())
    thread.join()
    return times


def main():
    con, dimensions = connect(*sys.argv[1:])
    rows = con.execute("SELECT count(*) FROM plain").fetchone()[0]
    more = con.execute("SELECT count(*) FROM more").fetchone()[0]
    vectors = np.array(con.execute(f"SELECT v FROM more LIMIT {READS}").fetchnumpy()["v"].tolist(), np.float32)
    build = seconds(lambda: con.execute("CREATE INDEX by_v ON indexed USING HNSW (v)"))
    idle = read(con, vectors, dimensions, lambda count: count >= READS)
    print(json.dumps({"what": "single", "rows": rows, "ms": single(con, vectors)}))
    linked(con)
    statement = time.perf_counter()
    con.execute("INSERT INTO indexed FROM more")
    returned = time.perf_counter()
    linked(con)
    done = time.perf_counter()
    bulk = {"rows": more, "returned": returned - statement, "linked": done - statement}
    print(json.dumps({"what": "bulk", **bulk, "build_rows": rows, "build": build}))
    busy = reads_meanwhile(con, vectors, dimensions)
    percentiles = {name: np.percentile(times, [50, 99]).tolist() for name, times in [("idle", idle), ("busy", busy)]}
    print(json.dumps({"what": "reads", "ms": percentiles, "count": len(busy), "median": statistics.median(busy)}))


if __name__ == "__main__":
    main()
