"""All systems through their clients."""

from peers.report.results import (
    at_width,
    build,
    bytes_of,
    grown,
    inserted,
    label,
    number,
    p50,
    p99,
    rate,
    ratio,
    recall,
    table,
)

OURS = "vss"
BOUND = "(4·d + 4·(m0 + upper levels) + 24)"
HEAD = [
    "system",
    "build s",
    "ef",
    "recall",
    "p50 ms",
    "p99 ms",
    "batch 1 / 2 threads, q/s",
    "INSERT ms",
    "bytes a vector",
    "process grew",
]


def blocks(results):
    """The machine, a table for each set, and what only `words` was asked."""
    made = {}
    if "machine" in results.stages:
        made["machine"] = machine(results.stages["machine"])
    for name, contest in results.contests("systems-").items():
        made[f"systems-{name}"] = overview(contest)
        losses(results, contest)
        if name == "words":
            made["forms"] = forms(results, contest)
            made["filtered-systems"] = filtered(contest)
            aims(results, contest)
    return made


def machine(facts):
    what = f"{facts['cores']} cores of {facts['processor']} ({facts['vector']}), {facts['gibibytes']} GiB"
    return f"Machine: {what}; {facts['date']}, commit {facts['commit']}; load when it began {facts['load']:.1f}."


def shape(contest):
    return f"{contest['rows']:,} × {contest['dimensions']}, {contest['metric']}"


def overview(contest):
    rows = []
    for name, record in contest["systems"].items():
        title = f"**{label(name, record)}**" if name == OURS else label(name, record)
        if "failed" in record:
            rows.append([title, f"not measured: {record['failed']}", *[""] * (len(HEAD) - 2)])
            continue
        single = at_width(record)
        size, kind = bytes_of(record)
        width = str(record["width"]) if record["approximate"] else "exact"
        batches = [number(rate(record, threads)) for threads in (1, 2)]
        rows.append(
            [
                title,
                number(build(record, 2)),
                width if record["enough"] else f"{width} (no more found)",
                f"{record['recall']:.3f}",
                number(p50(single)),
                number(p99(single)),
                " / ".join(batches) if batches != ["–", "–"] else "–",
                number(inserted(record)),
                f"{size / contest['rows']:,.0f} {'on disk' if kind == 'disk' else ''}".strip() if size else "–",
                f"{grown(record) / contest['rows']:,.0f}" if grown(record) else "–",
            ]
        )
    text = f"{shape(contest)}:\n\n{table(HEAD, rows)}"
    problems = [f"- {label(n, r)}: {p}" for n, r in contest["systems"].items() for p in r["problems"]]
    return text + ("\n\nWhat failed:\n\n" + "\n".join(problems) if problems else "")


def losses(results, contest):
    """Every column; a search that finds too little is no competition."""
    systems = {n: r for n, r in contest["systems"].items() if "failed" not in r}
    ours = systems.pop(OURS, None)
    if ours is None:
        return
    # the bare core is ours as well
    peers = {label(n, r): r for n, r in systems.items() if n != "core"}
    finding = {n: r for n, r in peers.items() if r["enough"]}
    where = shape(contest)

    def compare(what, of, figure, unit, higher=False):
        results.compare(f"{what}, {where}", figure(ours), {n: figure(r) for n, r in of.items()}, unit, higher)

    compare("build", peers, lambda r: build(r, 2), "s")
    compare("query p50", finding, lambda r: p50(at_width(r)), "ms")
    compare("query p99", finding, lambda r: p99(at_width(r)), "ms")
    for threads in (1, 2):
        name = f"batch on {threads} thread{'s' if threads > 1 else ''}"
        compare(name, finding, lambda r: rate(r, threads), "queries/s", higher=True)
    compare("single-row INSERT p50", peers, inserted, "ms")
    compare("bytes of the index a vector", peers, lambda r: ratio(bytes_of(r)[0], contest["rows"]), "bytes")
    for percent in ours["filtered"]:

        def figure(record):
            measured = record["filtered"].get(percent)
            return p50(measured) if measured and recall(measured) >= 0.95 else None

        compare(f"filter that {percent} % of the rows pass, p50", finding, figure, "ms")


