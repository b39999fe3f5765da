"""Shards on this machine: one actor of Ray, then two, beside DuckDB alone; and what that makes of a billion vectors, calculated.

    make bench-shards                          # builds what it needs, on the full set: DATA=<folder>
    python benches/shards.py <folder with wordnet.parquet and wordnet_queries.parquet> [--rows N] [--quantization none]

--rows: so many synthetic vectors in the place of the real ones: clusters around 1,000 random centres.
"""

import argparse
import concurrent.futures
import contextlib
import os
import pathlib
import pickle
import statistics
import tempfile
import time

import duckdb
import duckdb_vss
import duckdb_vss.shards as shards
import numpy as np
import ray

K = 10
DIMENSIONS = 384


def synthetic(folder, rows):
    """Parquet files of clustered vectors, and queries beside them."""
    random = np.random.default_rng(1)
    centres = random.normal(size=(1000, DIMENSIONS)).astype("<f4")
    import pyarrow as pa
    import pyarrow.parquet as parquet

    def vectors(count):
        return centres[random.integers(0, len(centres), count)] + 0.7 * random.normal(size=(count, DIMENSIONS)).astype("<f4")

    for first in range(0, rows, 100_000):
        chunk = vectors(min(100_000, rows - first))
        column = pa.FixedSizeListArray.from_arrays(pa.array(chunk.ravel()), DIMENSIONS)
        table = pa.table({"id": pa.array(range(first, first + len(chunk)), pa.int64()), "embedding": column})
        parquet.write_table(table, folder / f"{first // 100_000:04d}.parquet")
    return f"{folder}/*.parquet", vectors(1000)


def real(data):
    queries = duckdb.execute("SELECT embedding FROM read_parquet($1) ORDER BY id", [f"{data}/wordnet_queries.parquet"]).fetchall()
    return f"{data}/wordnet.parquet", np.array([vector for (vector,) in queries], dtype="<f4")


def anonymous(process):
    """MiB of memory that a process has of its own."""
    status = pathlib.Path(f"/proc/{process}/status").read_text()
    return int(status.split("RssAnon:")[1].split()[0]) / 1024


def worked(processes):
    """Milliseconds of processor time that processes have had so far."""
    ticks = 0
    for process in processes:
        fields = pathlib.Path(f"/proc/{process}/stat").read_text().rpartition(")")[2].split()
        ticks += int(fields[11]) + int(fields[12])
    return ticks * 1000 / os.sysconf("SC_CLK_TCK")


def timed(calls):
    """Milliseconds of each call, after some that are not counted."""
    calls = list(calls)
    for call in calls[:20]:
        call()
    taken = []
    for call in calls:
        begin = time.perf_counter()
        call()
        taken.append((time.perf_counter() - begin) * 1000)
    return taken


def measured(count, processes, call):
    """Calls per second, and core milliseconds of one: of this process, and of others."""
    begin, mine, theirs = time.perf_counter(), time.process_time(), worked(processes)
    call()
    taken = time.perf_counter() - begin
    return count / taken, (time.process_time() - mine) * 1000 / count, (worked(processes) - theirs) / count


def row(*cells):
    print("| " + " | ".join(cells) + " |", flush=True)


def head(*cells):
    row(*cells)
    row(*(["---"] * len(cells)))


def alone(source, queries, options, threads):
    """DuckDB without Ray, in this process: one table, one index."""
    given = ", ".join(["metric = 'cosine'", *(f"{name} = '{value}'" for name, value in options.items())])
    nearest = f"SELECT id, array_cosine_distance(embedding, {{}}) AS distance FROM items ORDER BY distance, id LIMIT {K}"
    with tempfile.TemporaryDirectory() as folder, contextlib.closing(duckdb_vss.connect(f"{folder}/one.duckdb")) as con:
        con.execute(f"SET threads = {threads}; SET hnsw_enable_experimental_persistence = true")
        begin = time.perf_counter()
        con.execute(f"CREATE TABLE items AS SELECT * REPLACE (embedding::FLOAT[{DIMENSIONS}] AS embedding) FROM '{source}'")
        con.execute(f"CREATE INDEX x ON items USING HNSW (embedding) WITH ({given})")
        con.execute("CHECKPOINT")
        built = time.perf_counter() - begin
        sql = nearest.format(f"$q::FLOAT[{DIMENSIONS}]")
        searches = [(lambda q=query: con.execute(sql, {"q": q.tobytes()}).fetchall()) for query in queries[:200]]
        one = timed(searches)
        _, core, _ = measured(200, [], lambda: [search() for search in searches])
        con.execute("CREATE TABLE queries (vector FLOAT[384])")
        con.executemany("INSERT INTO queries VALUES ($1)", [[query] for query in queries])
        batch = f"SELECT count(distance) FROM queries, LATERAL ({nearest.format('vector')})"
        con.execute(batch).fetchall()
        many, batch_core, _ = measured(len(queries), [], lambda: con.execute(batch).fetchall())
        memory = con.execute("SELECT approx_memory_usage FROM pragma_hnsw_index_info()").fetchone()[0]
    name = f"DuckDB alone, {threads} thread{'s' * (threads > 1)}"
    taken = [f"{statistics.median(one):.1f}", f"{np.percentile(one, 99):.1f}", f"{core:.1f}"]
    row(name, f"{built:.1f}", "", f"{memory >> 20}", "", *taken, "", "", f"{many:.0f}", f"{batch_core:.2f}", "")


