"""One large set, once with each quantization: build, storage, opening, searches, LATERAL, INSERT. Rows of a table.

Usage: large.py EXTENSION DIRECTORY [--rows 1000000] [--dimensions 384] [--quantization none,sq8,sq4]

Vectors in clusters as of `peers.data`, l2sq, default options, in a database file with all of the machine's threads. Recall
is measured against the exact answer, with vectors that are not in the index. Every index is built in a process of its own.
DIRECTORY is to have room for three times the vectors.
"""

import argparse
import json
import statistics
import subprocess
import sys
import time
from pathlib import Path

import duckdb
import numpy as np

from measure import resident, seconds
from peers import data

K = 10
QUERIES = 200
PROBES = 1_000
INSERTED = 20_000
TARGET = 0.95
#: Percents of the rows that a filter keeps.
FILTERS = (10, 1)
PARTS = 10_000


class Measured:
    """A database with the first `rows` vectors of a set, and one index."""

    def __init__(self, extension, vectors, directory, quantization):
        self.extension = extension
        self.vectors = vectors
        self.file = Path(directory) / "large.db"
        self.quantization = quantization

    def connect(self):
        con = duckdb.connect(self.file, config={"allow_unsigned_extensions": "true"})
        con.load_extension(self.extension)
        con.execute("SET hnsw_enable_experimental_persistence = true")
        # only when asked
        con.execute("SET checkpoint_threshold = '1TB'")
        return con

    def sql(self, percent, query="$q"):
        where = "" if percent is None else f"WHERE part < {round(PARTS * percent / 100)}"
        array = f"FLOAT[{self.vectors.dimensions}]"
        return f"SELECT id FROM items {where} ORDER BY array_distance(v, {query}::{array}) LIMIT {K}"

    def searches(self, con, percent):
        """Recall and milliseconds."""
        found, times = [], []
        sql = self.sql(percent)
        for query in self.vectors.queries[:QUERIES]:
            blob = query.astype("<f4").tobytes()
            start = time.perf_counter()
            rows = con.execute(sql, {"q": blob}).fetchall()
            times.append((time.perf_counter() - start) * 1e3)
            found.append([row for (row,) in rows])
        exact = data.truth(self.vectors, "l2sq", K, percent, QUERIES)
        return exact.recall(0, found, K), statistics.median(times)

    def run(self):
        for old in self.file.parent.glob("large.db*"):
            old.unlink()
        con = self.connect()
        array = f"FLOAT[{self.vectors.dimensions}]"
        read = f"FROM '{self.vectors.directory}/%s.parquet'"
        con.execute(f"CREATE TABLE items AS SELECT id, part, v::{array} AS v {read % 'items'}")
        con.execute("CHECKPOINT")
        con.execute("SELECT sum(v[1]), sum(id) FROM items").fetchall()
        before = self.file.stat().st_size, resident()
        result = {"quantization": self.quantization}
        options = f"quantization = '{self.quantization}'"
        result["build"] = seconds(lambda: con.execute(f"CREATE INDEX i ON items USING HNSW (v) WITH ({options})"))
        rows = con.execute("SELECT count(*) FROM items").fetchone()[0]
        result["grown"] = (resident() - before[1]) / rows
        result["memory"] = con.execute("SELECT approx_memory_usage FROM pragma_hnsw_index_info()").fetchone()[0] / rows
        result["checkpoint"] = seconds(lambda: con.execute("CHECKPOINT"))
        result["file"] = (self.file.stat().st_size - before[0]) / rows
        con.close()
        con = self.connect()
        result["open"] = seconds(
            lambda: con.execute(self.sql(None), {"q": self.vectors.queries[0].astype("<f4").tobytes()}).fetchall()
        )
        for percent in (None, *FILTERS):
            result[f"searches {percent}"] = self.searches(con, percent)
        con.execute(f"CREATE TEMP TABLE probes AS SELECT id AS n, v::{array} AS q {read % 'queries'} LIMIT {PROBES}")
        lateral = f"SELECT n, id FROM probes, LATERAL ({self.sql(None, 'q')})"
        result["lateral"] = PROBES / seconds(lambda: con.execute(lateral).fetchall())
        # it measures itself, and chooses a width
        con.execute(f"SET hnsw_target_recall = {TARGET}")
        con.execute(self.sql(None), {"q": self.vectors.queries[0].astype("<f4").tobytes()}).fetchall()
        result["measuring"] = seconds(lambda: con.execute("PRAGMA hnsw_finish").fetchall())
        result["target"] = self.searches(con, None)
        result["width"] = con.execute("SELECT ef_search FROM pragma_hnsw_index_info()").fetchone()[0]
        con.execute("RESET hnsw_target_recall")

        def insert():
            con.execute(f"INSERT INTO items SELECT {rows} + id, part, v FROM items WHERE id < {INSERTED}")
            con.execute("PRAGMA hnsw_finish").fetchall()

        result["insert"] = INSERTED / seconds(insert)
        con.close()
        return result


def table(results):
    def recall_ms(name):
        return lambda result: "{:.3f}, {:.2f} ms".format(*result[name])

    columns = {
        "quantization": lambda result: result["quantization"],
        "build": lambda result: f"{result['build']:.0f} s",
        "bytes a row": lambda result: f"{result['memory']:.0f}",
        "process grew": lambda result: f"{result['grown']:.0f}",
        "in the file": lambda result: f"{result['file']:.0f}",
        "checkpoint": lambda result: f"{result['checkpoint']:.1f} s",
        "first answer after opening": lambda result: f"{result['open']:.2f} s",
        "query": recall_ms("searches None"),
        **{f"{percent} % of the rows": recall_ms(f"searches {percent}") for percent in FILTERS},
        f"`hnsw_target_recall` {TARGET}": lambda result: recall_ms("target")(result) + f", width {result['width']}",
        "LATERAL": lambda result: f"{result['lateral']:,.0f} q/s",
        "INSERT until linked": lambda result: f"{result['insert']:,.0f} rows/s",
    }
    print("| " + " | ".join(columns) + " |")
    print("|" + "---|" * len(columns))
    for result in results:
        print("| " + " | ".join(column(result) for column in columns.values()) + " |", flush=True)


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("extension")
    parser.add_argument("directory")
    parser.add_argument("--rows", type=int, default=1_000_000)
    parser.add_argument("--dimensions", type=int, default=384)
    parser.add_argument("--quantization", default="none,sq8,sq4")
    parser.add_argument("--one", help="of the quantizations: prints JSON")
    options = parser.parse_args()
    vectors = data.clustered(options.directory, options.rows, options.dimensions, PROBES)
    if options.one:
        print(json.dumps(Measured(options.extension, vectors, options.directory, options.one).run()))
        return
    for percent in (None, *FILTERS):
        data.truth(vectors, "l2sq", K, percent, QUERIES)
    results = []
    for quantization in options.quantization.split(","):
        command = [sys.executable, __file__, *sys.argv[1:], "--one", quantization]
        results.append(json.loads(subprocess.run(command, check=True, stdout=subprocess.PIPE, text=True).stdout))
        print(results[-1], file=sys.stderr, flush=True)
    table(results)


if __name__ == "__main__":
    main()
