"""One query at a time: what of its time is the client's, DuckDB's and the index's. Rows of a table.

`python benches/query.py <extension> <words.parquet> <queries.parquet>`, with the embeddings as FLOAT[384] in column `embedding`.
Statements take turns; the vector is bound as bytes, also where nothing is searched for. The core's time is that of searches
without DuckDB, with the same k and width. Cosine, default options, in memory.
"""

import statistics
import sys
import time

import duckdb

K = 10
QUERIES = 300
#: The statement costs at most so much: the one without a search times the first, the core's search times the second.
FLOOR, CORE = 1.25, 1.5
NEAREST = f"ORDER BY array_cosine_distance(v, $q::FLOAT[384]) LIMIT {K}"
#: A condition on the bytes lets a statement bind them that does not search.
BY_INTEGER = f"SELECT id FROM words WHERE octet_length($q::BLOB) > 0 ORDER BY id LIMIT {K}"
STATEMENTS = {
    "the vector alone": "SELECT ($q::FLOAT[384])[1]",
    "ordered by an integer": BY_INTEGER,
    "ordered by distance": f"SELECT id FROM words {NEAREST}",
    "half of the rows": f"SELECT id FROM words WHERE part < 50 {NEAREST}",
    "a fifth of the rows": f"SELECT id FROM words WHERE part < 20 {NEAREST}",
    "a tenth of the rows": f"SELECT id FROM words WHERE part < 10 {NEAREST}",
    "a hundredth of the rows": f"SELECT id FROM words WHERE part < 1 {NEAREST}",
}


def main():
    extension, words, queries = sys.argv[1:]
    con = duckdb.connect(config={"allow_unsigned_extensions": "true"})
    con.load_extension(extension)
    con.execute(f"CREATE TABLE words AS SELECT id, hash(id) % 100 AS part, embedding::FLOAT[384] AS v FROM '{words}'")
    con.execute("CREATE INDEX i ON words USING HNSW (v) WITH (metric = 'cosine')")
    sql = f"SELECT embedding::FLOAT[384] FROM '{queries}' ORDER BY id LIMIT {QUERIES}"
    vectors = con.execute(sql).fetchnumpy()["CAST(embedding AS FLOAT[384])"]
    taken = {name: [] for name in STATEMENTS}
    core = []
    for number, vector in enumerate(vectors):
        given = {"q": vector.astype("<f4").tobytes()}
        for name, sql in STATEMENTS.items():
            started = time.perf_counter()
            con.execute(sql, given).fetchall()
            taken[name].append(1e3 * (time.perf_counter() - started))
        if number % 30 == 29:
            core.append(con.execute(f"SELECT index_ms FROM hnsw_recall('i', k := {K}, queries := 100)").fetchone()[0])
    print("| statement | p50 ms | p99 ms |\n|---|---|---|")
    for name, times in taken.items():
        print(f"| {name} | {statistics.median(times):.2f} | {statistics.quantiles(times, n=100)[-1]:.2f} |")
    bare = statistics.median(core)
    floor = statistics.median(taken["ordered by an integer"])
    print(f"| the core alone | {bare:.2f} | |")
    share = statistics.median(taken["ordered by distance"]) / (FLOOR * floor + CORE * bare)
    print(f"\nordered by distance / ({FLOOR} × ordered by an integer + {CORE} × the core): {share:.2f}")


if __name__ == "__main__":
    main()
