"""What is measured, in the order of the report."""

from peers import data
from peers.contest import K, WIDTHS, Contest

#: In the order in which they take turns.
SYSTEMS = "vss exact official pgvector lancedb chdb sqlite_vec usearch hnswlib faiss core".split()
LIBRARIES = "core usearch hnswlib faiss".split()
#: How vectors are kept in fewer bytes: the bare core beside libraries, and what has a client.
QUANTIZED = "core core:sq8 core:sq4 faiss faiss:sq8 faiss:sq4 faiss:rabitq usearch:i8 usearch:b1 glass:sq8 svs:lvq8 svs:lvq4x8".split()
QUANTIZED += "rabitq:7".split()
QUANTIZED_SYSTEMS = "vss vss:sq8 vss:sq4 pgvector pgvector:halfvec pgvector:bit lancedb lancedb:rq".split()
NAMES = list(dict.fromkeys(SYSTEMS + QUANTIZED + QUANTIZED_SYSTEMS))

M = 16
EF_CONSTRUCTION = 128
WIDE = 1_024
METRICS = ("cosine", "l2sq", "ip")
#: Percent of the rows that pass a filter.
PERCENTS = (50, 20, 10, 4, 1, 0.1)
#: Single queries of one round, at most; slow systems do fewer.
QUERIES = 200
#: Of one round with a filter.
FILTERED_QUERIES = 50
INSERTS = 300
GROWTH_DIMENSIONS = 64
THREADS = (1, 2)


def systems(run):
    """All of them through their clients."""
    options = run.options
    sets = {"words": run.words(options.rows), "wide": run.clustered(options.wide_rows, WIDE)}
    for name, data_set in sets.items():
        metric = "cosine"
        exact = data.truth(data_set, metric, K)
        contest = Contest(name, data_set, exact, run.systems(SYSTEMS, data_set, metric), run.say)
        main = name == "words"
        contest.builds(options.builds if main else 1, [2])
        contest.searches(options.rounds, QUERIES)
        if main:
            contest.forms(options.rounds, QUERIES)
            truths = {p: data.truth(data_set, metric, K, p, FILTERED_QUERIES * options.rounds) for p in PERCENTS}
            contest.filtered(options.rounds, FILTERED_QUERIES, truths)
        contest.batches(options.rounds, THREADS)
        if main:
            contest.inserts(INSERTS)
        run.keep(f"systems-{name}", contest.close())


def libraries(run):
    """The bare core beside libraries: no client, no SQL."""
    options = run.options
    sets = {"words": run.words(options.library_rows), "wide": run.clustered(options.wide_rows, WIDE)}
    for name, data_set in sets.items():
        for metric in METRICS:
            exact = data.truth(data_set, metric, K)
            title = f"{name}-{metric}"
            contest = Contest(title, data_set, exact, run.systems(LIBRARIES, data_set, metric), run.say)
            contest.builds(options.builds, THREADS)
            contest.batches(options.rounds, [1], WIDTHS)
            contest.batches(options.rounds, [2])
            run.keep(f"libraries-{title}", contest.close())


def quantized(run):
    """Vectors in fewer bytes: the bare core beside libraries, then systems through their clients."""
    options = run.options
    sets = {"words": run.words(options.rows), "wide": run.clustered(options.wide_rows, WIDE)}
    for name, data_set in sets.items():
        exact = data.truth(data_set, "cosine", K)
        contest = Contest(f"quantized {name}", data_set, exact, run.systems(QUANTIZED, data_set, "cosine"), run.say)
        contest.builds(1, [2])
        contest.batches(options.rounds, [1], WIDTHS)
        run.keep(f"quantized-{name}", contest.close())
    data_set = sets["words"]
    exact = data.truth(data_set, "cosine", K)
    contest = Contest("quantized systems", data_set, exact, run.systems(QUANTIZED_SYSTEMS, data_set, "cosine"), run.say)
    contest.builds(1, [2])
    contest.searches(options.rounds, QUERIES)
    run.keep("quantized-systems", contest.close())


def writes(run):
    """INSERT, and reads meanwhile."""
    run.keep("writes", run.script("writes.py", run.words(run.options.rows).parquet))


def filters(run):
    """Each strategy at each selectivity."""
    source = run.options.data
    words, queries = f"{source}/wordnet.parquet", f"{source}/wordnet_queries.parquet"
    run.keep("filters", run.script("filtered.py", words, queries, 20, "--json", "--rows", run.options.rows))


def growth(run):
    """Time, memory and file against the number of rows."""
    data_set = run.clustered(run.options.growth_max, GROWTH_DIMENSIONS)
    directory = run.root / "run" / "growth"
    run.keep("growth", run.script("growth.py", data_set.directory, directory, run.options.growth_max))


STAGES = {
    "systems": systems,
    "libraries": libraries,
    "quantized": quantized,
    "writes": writes,
    "filters": filters,
    "growth": growth,
    "report": None,
}
