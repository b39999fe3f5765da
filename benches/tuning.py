"""What the options of an index do to recall, latency, build and memory, on real data: plots and tables for docs/tuning.md.

Usage: tuning.py EXTENSION WORDS.parquet QUERIES.parquet PLOTS [rows] [queries]

Sentence embeddings of 384 dimensions, k = 10; one thread for searches, all for builds. The queries are sentences that are not in the
table; recall is against DuckDB's own answers without the extension. All times are processor time, which other work on the machine
disturbs least: that of a query is of the whole query in the Python wheel, the best of three rounds, and the mean of that over the
queries; that of a build is of all threads together. Memory is what the index reports, vectors included. The plots are SVG files in
the directory PLOTS, the tables are printed.
"""

import pathlib
import re
import sys
import time
from array import array

import duckdb
import matplotlib

matplotlib.use("svg")
from matplotlib import pyplot  # noqa: E402

DISTANCE = {"l2sq": "array_distance", "cosine": "array_cosine_distance", "ip": "array_negative_inner_product"}
# metric, m, ef_construction; each differs in one thing from the first, which are the defaults
BUILDS = [
    ("cosine", 16, 128),
    ("cosine", 8, 128),
    ("cosine", 32, 128),
    ("cosine", 16, 32),
    ("cosine", 16, 512),
    ("l2sq", 16, 128),
    ("ip", 16, 128),
]
WIDTHS = [16, 32, 64, 128, 256, 512]
SIZES = [500, 1_000, 2_000, 5_000, 10_000, 20_000, 40_000, 60_000]
ROUNDS = 3


def search(con, queries, metric, rounds=ROUNDS, table="words"):
    """Mean milliseconds of a query, and the ids that each finds."""
    sql = f"SELECT id FROM {table} ORDER BY {DISTANCE[metric]}(v, $q::FLOAT[384]) LIMIT 10"
    con.execute("SET threads = 1")
    total, found = 0.0, []
    for vector in queries:
        best = float("inf")
        for _ in range(rounds):
            start = time.process_time()
            rows = con.execute(sql, {"q": vector}).fetchall()
            best = min(best, time.process_time() - start)
        total += best
        found.append({row for (row,) in rows})
    con.execute("RESET threads")
    return total / len(queries) * 1000, found


def distances(con, queries, metric):
    """Mean number of distances that the index computes for a query: the same on any machine."""
    sql = f"EXPLAIN (ANALYZE, FORMAT JSON) SELECT id FROM words ORDER BY {DISTANCE[metric]}(v, $q::FLOAT[384]) LIMIT 10"
    plans = [con.execute(sql, {"q": vector}).fetchone()[1] for vector in queries]
    return sum(int(re.search(r'"Distances": "(\d+)"', plan).group(1)) for plan in plans) / len(plans)


def measure_build(con, queries, exact, metric, m, ef_construction):
    """Seconds, bytes a row, and for each width: distances, recall, recall on the index's own rows, milliseconds."""
    start = time.process_time()
    con.execute(
        f"CREATE INDEX i ON words USING HNSW (v) WITH (metric = '{metric}', m = {m}, ef_construction = {ef_construction})"
    )
    seconds = time.process_time() - start
    memory, count = con.execute("SELECT approx_memory_usage, count FROM pragma_hnsw_index_info()").fetchone()
    widths = {}
    for width in WIDTHS:
        con.execute(f"SET hnsw_ef_search = {width}")
        milliseconds, found = search(con, queries, metric)
        recall = sum(len(f & e) for f, e in zip(found, exact)) / sum(len(e) for e in exact)
        own = con.execute("SELECT recall FROM hnsw_recall('i', k := 10, queries := 200)").fetchone()[0]
        widths[width] = (distances(con, queries, metric), recall, own, milliseconds)
    con.execute("RESET hnsw_ef_search")
    con.execute("DROP INDEX i")
    return seconds, memory / count, widths


def measure_sizes(con, queries):
    """For tables of growing size, milliseconds with an index and without."""
    for rows in SIZES:
        con.execute(f"CREATE OR REPLACE TABLE part AS FROM words LIMIT {rows}")
        if con.execute("SELECT count(*) FROM part").fetchone()[0] < rows:
            break
        without, _ = search(con, queries, "cosine", table="part")
        con.execute("CREATE INDEX p ON part USING HNSW (v) WITH (metric = 'cosine')")
        with_index, _ = search(con, queries, "cosine", table="part")
        yield rows, with_index, without


