"""Statements that an index must not make slower: each in turn with the index and by DuckDB's own plan, as a table or as JSON.

Usage: overhead.py EXTENSION WORDS.parquet QUERIES.parquet [--rounds ROUNDS] [--only TEXT] [--json] [--threads THREADS]

Two tables in a database file, opened anew: `words`, sentence embeddings of 384 dimensions with the columns of their data set and
two of a nested type, and `points`, 200,000 vectors of 64 dimensions, a tenth of them zero, half of them twice there, some NULL.
DuckDB's own plan is that with its extensions' optimizers off. The time is the median of the rounds; the two plans take turns. Slow:
the index takes more than 1.1 times the time of DuckDB's own plan, and 0.2 ms more.
"""

import argparse
import json
import statistics
import sys
import tempfile
import time
from pathlib import Path

import duckdb

FACTOR, MARGIN_MS = 1.1, 0.2
POINTS = 200_000


def arguments():
    parser = argparse.ArgumentParser()
    parser.add_argument("extension")
    parser.add_argument("words")
    parser.add_argument("queries")
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--only", default="", help="statements whose name holds this text")
    parser.add_argument("--threads", type=int, default=1)
    parser.add_argument("--json", action="store_true")
    return parser.parse_args()


def connect(extension, path, threads):
    con = duckdb.connect(str(path), config={"allow_unsigned_extensions": "true", "threads": threads})
    con.load_extension(extension)
    con.execute("SET hnsw_enable_experimental_persistence = true")
    return con


def fill(con, words, queries):
    con.execute(
        "CREATE TABLE words AS SELECT * EXCLUDE (embedding, definition, words), definition AS text, words AS tokens,"
        f" MAP {{'category': category}} AS properties, embedding::FLOAT[384] AS v FROM read_parquet('{words}')"
    )
    con.execute(f"CREATE TABLE queries AS SELECT row_number() OVER () AS id, embedding::FLOAT[384] AS q FROM read_parquet('{queries}')")
    con.execute("SELECT setseed(0.5)")
    numbers = ", ".join(f"sin(g * 12.9898 + {d} * 78.233)" for d in range(64))
    con.execute(
        "CREATE TABLE points AS SELECT id, 'name ' || id AS name, CASE WHEN id % 10 = 0 THEN [0.0 FOR _ IN range(64)]"
        f" WHEN id % 97 = 1 THEN NULL ELSE [{numbers}] END::FLOAT[64] AS v"
        f" FROM (SELECT range AS id, CASE WHEN range % 2 = 0 THEN range % 1000 ELSE range END AS g FROM range({POINTS}))"
    )
    con.execute("CREATE TABLE kinds AS SELECT DISTINCT category, length(category) AS size FROM words")
    con.execute("CREATE INDEX words_v ON words USING HNSW (v)")
    con.execute("CREATE INDEX points_v ON points USING HNSW (v) WITH (metric = 'cosine')")
    con.execute("CHECKPOINT")


WORDS = "array_distance(v, $q::FLOAT[384])"
POINT = "array_cosine_distance(v, $p::FLOAT[64])"


