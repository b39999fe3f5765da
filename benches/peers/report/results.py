"""The measurements, what follows from single ones, and the lists that are collected from all of them."""

import math
import statistics
from dataclasses import dataclass, field

RECALL = 0.95


@dataclass
class Results:
    """`stages`: the JSON of each stage by its name."""

    stages: dict
    losses: dict = field(default_factory=dict)
    aims: list = field(default_factory=list)

    def contests(self, prefix):
        """Name after the prefix → contest."""
        return {n.removeprefix(prefix): c for n, c in sorted(self.stages.items()) if n.startswith(prefix)}

    def compare(self, what, ours, peers, unit, higher=False):
        """Notes every peer (label → figure) that does better than we."""
        for label, value in peers.items():
            if ours is None or value is None:
                continue
            factor = value / ours if higher else ours / value
            if factor > 1:
                better = self.losses.setdefault(f"{what}: `vss` {number(ours)} {unit}", [])
                better.append((factor, f"{label} {number(value)} ({factor:.2f} ×)"))

    def losses_list(self):
        """A line for each figure of ours, with all that are better."""
        if not self.losses:
            return "Nowhere in this run."
        lines = []
        for what, better in self.losses.items():
            lines.append(f"- {what}; " + ", ".join(peer for _, peer in sorted(better, reverse=True)))
        return "\n".join(lines)

    def aim(self, what, measured, wanted, least=False):
        """A ratio and its bound."""
        if measured is not None:
            self.aims.append((what, measured, wanted, least))

    def aims_table(self):
        rows = []
        for what, measured, wanted, least in self.aims:
            reached = measured >= wanted if least else measured <= wanted
            bound = f"{'≥' if least else '≤'} {wanted}"
            rows.append([what, number(measured), bound, "yes" if reached else "**no**"])
        return table(["ratio", "measured", "aim", "reached"], rows)


def table(head, rows):
    lines = ["| " + " | ".join(head) + " |", "|" + "---|" * len(head)]
    return "\n".join(lines + ["| " + " | ".join(row) + " |" for row in rows])


def number(value, digits=3):
    """Three significant digits, or a dash."""
    if value is None:
        return "–"
    if value == 0 or math.isinf(value):
        return f"{value:.0f}"
    decimals = max(0, digits - 1 - math.floor(math.log10(abs(value))))
    return f"{value:,.{decimals}f}"


def build(record, threads):
    """Median seconds."""
    times = [b["seconds"] for b in record["builds"] if b["threads"] == threads]
    return statistics.median(times) if times and record.get("approximate") else None


def bytes_of(record):
    """Of the index: in memory if known, else on disk; and which of them."""
    last = record["builds"][-1] if record["builds"] else {}
    for kind in ("memory", "disk"):
        if last.get(kind):
            return last[kind], kind
    return None, None


def grown(record):
    """Bytes by which the process grew when it built for the first time: later builds find the memory there."""
    first = record["builds"][0] if record["builds"] and record.get("approximate") else {}
    return first.get("resident")


def at_width(record, width=None):
    """Single queries at the chosen width, or at another: the measurement, or None."""
    return record["widths"].get(str(width or record.get("width")))


def p50(measurement):
    """Median over rounds of each round's median, milliseconds."""
    return statistics.median(measurement["p50"]) if measurement else None


def p99(measurement):
    times = sorted(measurement["ms"]) if measurement else []
    return times[min(len(times) - 1, round(0.99 * len(times)))] if times else None


def recall(measurement):
    return statistics.mean(measurement["recall"]) if measurement else None


def rate(record, threads, width=None):
    """Queries a second of a batch, median."""
    batch = record["batches"].get(f"{width or record.get('width')} {threads}")
    return batch["queries"] / statistics.median(batch["seconds"]) if batch else None


def inserted(record):
    return statistics.median(record["inserted"]["ms"]) if "inserted" in record else None


def curve(record):
    """Recall and seconds a query on one thread, by width: from batches where there are, else from single queries."""
    points = []
    for key, batch in record["batches"].items():
        width, threads = map(int, key.split())
        if threads == 1:
            seconds = statistics.median(batch["seconds"]) / batch["queries"]
            points.append((width, statistics.mean(batch["recall"]), seconds))
    if len(points) < 2:
        points = [(int(w), recall(m), p50(m) / 1e3) for w, m in record["widths"].items()]
    return [(found, seconds) for _, found, seconds in sorted(points)]


def seconds_at(record, wanted):
    """Seconds a query at a recall, between the measured widths; None if none of them finds as much."""
    points = curve(record)
    if not points or max(found for found, _ in points) < wanted:
        return None
    before = None
    for found, seconds in points:
        if found >= wanted:
            if before is None or found == before[0]:
                return seconds
            share = (wanted - before[0]) / (found - before[0])
            return math.exp(math.log(before[1]) * (1 - share) + math.log(seconds) * share)
        before = (found, seconds)
    return None


def ratio(a, b):
    return a / b if a is not None and b else None


def label(name, record):
    return record.get("version") or name