def forms(results, contest):
    """How a query gets in, and what the same statement costs without a search."""
    ours, core = contest["systems"].get(OURS), contest["systems"].get("core")
    rows = []
    for system in (OURS, "official", "exact"):
        record = contest["systems"].get(system, {"forms": {}})
        for form, measured in record["forms"].items():
            found = "–" if ", " in form else f"{recall(measured):.3f}"
            rows.append([label(system, record), form, number(p50(measured)), number(p99(measured)), found])
    if core and ours and "width" in ours:
        same = at_width(core, ours["width"])
        times = [number(p50(same)), number(p99(same))]
        rows.append([label("core", core), "the same width", *times, f"{recall(same):.3f}"])
    return table(["system", "query vector", "p50 ms", "p99 ms", "recall"], rows)


def filtered(contest):
    systems = {n: r for n, r in contest["systems"].items() if r["filtered"]}
    percents = list(next(iter(systems.values()))["filtered"]) if systems else []
    rows = []
    for percent in percents:
        measured = [record["filtered"].get(percent) for record in systems.values()]
        rows.append([f"{percent} %", *(f"{number(p50(m))} ms, {recall(m):.3f}" if m else "–" for m in measured)])
    return table(["rows that pass", *(label(n, r) for n, r in systems.items())], rows)


def aims(results, contest):
    systems = contest["systems"]
    ours, core = systems.get(OURS), systems.get("core")
    if not ours or "width" not in ours:
        return
    single = {form: p50(measured) for form, measured in ours["forms"].items()}
    if core and "width" in core:
        bare = p50(at_width(core, ours["width"]))
        results.aim("CREATE INDEX / build of the bare core", ratio(build(ours, 2), build(core, 2)), 1.15)
        for form in ("list", "blob"):
            floor, bind = single.get(f"one row, {form}"), single.get(f"bind, {form}")
            if floor and bind and single.get(form):
                what = f"query ({form}) / (one-row table + 1.3 × bare core)"
                results.aim(what, single[form] / (floor + 1.3 * bare), 1)
                results.aim(f"query ({form}) / (bind + 2 × bare core)", single[form] / (bind + 2 * bare), 1)
        for threads in (1, 2):
            what = f"LATERAL / bare core, searches a second on {threads} thread{'s' if threads > 1 else ''}"
            results.aim(what, ratio(rate(ours, threads), rate(core, threads)), 0.8, least=True)
    for name, wanted in (("official", 30), ("pgvector", 2.4)):
        peer = systems.get(name)
        if peer and "width" in peer:
            best = min(single.get("list", 1e9), single.get("blob", 1e9))
            what = f"{label(name, peer)} / `vss`, p50 with a parameter"
            results.aim(what, ratio(p50(at_width(peer)), best), wanted, least=True)
    official = systems.get("official")
    if official and "width" in official:
        what = "LATERAL / the official extension's, searches a second on 2 threads"
        results.aim(what, ratio(rate(ours, 2), rate(official, 2)), 100, least=True)
    exact = systems.get("exact")
    if exact and inserted(exact):
        results.aim("single-row INSERT / the same without an index", ratio(inserted(ours), inserted(exact)), 1.5)
    size, _ = bytes_of(ours)
    if size:
        per_vector = size / contest["rows"]
        results.aim(f"bytes a vector / {BOUND}, {shape(contest)}", per_vector / bound(contest["dimensions"]), 1.1)


def bound(dimensions, m=16):
    """`BOUND` with default options: a node is on `1 / (m - 1)` upper levels in the mean, with m links on each."""
    return 4 * dimensions + 4 * (2 * m + m / (m - 1)) + 24