def statements():
    """Name and SQL of each statement."""
    for limit in 10, 100, 1000, 2048, 5000, 10_000, 20_000:
        yield f"all columns, LIMIT {limit}", f"SELECT * FROM words ORDER BY {WORDS} LIMIT {limit}"
        yield f"id, LIMIT {limit}", f"SELECT id FROM words ORDER BY {WORDS} LIMIT {limit}"
        yield f"a list of texts, LIMIT {limit}", f"SELECT id, tokens FROM words ORDER BY {WORDS} LIMIT {limit}"
        yield f"a text, LIMIT {limit}", f"SELECT id, text FROM words ORDER BY {WORDS} LIMIT {limit}"
    for rows in 10, 100, 1000, 5000, 20_000, 50_000:
        yield f"{rows} of the first ids, all columns", f"SELECT * FROM words WHERE id < {rows} ORDER BY {WORDS} LIMIT 10"
        yield f"all {rows} of the first ids", f"SELECT * FROM words WHERE id < {rows} ORDER BY {WORDS} LIMIT {rows}"
        yield f"{rows} scattered ids", f"SELECT id, text FROM words WHERE hash(id) % 60000 < {rows} ORDER BY {WORDS} LIMIT 10"
        yield f"all {rows} scattered ids", f"SELECT id, text FROM words WHERE hash(id) % 60000 < {rows} ORDER BY {WORDS} LIMIT {rows}"
    yield "one category", f"SELECT id, text FROM words WHERE category = 'noun.animal' ORDER BY {WORDS} LIMIT 10"
    yield "one row", f"SELECT id, text FROM words WHERE id = 77 ORDER BY {WORDS} LIMIT 10"
    yield "no row", f"SELECT id, text FROM words WHERE id = -77 ORDER BY {WORDS} LIMIT 10"
    yield "a text holds a word", f"SELECT id, text FROM words WHERE text LIKE '%water%' ORDER BY {WORDS} LIMIT 10"
    for limit in 10, 1000, 20_000, 33_000, 60_000:
        yield f"points, LIMIT {limit}", f"SELECT id FROM points ORDER BY {POINT} LIMIT {limit}"
        yield f"points with names, LIMIT {limit}", f"SELECT id, name FROM points ORDER BY {POINT} LIMIT {limit}"
        yield f"points, all of {limit}", f"SELECT id FROM points WHERE id < {limit} ORDER BY {POINT} LIMIT {limit}"
        yield f"points, 10 of {limit}", f"SELECT id FROM points WHERE id < {limit} ORDER BY {POINT} LIMIT 10"
    yield "duplicates", f"SELECT id FROM points WHERE id % 2 = 0 ORDER BY {POINT} LIMIT 10"
    yield "duplicates, ties by id", f"SELECT id FROM points ORDER BY {POINT}, id LIMIT 10"
    yield "NULL vectors or some ids", f"SELECT id FROM points WHERE v IS NULL OR id < 500 ORDER BY {POINT} LIMIT 10"
    yield "points without NULL", f"SELECT id FROM points WHERE v IS NOT NULL ORDER BY {POINT} LIMIT 10"
    yield "points with a guard", f"SELECT id FROM points WHERE isfinite({POINT}) ORDER BY {POINT} LIMIT 10"
    yield "points of other names", f"SELECT id FROM points WHERE name LIKE '%99%' ORDER BY {POINT} LIMIT 10"
    yield "a join that filters", f"SELECT id FROM words JOIN kinds USING (category) WHERE size < 9 ORDER BY {WORDS} LIMIT 10"
    yield "a join of the best", f"SELECT id, size FROM words JOIN kinds USING (category) ORDER BY {WORDS} LIMIT 10"
    yield (
        "a join with an aggregate",
        "SELECT id FROM words JOIN (SELECT category, count(*) AS n FROM words GROUP BY category) USING (category)"
        f" WHERE n > 1000 ORDER BY {WORDS} LIMIT 10",
    )
    yield "ids of a subquery", f"SELECT id FROM words WHERE id IN (SELECT id FROM words WHERE text LIKE '%water%') ORDER BY {WORDS} LIMIT 10"
    yield "the best of each category", f"SELECT id FROM words QUALIFY row_number() OVER (PARTITION BY category ORDER BY {WORDS}) <= 3"
    yield "the best, ranked by a window", f"SELECT id FROM words QUALIFY row_number() OVER (ORDER BY {WORDS}) <= 10"
    yield "nearest groups", f"SELECT category, min({WORDS}) AS d FROM words GROUP BY category ORDER BY d LIMIT 5"
    yield "min_by", f"SELECT min_by(id, {WORDS}, 10) FROM words"
    yield "min_by of groups", f"SELECT category, min_by(id, {WORDS}) FROM words GROUP BY category"
    # of the words a hundredth of a percent, a hundredth, a tenth and three tenths are so near
    for radius in 5, 5.65, 6.1, 6.5:
        yield f"a count within {radius}", f"SELECT count(*) FROM words WHERE {WORDS} < {radius}"
        yield f"rows within {radius}", f"SELECT id, text FROM words WHERE {WORDS} < {radius}"
        yield f"the nearest within {radius}", f"SELECT id, text FROM words WHERE {WORDS} < {radius} ORDER BY {WORDS} LIMIT 100"
    yield "a page far behind", f"SELECT id FROM words ORDER BY {WORDS} LIMIT 10 OFFSET 1000"
    for queries in 1, 10, 100:
        few = f"(SELECT * FROM queries WHERE id <= {queries})"
        yield (
            f"LATERAL, {queries} queries",
            f"SELECT q.id, n.id FROM {few} q, LATERAL (SELECT id FROM words ORDER BY array_distance(v, q.q) LIMIT 10) n",
        )
        yield (
            f"LATERAL, {queries} queries, a filter",
            f"SELECT q.id, n.id FROM {few} q,"
            " LATERAL (SELECT id FROM words WHERE id < 1000 ORDER BY array_distance(v, q.q) LIMIT 10) n",
        )
        yield f"pairs, {queries} queries", f"SELECT q.id, w.id FROM {few} q JOIN words w ON array_distance(w.v, q.q) < 0.8"


def timed(con, sql, parameters, index):
    con.execute(f"SET disabled_optimizers = '{'' if index else 'extension'}'")
    start = time.perf_counter()
    con.execute(sql, parameters).fetchall()
    return (time.perf_counter() - start) * 1e3


def measure(con, sql, parameters, rounds):
    """Median milliseconds with the index and without."""
    used = {name: value for name, value in parameters.items() if f"${name}" in sql}
    for index in True, False:
        timed(con, sql, used, index)
    times = [[timed(con, sql, used, index) for index in (True, False)] for _ in range(rounds)]
    return [statistics.median(column) for column in zip(*times)]


def is_slow(index_ms, own_ms):
    return index_ms > FACTOR * own_ms + MARGIN_MS


def main():
    args = arguments()
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "overhead.duckdb"
        with connect(args.extension, path, 2) as con:
            fill(con, args.words, args.queries)
        con = connect(args.extension, path, args.threads)
        parameters = {
            "q": con.execute("SELECT q FROM queries WHERE id = 7").fetchone()[0],
            "p": con.execute("SELECT v FROM points WHERE id = 4321").fetchone()[0],
        }
        slow = total = 0
        if not args.json:
            print("| statement | index, ms | DuckDB alone, ms | |\n|---|---:|---:|---|")
        for name, sql in statements():
            if args.only not in name:
                continue
            index_ms, own_ms = measure(con, sql, parameters, args.rounds)
            total += 1
            slow += is_slow(index_ms, own_ms)
            if args.json:
                print(json.dumps({"statement": name, "index_ms": index_ms, "own_ms": own_ms}), flush=True)
            else:
                mark = "slow" if is_slow(index_ms, own_ms) else ""
                print(f"| {name} | {index_ms:.2f} | {own_ms:.2f} | {mark} |", flush=True)
        print(f"{slow} of {total} statements are slower with the index", file=sys.stderr)


if __name__ == "__main__":
    main()