def sharded(source, queries, options, actors, folder):
    """Some actors with a processor each. Returns what the calculation needs."""
    begin = time.perf_counter()
    manifest = shards.build(source, folder, actors, metric="cosine", options=options, cpus=1, memory_limit="3GB")
    built = time.perf_counter() - begin
    begin = time.perf_counter()
    with shards.Cluster.open(folder, cpus=1, memory_limit="3GB") as cluster:
        opened = time.perf_counter() - begin
        status = cluster.status()
        processes = [entry["process"] for entry in status]
        searches = [(lambda q=query: cluster.search(q, K)) for query in queries[:200]]
        one = timed(searches)
        _, driver, shard = measured(200, processes, lambda: [search() for search in searches])
        # the way there and back alone: a statement of the same shape that finds nothing
        empty = "SELECT id, 1.5 AS distance FROM items WHERE false ORDER BY distance, id LIMIT 10"
        nothing = timed([lambda: cluster.sql(empty)] * 100)
        with concurrent.futures.ThreadPoolExecutor(4) as pool:
            clients, _, _ = measured(200, [], lambda: list(pool.map(lambda search: search(), searches)))
        cluster.search(queries, K)
        many, *batch_cores = measured(len(queries), processes, lambda: cluster.search(queries, K))
        recall = cluster.recall(K, queries[:200]).recall
        resident = [anonymous(process) for process in processes]
        answer = len(pickle.dumps(cluster.search(queries[0], K).table))
    memory = sum(entry["index_bytes"] for entry in status)
    row(
        f"{actors} actor{'s' * (actors > 1)}",
        f"{built:.1f}",
        f"{opened:.1f}",
        " + ".join(f"{entry['index_bytes'] >> 20}" for entry in status),
        " + ".join(f"{mib:.0f}" for mib in resident),
        f"{statistics.median(one):.1f}",
        f"{np.percentile(one, 99):.1f}",
        f"{shard:.1f} + {driver:.1f}",
        f"{statistics.median(nothing):.1f}",
        f"{clients:.0f}",
        f"{many:.0f}",
        f"{batch_cores[1]:.2f} + {batch_cores[0]:.2f}",
        f"{recall:.3f}",
    )
    rows = sum(shard.rows for shard in manifest.shards)
    disk = sum(manifest.path(folder, number).stat().st_size for number in range(actors))
    return {
        "rows": rows / actors,
        "shard": shard / actors,
        "driver": driver / actors,
        "bytes": memory / rows,
        "disk": disk / rows,
        "answer": answer,
    }


def calculated(found, cores=16, rows_of_shard=20_000_000):
    """What the measured figures make of more rows. A search visits nodes with the logarithm of a shard's rows."""
    print(f"\nCalculated, for shards of {rows_of_shard // 10**6} M rows, each on a machine of {cores} cores:\n")
    places = ["vectors", "shards", "index, GB each", "files, TB", "network a query, KB", "shards, core ms a query", "driver, core ms"]
    head(*places, "queries/s, one driver", "queries/s, all shards")
    for rows in (10_000_000, 100_000_000, 1_000_000_000):
        count = -(-rows // rows_of_shard)
        each = rows / count
        cost = found["shard"] * np.log(each) / np.log(found["rows"])
        driver = count * found["driver"]
        network = count * (DIMENSIONS * 4 + 500 + found["answer"]) / 1000
        row(
            f"{rows // 10**6:,} M",
            f"{count}",
            f"{each * found['bytes'] / 1e9:.1f}",
            f"{rows * found['disk'] / 1e12:.2f}",
            f"{network:.0f}",
            f"{count * cost:.0f}",
            f"{driver:.0f}",
            f"{1000 / driver:.0f}",
            f"{cores * 1000 / cost:.0f}",
        )


def main():
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("data", type=pathlib.Path, help="the folder with wordnet.parquet and wordnet_queries.parquet")
    parser.add_argument("--rows", type=int, help="so many synthetic vectors in the place of the real ones")
    parser.add_argument("--quantization", default="sq8", choices=["none", "sq8", "sq4"])
    given = parser.parse_args()
    # Ray's workers give way to all else, by default: beside other work, they would be measured as they wait.
    os.environ.setdefault("RAY_worker_niceness", "0")
    ray.init(num_cpus=2, include_dashboard=False, object_store_memory=300 << 20, log_to_driver=False)
    options = {} if given.quantization == "none" else {"quantization": given.quantization}
    with tempfile.TemporaryDirectory() as folder:
        folder = pathlib.Path(folder)
        source, queries = synthetic(folder, given.rows) if given.rows else real(given.data)
        rows = duckdb.execute("SELECT count(*) FROM read_parquet($1)", [source]).fetchone()[0]
        kind = "synthetic" if given.rows else "real"
        print(f"{rows:,} {kind} vectors of {DIMENSIONS} elements, {given.quantization}, on {os.cpu_count()} cores\n")
        places = ["", "build, s", "open, s", "index, MiB", "process, MiB", "search p50, ms", "p99, ms", "core ms"]
        head(*places, "way there and back, ms", "4 clients, /s", "batch of 1,000, /s", "core ms a query", "recall")
        for threads in (1, 2):
            alone(source, queries, options, threads)
        for actors in (1, 2):
            found = sharded(source, queries, options, actors, folder / f"shards-{actors}")
        calculated(found)
    ray.shutdown()


if __name__ == "__main__":
    main()
