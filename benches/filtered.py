"""Filtered searches by each strategy: latency and recall at each selectivity, as a table for docs/benchmarks.md.

Usage: filtered.py EXTENSION WORDS.parquet QUERIES.parquet [queries]

60,000 sentence embeddings of 384 dimensions, l2sq, default options, k = 10, one thread. The time is that of the whole
query, the filter included: the best of some rounds, and the mean of that over the queries. The exact plan is DuckDB's
without the extension; recall is against its answers.
"""

import sys
import time

import duckdb

SELECTIVITIES = [100, 50, 20, 10, 4, 1, 0.1, 0.03]
STRATEGIES = ["exact", "recheck", "filtered", "auto"]
ROUNDS = 3
# A strategy that finds less is not the best, however fast.
RECALL = 0.95


def connect(extension, words, queries, count):
    con = duckdb.connect(config={"allow_unsigned_extensions": "true", "threads": 1})
    con.load_extension(extension)
    con.execute(
        f"CREATE TABLE words AS SELECT id, category, hash(id) % 10000 AS part, embedding::FLOAT[384] AS v"
        f" FROM read_parquet('{words}')"
    )
    con.execute("CREATE INDEX by_v ON words USING HNSW (v)")
    vectors = con.execute(f"SELECT embedding::FLOAT[384] FROM read_parquet('{queries}') LIMIT {count}").fetchall()
    return con, [vector for (vector,) in vectors]


def filters(con, vectors):
    """Name and, for each query, a predicate."""
    for percent in SELECTIVITIES:
        yield f"{percent} %", [f"part < {percent * 100}"] * len(vectors)
    nearest = "SELECT category FROM words ORDER BY array_distance(v, $q::FLOAT[384]) LIMIT 1"
    categories = [con.execute(nearest, {"q": q}).fetchone()[0] for q in vectors]
    yield "the category of the nearest row", [f"category = '{c}'" for c in categories]
    yield "all other categories", [f"category <> '{c}'" for c in categories]
    yield "one category (6 %)", ["category = 'noun.animal'"] * len(vectors)
    yield "one category (0.03 %)", ["category = 'noun.motive'"] * len(vectors)
    median = "SELECT median(array_distance(v, $q::FLOAT[384])) FROM words"
    medians = [con.execute(median, {"q": q}).fetchone()[0] for q in vectors]
    con.execute("CREATE TABLE far (query INTEGER, id INTEGER)")
    for number, (q, m) in enumerate(zip(vectors, medians)):
        con.execute(
            f"INSERT INTO far SELECT {number}, id FROM words WHERE array_distance(v, $q::FLOAT[384]) > {m}", {"q": q}
        )
    yield "the farther half", [f"id IN (SELECT id FROM far WHERE query = {n})" for n in range(len(vectors))]


def answer(con, q, predicate):
    """Milliseconds, and the ids."""
    sql = f"SELECT id FROM words WHERE {predicate} ORDER BY array_distance(v, $q::FLOAT[384]) LIMIT 10"
    start = time.perf_counter()
    rows = con.execute(sql, {"q": q}).fetchall()
    return (time.perf_counter() - start) * 1e3, {row for (row,) in rows}


def main():
    extension, words, queries = sys.argv[1:4]
    con, vectors = connect(extension, words, queries, int(sys.argv[4]) if len(sys.argv) > 4 else 50)
    print("| rows that qualify | exact plan | " + " | ".join(STRATEGIES) + " | chosen / best |")
    print("|---|---|" + "---|" * len(STRATEGIES) + "---|")
    for name, predicates in filters(con, vectors):
        plan_ms = found_exact = 0.0
        total, found = dict.fromkeys(STRATEGIES, 0.0), dict.fromkeys(STRATEGIES, 0)
        for q, predicate in zip(vectors, predicates):
            con.execute("SET disabled_optimizers = 'extension,late_materialization'")
            ms, exact = min((answer(con, q, predicate) for _ in range(2)), key=lambda pair: pair[0])
            con.execute("RESET disabled_optimizers")
            plan_ms += ms
            found_exact += len(exact)
            best = dict.fromkeys(STRATEGIES, float("inf"))
            # in turn, so that a change of the machine's speed meets all of them
            for _ in range(ROUNDS):
                for strategy in STRATEGIES:
                    con.execute(f"SET hnsw_strategy = '{strategy}'")
                    ms, ids = answer(con, q, predicate)
                    best[strategy] = min(best[strategy], ms)
            for strategy in STRATEGIES:
                con.execute(f"SET hnsw_strategy = '{strategy}'")
                total[strategy] += best[strategy]
                found[strategy] += len(answer(con, q, predicate)[1] & exact)
        count = len(vectors)
        recall = {s: found[s] / max(1, found_exact) for s in STRATEGIES}
        cells = [f"{total[s] / count:.1f} ms, {recall[s]:.3f}" for s in STRATEGIES]
        ratio = total["auto"] / min(total[s] for s in STRATEGIES if recall[s] >= RECALL)
        print(f"| {name} | {plan_ms / count:.1f} ms | " + " | ".join(cells) + f" | {ratio:.2f} |", flush=True)


if __name__ == "__main__":
    main()
