"""What is measured of `vss` alone: writes, strategies of filtered searches, growth."""

import statistics

from peers.report.results import number, table
from peers.report.systems import BOUND, bound

STRATEGIES = ["exact", "recheck", "filtered", "auto"]


def blocks(results):
    made = {}
    for name, block in (("writes", writes), ("filters", filters), ("growth", growth)):
        if results.stages.get(name):
            made[name] = block(results, results.stages[name])
    return made


def writes(results, lines):
    by = {line["what"]: line for line in lines}
    single = {name: statistics.median(ms) for name, ms in by["single"]["ms"].items()}
    bulk, reads = by["bulk"], by["reads"]
    built = bulk["build_rows"] / bulk["build"]
    returned, linked = bulk["rows"] / bulk["returned"], bulk["rows"] / bulk["linked"]
    idle, busy = reads["ms"]["idle"], reads["ms"]["busy"]
    many = f"`INSERT … SELECT` of {bulk['rows']:,} rows"
    results.aim("single-row INSERT in turn with one into a plain table", single["indexed"] / single["plain"], 1.5)
    results.aim(f"{many}: rows a second until linked / those of the build", linked / built, 0.8, least=True)
    results.aim("query p50 while rows are inserted and linked / on an idle database", busy[0] / idle[0], 1.5)
    rows = [
        [f"single-row INSERT, {by['single']['rows']:,} rows, no index", f"{number(single['plain'])} ms"],
        ["the same with an index", f"{number(single['indexed'])} ms"],
        [f"CREATE INDEX over {bulk['build_rows']:,} rows", f"{number(built)} rows/s"],
        [f"{many}, until it returns", f"{number(returned)} rows/s"],
        [f"{many}, until they are linked", f"{number(linked)} rows/s"],
        ["top-10 query, idle", f"p50 {number(idle[0])} ms, p99 {number(idle[1])} ms"],
        ["top-10 query while such rows are inserted and linked", f"p50 {number(busy[0])} ms, p99 {number(busy[1])} ms"],
    ]
    return table(["", "measured"], rows)


def filters(results, lines):
    rows = []
    for line in lines:
        cells = [f"{number(line['ms'][s])} ms, {line['recall'][s]:.3f}" for s in STRATEGIES]
        rows.append([line["filter"], f"{number(line['plan_ms'])} ms", *cells, f"{line['ratio']:.2f}"])
        what = f"filter '{line['filter']}'"
        results.compare(what, line["ms"]["auto"], {"DuckDB without the index": line["plan_ms"]}, "ms")
    return table(["rows that qualify", "exact plan", *STRATEGIES, "chosen / best"], rows)


def growth(results, lines):
    head = [
        "rows",
        "build s",
        "query p50 ms",
        "bare search ms",
        "recall",
        "bytes a vector",
        "bound",
        "`duckdb_memory()` / growth of the process",
        "checkpoint s",
        "file bytes a vector",
    ]
    rows = []
    for line in lines:
        count = line["rows"]
        accounted = line["accounted_bytes"] / max(1, line["resident_bytes"])
        rows.append(
            [
                f"{count:,}",
                number(line["build"]),
                number(line["query_ms"]),
                number(line["core_ms"]),
                f"{line['recall']:.3f}",
                number(line["index_bytes"] / count),
                number(bound(line["dimensions"])),
                f"{accounted:.2f}",
                number(line["checkpoint"]),
                number(line["file_bytes"] / count),
            ]
        )
    last = lines[-1]
    where = f"{last['rows']:,} × {last['dimensions']}"
    grown = last["accounted_bytes"] / max(1, last["resident_bytes"])
    results.aim(f"`duckdb_memory()` / growth of the process, {where}", grown, 1.05)
    results.aim(f"`duckdb_memory()` / growth of the process, {where}, at least", grown, 0.95, least=True)
    per_vector = last["index_bytes"] / last["rows"]
    results.aim(f"bytes a vector / {BOUND}, {where}", per_vector / bound(last["dimensions"]), 1.1)
    return f"{lines[0]['dimensions']} dimensions:\n\n{table(head, rows)}"