def plot(path, title, x, y, lines, logarithmic=False):
    """Lines with a label each: {label: ([x …], [y …])}."""
    figure, axes = pyplot.subplots(figsize=(6.4, 4))
    for label, (xs, ys) in lines.items():
        axes.plot(xs, ys, marker="o", markersize=4, label=label)
    axes.set(title=title, xlabel=x, ylabel=y)
    if logarithmic:
        axes.set(xscale="log", yscale="log")
    axes.grid(alpha=0.3)
    axes.legend()
    figure.tight_layout()
    # without the date, and with fixed ids: the same numbers give the same file
    figure.savefig(path, metadata={"Date": None})
    pyplot.close(figure)


def main():
    extension, words, queries, plots = sys.argv[1:5]
    rows = int(sys.argv[5]) if len(sys.argv) > 5 else 60_000
    count = int(sys.argv[6]) if len(sys.argv) > 6 else 100
    plots = pathlib.Path(plots)
    plots.mkdir(parents=True, exist_ok=True)
    matplotlib.rcParams["svg.hashsalt"] = "vss"

    con = duckdb.connect(config={"allow_unsigned_extensions": "true"})
    con.load_extension(extension)
    con.execute(f"CREATE TABLE words AS SELECT id, embedding::FLOAT[384] AS v FROM '{words}' WHERE id < {rows}")
    sql = f"SELECT embedding::FLOAT[384] FROM '{queries}' ORDER BY id LIMIT {count}"
    vectors = [array("f", v).tobytes() for (v,) in con.execute(sql).fetchall()]
    exact = {metric: search(con, vectors, metric, 1) for metric in DISTANCE}

    measured = {}
    print("| metric | m | ef_construction | build | bytes a row | " + " | ".join(f"ef {w}" for w in WIDTHS) + " |")
    print("|---|---|---|---|---|" + "---|" * len(WIDTHS))
    for build in BUILDS:
        seconds, memory, widths = measured[build] = measure_build(con, vectors, exact[build[0]][1], *build)
        cells = [f"{recall:.3f} ({own:.3f}), {ms:.1f} ms" for _, recall, own, ms in widths.values()]
        print("| {} | {} | {} |".format(*build), f"{seconds:.0f} s | {memory:.0f} | " + " | ".join(cells) + " |", flush=True)
    print("\nwithout an index: " + ", ".join(f"{metric} {exact[metric][0]:.0f} ms" for metric in exact))

    def lines(builds, label):
        chosen = {label(*build): measured[build][2].values() for build in builds}
        return {name: ([w[0] for w in widths], [w[1] for w in widths]) for name, widths in chosen.items()}

    axes = ("distances computed for a query", "recall@10")
    of = f"{len(vectors)} queries, {con.execute('SELECT count(*) FROM words').fetchone()[0]:,} rows"
    plot(plots / "tuning_m.svg", f"m, cosine; points: ef_search {WIDTHS[0]} … {WIDTHS[-1]} ({of})", *axes,
         lines([BUILDS[1], BUILDS[0], BUILDS[2]], lambda _, m, ef: f"m = {m}"))  # fmt: skip
    plot(plots / "tuning_ef_construction.svg", f"ef_construction, cosine, m = 16 ({of})", *axes,
         lines([BUILDS[3], BUILDS[0], BUILDS[4]], lambda _, m, ef: f"ef_construction = {ef}"))  # fmt: skip
    plot(plots / "tuning_metric.svg", f"metric, default options ({of})", *axes,
         lines([BUILDS[0], BUILDS[5], BUILDS[6]], lambda metric, m, ef: metric))  # fmt: skip

    sizes = list(measure_sizes(con, vectors))
    print("\n| rows | with an index | without |\n|---|---|---|")
    for number, with_index, without in sizes:
        print(f"| {number:,} | {with_index:.1f} ms | {without:.1f} ms |")
    xs, with_index, without = zip(*sizes)
    plot(plots / "tuning_rows.svg", "size of the table, cosine, default options", "rows", "milliseconds a query",
         {"index": (xs, with_index), "no index": (xs, without)}, logarithmic=True)  # fmt: skip


if __name__ == "__main__":
    main()
