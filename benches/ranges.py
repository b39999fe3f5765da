"""All rows within a distance, and all pairs: the index beside DuckDB's own plan, as a table.

Usage: ranges.py EXTENSION WORDS.parquet [--rows ROWS] [--quantization none|sq8|sq4] [--rounds ROUNDS] [--probes PROBES]

60,000 sentence embeddings of 384 dimensions, cosine, default options. For each number of rows within the distance: `count(*)`, an id, and
whole rows, the query vector as a parameter. The plans take turns, round by round; the time is the median of the whole query,
the client included. Both must have the same answer. Then the pairs of the first PROBES words with all words, once by each plan.
"""

import argparse
import statistics
import time

import duckdb

HITS = [1, 10, 100, 1_000, 3_000, 6_000, 20_000]
SELECTED = {"count(*)": "count(*)", "id": "id", "all": "*"}
PAIRS = [0.05, 0.1, 0.2, 0.3]
DISTANCE = "array_cosine_distance(embedding, $q::FLOAT[384])"


def arguments():
    parser = argparse.ArgumentParser()
    parser.add_argument("extension")
    parser.add_argument("words")
    parser.add_argument("--rows", type=int, default=60_000)
    parser.add_argument("--quantization", default="none")
    parser.add_argument("--rounds", type=int, default=9)
    parser.add_argument("--probes", type=int, default=500)
    return parser.parse_args()


def timed(con, sql, parameters):
    """Milliseconds, and the answer. As Arrow, since making Python's rows of them takes longer than either plan."""
    begin = time.perf_counter()
    table = con.sql(sql, params=parameters).to_arrow_table()
    return (time.perf_counter() - begin) * 1e3, table


def main():
    given = arguments()
    con = duckdb.connect(config={"allow_unsigned_extensions": "true"})
    con.execute(f"LOAD '{given.extension}'")
    con.execute(f"CREATE TABLE words AS FROM '{given.words}' LIMIT {given.rows}")
    con.execute("SET VARIABLE q = (SELECT embedding FROM words LIMIT 1 OFFSET 1000)")
    q = con.execute("SELECT getvariable('q')").fetchall()[0][0]
    con.execute(
        "CREATE INDEX w ON words USING HNSW (embedding)"
        f" WITH (metric = 'cosine', quantization = '{given.quantization}')"
    )
    ranks = con.execute(f"SELECT {DISTANCE} AS d FROM words ORDER BY d", {"q": q}).fetchnumpy()["d"]
    print(f"{len(ranks):,} rows, {given.quantization}: median ms of {given.rounds} rounds, index / table = ratio")
    for hits in HITS:
        if hits >= len(ranks):
            break
        radius = float((ranks[hits - 1] + ranks[hits]) / 2)
        cells = []
        for name, selected in SELECTED.items():
            sql = f"SELECT {selected} FROM words WHERE {DISTANCE} < $r"
            times = {"index": [], "table": []}
            rows = {}
            for _ in range(given.rounds):
                for plan, disabled in (("index", ""), ("table", "extension")):
                    con.execute(f"SET disabled_optimizers = '{disabled}'")
                    milliseconds, table = timed(con, sql, {"q": q, "r": radius})
                    times[plan].append(milliseconds)
                    rows[plan] = sorted(str(row) for row in table.to_pylist())
            assert rows["index"] == rows["table"], f"another answer: {sql}"
            index, table = (statistics.median(times[plan]) for plan in ("index", "table"))
            cells.append(f"{name} {index:.1f} / {table:.1f} = {table / index:.1f}")
        print(f"{hits:>6,} within: " + ", ".join(cells), flush=True)
    con.execute(f"CREATE TABLE probes AS SELECT rowid AS word, embedding FROM words LIMIT {given.probes}")
    print(f"pairs of {given.probes:,} words with all of them: s, index / table = ratio")
    for radius in PAIRS:
        sql = (
            "SELECT probes.word, words.rowid AS other FROM probes JOIN words ON probes.word < words.rowid"
            f" AND array_cosine_distance(probes.embedding, words.embedding) < {radius}"
        )
        seconds, pairs = {}, {}
        for plan, disabled in (("index", ""), ("table", "extension")):
            con.execute(f"SET disabled_optimizers = '{disabled}'")
            milliseconds, table = timed(con, sql, {})
            seconds[plan] = milliseconds / 1e3
            pairs[plan] = sorted(str(row) for row in table.to_pylist())
        assert pairs["index"] == pairs["table"], f"another answer: {sql}"
        index, table = seconds["index"], seconds["table"]
        print(f"{len(pairs['index']):>6,} nearer than {radius}: {index:.2f} / {table:.2f} = {table / index:.0f}", flush=True)


if __name__ == "__main__":
    main()
