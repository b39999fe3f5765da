"""The bare core beside libraries, without clients."""

from peers.contest import WIDTHS
from peers.report.results import build, curve, label, number, rate, ratio, seconds_at, table
from peers.report.systems import shape

OURS = "core"
RIVALS = ("hnswlib", "faiss")
HEAD = [
    "library",
    "build s, 1 thread",
    "2 threads",
    "scaling",
    "ef",
    "recall",
    "µs a query",
    "q/s, 2 threads",
    "core's time at this recall",
]


def blocks(results):
    made = []
    for contest in results.contests("libraries-").values():
        made.append(f"{shape(contest)}:\n\n{overview(results, contest)}")
    return {"libraries": "\n\n".join(made)} if made else {}


def scaling(record):
    """Seconds on one thread / (2 × seconds on two)."""
    one, two = build(record, 1), build(record, 2)
    return one / (2 * two) if one and two else None


def micros(record):
    per_second = rate(record, 1)
    return 1e6 / per_second if per_second else None


def overview(results, contest):
    core = contest["systems"].get(OURS)
    rows = []
    for name, record in contest["systems"].items():
        title = f"**{label(name, record)}**" if name == OURS else label(name, record)
        if "failed" in record:
            rows.append([title, f"not measured: {record['failed']}", *[""] * (len(HEAD) - 2)])
            continue
        share = None
        if core and "failed" not in core and name != OURS:
            share = ratio(seconds_at(core, record["recall"]), 1 / rate(record, 1))
            compare(results, contest, core, name, record, share)
        rows.append(
            [
                title,
                number(build(record, 1)),
                number(build(record, 2)),
                f"{scaling(record):.0%}" if scaling(record) else "–",
                str(record["width"]) if record["enough"] else f"{record['width']} (no more found)",
                f"{record['recall']:.3f}",
                number(micros(record)),
                number(rate(record, 2)),
                f"{share:.2f} ×" if share else "–",
            ]
        )
    if core and "failed" not in core:
        results.aim(f"build on 1 thread / (2 × on 2 threads), core, {shape(contest)}", scaling(core), 0.9, least=True)
    return table(HEAD, rows)


def compare(results, contest, core, name, record, share):
    """With the width of the core between those measured, so that both find as much."""
    where, peer = shape(contest), label(name, record)
    for threads in (1, 2):
        what = f"core's build on {threads} thread{'s' if threads > 1 else ''}, {where}"
        results.compare(what, build(core, threads), {peer: build(record, threads)}, "s")
    if share:
        theirs = micros(record)
        what = f"core's search at recall {record['recall']:.3f}, {where}"
        results.compare(what, share * theirs, {peer: theirs}, "µs")
    else:
        what = f"core's recall at width {max(WIDTHS)}, {where}"
        results.compare(what, max(found for found, _ in curve(core)), {peer: record["recall"]}, "", higher=True)
    if name in RIVALS:
        results.aim(f"core / {peer}: build on 1 thread, {where}", ratio(build(core, 1), build(record, 1)), 0.9)
        results.aim(f"core / {peer}: search at equal recall, {where}", share, 0.9)
