"""What a quantization gives and costs, in the bare core (benches/raw.rs): the tables of docs/tuning.md.

Usage: quantization.py RAW DATA [rows] [queries]

RAW is the program that `cargo bench --bench raw --no-run` makes, DATA the directory of wordnet.parquet and wordnet_queries.parquet.
Recall@10 is what the ten nearest of the candidates, ranked by their vectors as DuckDB ranks them, have of the ten nearest of all. Times
are processor time, those of ranking by vectors among them. Coverage is how often an estimate is within `hnsw_rescore` standard errors of the true distance, of all rows and of
the nearest 100. In the set called drift, the codes are learnt from adjectives, adverbs and verbs, and the nouns come later.
"""

import json
import os
import pathlib
import subprocess
import sys
import tempfile

import duckdb
import numpy as np

WIDTHS = [16, 32, 64, 128, 256]
RESCORE = 1.9
#: Rows that an index learns from when it is built.
LEARN = 8192


class Raw:
    """The bare core with one set."""

    def __init__(self, program, directory, metric, quantization):
        command = [program, directory, metric, "16", "128", quantization]
        self.process = subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)

    def ask(self, **command):
        print(json.dumps(command), file=self.process.stdin, flush=True)
        return json.loads(self.process.stdout.readline())

    def seconds(self):
        """Processor time so far, of threads that are gone, too."""
        fields = pathlib.Path(f"/proc/{self.process.pid}/stat").read_text().rpartition(")")[2].split()
        return (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")

    def thread_seconds(self):
        """The same of the first thread, finer."""
        return int(pathlib.Path(f"/proc/{self.process.pid}/schedstat").read_text().split()[0]) / 1e9

    def close(self):
        self.process.stdin.close()
        self.process.wait()


def write(directory, vectors, queries):
    directory.mkdir(parents=True, exist_ok=True)
    (directory / "dimensions").write_text(str(vectors.shape[1]))
    vectors.astype(np.float32).tofile(directory / "vectors.f32")
    queries.astype(np.float32).tofile(directory / "queries.f32")
    return directory


def distances(metric, vectors, query):
    vectors, query = vectors.astype(np.float64), query.astype(np.float64)
    if metric == "l2sq":
        return ((vectors - query) ** 2).sum(axis=1)
    products = vectors @ query
    return -products if metric == "ip" else -products / np.linalg.norm(vectors, axis=1)


def nearest(metric, vectors, query, count):
    found = distances(metric, vectors, query)
    some = np.argpartition(found, count - 1)[:count]
    return set(some.tolist())


def measure(program, directory, vectors, queries, metric, quantization, exact):
    """Seconds of the build, bytes a row, candidates, and for each width recall and milliseconds."""
    raw = Raw(program, directory, metric, quantization)
    try:
        raw.ask(do="prepare")
        before = raw.seconds()
        memory = raw.ask(do="build", threads=2)["memory"]
        seconds = raw.seconds() - before
        widths, candidates = [], 0
        for ef in WIDTHS:
            command = {"do": "search", "ef": ef, "k": 10, "first": 0, "last": len(queries)}
            raw.ask(**command)
            before = raw.thread_seconds()
            answer = raw.ask(**command)
            milliseconds = (raw.thread_seconds() - before) / len(queries) * 1e3
            hits = sum(len(best & set(ids)) for ids, best in zip(answer["ids"], exact))
            widths.append((hits / (10 * len(queries)), milliseconds))
            if ef == 64:
                candidates = answer["candidates"] / len(queries)
        return seconds, memory / len(vectors), candidates, widths
    finally:
        raw.close()


def clustered(rows, dimensions, offset, queries):
    random = np.random.default_rng(42)
    centres = random.normal(size=(max(10, rows // 500), dimensions))
    points = centres[random.integers(len(centres), size=rows + queries)] + 0.5 * random.normal(size=(rows + queries, dimensions))
    points += offset
    return points[:rows].astype(np.float32), points[rows:].astype(np.float32)


def main():
    program, data = sys.argv[1], pathlib.Path(sys.argv[2])
    rows = int(sys.argv[3]) if len(sys.argv) > 3 else 60_000
    count = int(sys.argv[4]) if len(sys.argv) > 4 else 500

    def read(name, count, column):
        sql = f"SELECT {column} AS x FROM (FROM read_parquet(?) ORDER BY id LIMIT {count})"
        return duckdb.execute(sql, [str(data / name)]).fetchnumpy()["x"]

    def embeddings(name, count):
        return read(name, count, "unnest(embedding)::FLOAT").reshape(-1, 384)

    vectors, queries = embeddings("wordnet.parquet", rows), embeddings("wordnet_queries.parquet", count)
    nouns = read("wordnet.parquet", rows, "category LIKE 'noun%'").astype(bool)

    with tempfile.TemporaryDirectory() as scratch:
        scratch = pathlib.Path(scratch)
        directory = write(scratch / "words", vectors, queries)
        print("| metric | quantization | build | bytes a row | candidates for k = 10 | " + " | ".join(f"ef {w}" for w in WIDTHS) + " |")
        print("|---|---|---|---|---|" + "---|" * len(WIDTHS))
        for metric in ["cosine", "l2sq"]:
            exact = [nearest(metric, vectors, query, 10) for query in queries]
            for quantization in ["none", "sq8", "sq4"]:
                seconds, memory, candidates, widths = measure(program, directory, vectors, queries, metric, quantization, exact)
                cells = " | ".join(f"{recall:.3f}, {milliseconds:.2f} ms" for recall, milliseconds in widths)
                print(f"| {metric} | {quantization} | {seconds:.0f} s | {memory:.0f} | {candidates:.1f} | {cells} |", flush=True)

        drift = np.concatenate([vectors[~nouns], vectors[nouns]])
        sets = [
            ("sentences, nouns first, 384", ["cosine", "l2sq", "ip"], vectors, queries, LEARN),
            ("drift: others, then nouns, 384", ["cosine", "l2sq"], drift, queries, LEARN),
            ("clusters, 64", ["cosine", "l2sq"], *clustered(20_000, 64, 0, 100), LEARN),
            ("clusters 50 away, 64", ["l2sq"], *clustered(20_000, 64, 50, 100), LEARN),
            ("clusters, 1024", ["cosine", "l2sq"], *clustered(10_000, 1024, 0, 100), LEARN),
        ]
        print("\n| set | metric | quantization | coverage of all | of the nearest 100 | standard error, 1 is as the model says |")
        print("|---|---|---|---|---|---|")
        for number, (name, metrics, rows_of, queries_of, learn) in enumerate(sets):
            directory = write(scratch / str(number), rows_of, queries_of[:100])
            for metric in metrics:
                for quantization in ["sq8", "sq4"]:
                    raw = Raw(program, directory, metric, quantization)
                    last = len(queries_of[:100])
                    found = raw.ask(do="calibrate", deviations=RESCORE, learn=learn, nearest=100, first=0, last=last)
                    raw.close()
                    cells = " | ".join(f"{found[figure]:.4f}" for figure in ["all", "near", "spread"])
                    print(f"| {name} | {metric} | {quantization} | {cells} |", flush=True)


if __name__ == "__main__":
    main()
