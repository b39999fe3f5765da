"""Vectors in fewer bytes: libraries beside the bare core, then systems through their clients."""

from peers.report.results import at_width, build, bytes_of, label, number, p50, rate, ratio, recall, seconds_at, table
from peers.report.systems import shape

LIBRARIES = ["library", "build s", "bytes a vector", "ef", "recall", "µs a query", "recall at 16 / 64 / 256", "core sq8's time at this recall"]
SYSTEMS = ["system", "build s", "bytes a vector", "ef", "recall", "p50 ms"]


def blocks(results):
    made = {}
    contests = results.contests("quantized-")
    systems = contests.pop("systems", None)
    if contests:
        parts = [f"{shape(contest)}:\n\n{libraries(results, contest)}" for contest in contests.values()]
        made["quantized"] = "\n\n".join(parts)
    if systems:
        made["quantized-systems"] = clients(systems)
    return made


def title(name, record):
    text = label(name, record)
    return f"**{text}**" if name.split(":")[0] in ("core", "vss") else text


def reason(record):
    """Without the path of its log."""
    return record["failed"].partition("; see ")[0]


def size(contest, record):
    found, kind = bytes_of(record)
    return f"{found / contest['rows']:,.0f}{' on disk' if kind == 'disk' else ''}" if found else "–"


def width(record):
    return str(record["width"]) if record["enough"] else f"{record['width']} (no more found)"


def libraries(results, contest):
    ours = contest["systems"].get("core:sq8")
    rows = []
    for name, record in contest["systems"].items():
        if "failed" in record:
            rows.append([title(name, record), f"not measured: {reason(record)}", *[""] * (len(LIBRARIES) - 2)])
            continue
        batches = {int(key.split()[0]): batch for key, batch in record["batches"].items()}
        recalls = [sum(batches[ef]["recall"]) / len(batches[ef]["recall"]) for ef in (16, 64, 256)]
        per_second = rate(record, 1)
        share = None
        if ours and "failed" not in ours and not name.startswith("core"):
            share = ratio(seconds_at(ours, record["recall"]), 1 / per_second)
            results.compare(
                f"core's search with sq8 at recall {record['recall']:.3f}, {shape(contest)}",
                share and share * 1e6 / per_second,
                {label(name, record): 1e6 / per_second},
                "µs",
            )
        rows.append(
            [
                title(name, record),
                number(build(record, 2)),
                size(contest, record),
                width(record),
                f"{record['recall']:.3f}",
                number(1e6 / per_second),
                " / ".join(f"{found:.3f}" for found in recalls),
                f"{share:.2f} ×" if share else "–",
            ]
        )
    return table(LIBRARIES, rows)


def clients(contest):
    rows = []
    for name, record in contest["systems"].items():
        if "failed" in record:
            rows.append([title(name, record), f"not measured: {reason(record)}", *[""] * (len(SYSTEMS) - 2)])
            continue
        single = at_width(record)
        row = [title(name, record), number(build(record, 2)), size(contest, record), width(record), f"{recall(single):.3f}"]
        rows.append([*row, number(p50(single))])
    return table(SYSTEMS, rows)
