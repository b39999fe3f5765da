"""Throughput of a nearest-neighbour join beside the raw core searching for the same vectors.

`python benches/join.py <extension> <words.parquet> [queries]`, with the embeddings as FLOAT[384] in column `embedding`. Rounds
alternate, and the least time counts: other work on the machine disturbs both alike. `hnsw_recall` searches for stored vectors,
so the join does, too. The core's time is that of one thread.
"""

import sys
import time

import duckdb

K = 10
ROUNDS = 5
METRICS = {"cosine": "array_cosine_distance", "l2sq": "array_distance"}
SHAPES = {
    "LATERAL": "SELECT n, id FROM probes, LATERAL (SELECT id FROM words ORDER BY {distance}(embedding, q) LIMIT {k})",
    "GROUP BY": "SELECT n, min_by(id, {distance}(embedding, q), {k}) FROM words, probes GROUP BY n",
    "vss_match": "SELECT n, list_transform(matches, lambda m: m.row.id)"
    " FROM probes, vss_match(words, q, embedding, {k}, metric := '{metric}')",
}


def least(rounds, run):
    times = []
    for _ in range(rounds):
        started = time.perf_counter()
        run()
        times.append(time.perf_counter() - started)
    return min(times)


def main():
    extension, words, *rest = sys.argv[1:]
    queries = int(rest[0]) if rest else 1000
    for metric, distance in METRICS.items():
        con = duckdb.connect(config={"allow_unsigned_extensions": "true"})
        con.load_extension(extension)
        con.execute(f"CREATE TABLE words AS SELECT id, embedding::FLOAT[384] AS embedding FROM '{words}'")
        con.execute(f"CREATE INDEX i ON words USING HNSW (embedding) WITH (metric = '{metric}')")
        con.execute(
            "CREATE TABLE probes AS SELECT id AS n, embedding AS q FROM words"
            f" USING SAMPLE reservoir({queries} ROWS) REPEATABLE (1)"
        )
        threads = con.execute("SELECT current_setting('threads')").fetchone()[0]
        core = []
        joins = {}
        for _ in range(ROUNDS):
            core.append(con.execute(f"SELECT index_ms FROM hnsw_recall('i', k := {K}, queries := 100)").fetchone()[0])
            for shape, sql in SHAPES.items():
                for count in (1, threads):
                    con.execute(f"SET threads = {count}")
                    text = sql.format(distance=distance, k=K, metric=metric)
                    taken = least(2, lambda: con.execute(text).fetchall())
                    joins.setdefault((shape, count), []).append(taken)
        print(f"{metric}: core {1 / min(core) * 1000:,.0f} searches/s on one thread")
        for (shape, count), times in joins.items():
            rate = queries / min(times)
            share = rate / (1 / min(core) * 1000 * count)
            print(f"  {shape:10} {count} threads {rate:8,.0f} searches/s, {share:4.0%} of {count} × the core")


if __name__ == "__main__":
    main()
