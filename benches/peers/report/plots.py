"""The plots, as SVG. The same measurements give the same bytes."""

import math

import matplotlib

matplotlib.use("svg")
import matplotlib.pyplot as plt  # noqa: E402

from peers.report.results import at_width, build, curve, label, p50, recall  # noqa: E402

COLOURS = {
    "vss": "#d62728",
    "core": "#ff9896",
    "official": "#1f77b4",
    "exact": "#7f7f7f",
    "pgvector": "#2ca02c",
    "lancedb": "#9467bd",
    "chdb": "#8c564b",
    "sqlite_vec": "#c7c7c7",
    "usearch": "#17becf",
    "hnswlib": "#e377c2",
    "faiss": "#bcbd22",
}
SIZE = (7.2, 4.4)


def draw(results, directory):
    directory.mkdir(parents=True, exist_ok=True)
    matplotlib.rcParams.update({"svg.hashsalt": "vss", "svg.fonttype": "none", "font.size": 9})
    matplotlib.rcParams.update({"axes.grid": True, "grid.alpha": 0.3})
    for name, contest in results.contests("systems-").items():
        recall_rate(contest, directory / f"recall-{name}.svg")
        builds(contest, directory / f"build-{name}.svg")
        if any(record["filtered"] for record in contest["systems"].values()):
            filtered(contest, directory / "filtered-systems.svg")
    libraries = results.contests("libraries-")
    if libraries:
        many_curves(libraries, directory / "libraries.svg")
    if results.stages.get("filters"):
        strategies(results.stages["filters"], directory / "filtered.svg")
    if results.stages.get("growth"):
        growth(results.stages["growth"], directory / "growth.svg")


def save(figure, path):
    figure.tight_layout()
    # a date would make every drawing a new file
    figure.savefig(path, metadata={"Date": None})
    plt.close(figure)


def present(contest):
    return {name: record for name, record in contest["systems"].items() if "failed" not in record}


def style(name):
    width = 2.2 if name == "vss" else 1.3
    return {"color": COLOURS.get(name, "black"), "linewidth": width, "marker": "o", "markersize": 4}


def recall_scale(axes):
    """Nines evenly apart: 0.9, 0.99, 0.999."""

    def forward(values):
        # a recall of 1 is drawn where one of 0.9999 would be
        return [-math.log10(max(1 - value, 1e-4)) for value in values]

    ticks = [0.5, 0.8, 0.9, 0.95, 0.98, 0.99, 0.999, 1.0]
    axes.set_xticks(forward(ticks), [f"{tick:g}" for tick in ticks])
    axes.set_xlabel("recall@10")
    return forward


def recall_rate(contest, path):
    figure, axes = plt.subplots(figsize=SIZE)
    forward = recall_scale(axes)
    for name, record in present(contest).items():
        points = sorted((int(width), recall(m), 1e3 / p50(m)) for width, m in record["widths"].items())
        axes.plot(forward([p[1] for p in points]), [p[2] for p in points], label=label(name, record), **style(name))
    axes.set_yscale("log")
    axes.set_ylabel("queries a second, one at a time")
    axes.set_title(f"{contest['rows']:,} × {contest['dimensions']}, {contest['metric']}, through each system's client")
    axes.legend(fontsize=7)
    save(figure, path)


def builds(contest, path):
    times = {name: build(record, 2) for name, record in present(contest).items()}
    times = sorted(((seconds, name) for name, seconds in times.items() if seconds), reverse=True)
    figure, axes = plt.subplots(figsize=(SIZE[0], 0.5 + 0.35 * len(times)))
    names = [label(name, contest["systems"][name]) for _, name in times]
    bars = axes.barh(names, [seconds for seconds, _ in times], color=[COLOURS.get(name, "black") for _, name in times])
    axes.margins(x=0.1)
    axes.bar_label(bars, fmt="%.1f", padding=3, fontsize=8)
    axes.set_xlabel(f"seconds to index {contest['rows']:,} × {contest['dimensions']} on 2 threads")
    save(figure, path)


def many_curves(contests, path):
    columns = 3
    rows = -(-len(contests) // columns)
    figure, grid = plt.subplots(rows, columns, figsize=(10, 3.2 * rows), squeeze=False)
    for axes in grid.flat[len(contests) :]:
        axes.set_visible(False)
    for axes, contest in zip(grid.flat, contests.values()):
        forward = recall_scale(axes)
        axes.tick_params(axis="x", labelsize=6, rotation=45)
        for name, record in present(contest).items():
            recalls, rates = zip(*((found, 1 / seconds) for found, seconds in curve(record)))
            # the one of interest
            axes.plot(forward(recalls), rates, label=label(name, record), **style("vss" if name == "core" else name))
        axes.set_yscale("log")
        axes.set_title(f"{contest['rows']:,} × {contest['dimensions']}, {contest['metric']}", fontsize=8)
    grid[0][0].set_ylabel("queries a second, one thread")
    grid[0][0].legend(fontsize=6)
    save(figure, path)


def filtered(contest, path):
    figure, (time, found) = plt.subplots(1, 2, figsize=(10, 4))
    for name, record in present(contest).items():
        points = [(float(percent), m) for percent, m in record["filtered"].items()]
        if not points:
            continue
        # unfiltered is 100 %
        points = sorted([(100.0, at_width(record)), *points], key=lambda point: point[0])
        shares = [percent for percent, _ in points]
        time.plot(shares, [p50(m) for _, m in points], label=label(name, record), **style(name))
        found.plot(shares, [recall(m) for _, m in points], label=label(name, record), **style(name))
    for axes, what in ((time, "p50, milliseconds"), (found, "recall@10")):
        axes.set_xscale("log")
        axes.set_xlabel("percent of the rows that pass the filter")
        axes.set_ylabel(what)
    time.set_yscale("log")
    time.legend(fontsize=6)
    save(figure, path)


def strategies(lines, path):
    figure, axes = plt.subplots(figsize=SIZE)
    random = [line for line in lines if line["filter"].endswith("%")]
    shares = [float(line["filter"].split()[0]) for line in random]
    axes.plot(shares, [line["plan_ms"] for line in random], label="without the index", **style("exact"))
    for name in ("exact", "recheck", "filtered"):
        axes.plot(shares, [line["ms"][name] for line in random], label=name, marker="o", markersize=4, linewidth=1.2)
    axes.plot(shares, [line["ms"]["auto"] for line in random], label="what is chosen", **style("vss"))
    axes.set_xscale("log")
    axes.set_yscale("log")
    axes.set_xlabel("percent of the rows that pass the filter")
    axes.set_ylabel("milliseconds a query")
    axes.legend(fontsize=7)
    save(figure, path)


def growth(lines, path):
    rows = [line["rows"] for line in lines]
    panels = {
        "build, seconds": {"build": "build"},
        "a query, milliseconds": {"query_ms": "through SQL, p50", "core_ms": "bare search, mean"},
        "memory, MiB": {"index_bytes": "index", "accounted_bytes": "duckdb_memory()", "resident_bytes": "process"},
        "checkpoint": {"checkpoint": "seconds", "file_bytes": "file, GiB"},
    }
    scales = {"index_bytes": 2**20, "accounted_bytes": 2**20, "resident_bytes": 2**20, "file_bytes": 2**30}
    figure, grid = plt.subplots(2, 2, figsize=(9, 6))
    for axes, (title, series) in zip(grid.flat, panels.items()):
        for key, name in series.items():
            axes.plot(rows, [line[key] / scales.get(key, 1) for line in lines], label=name, marker="o", markersize=4)
        axes.set_xscale("log")
        if "query" in title:
            axes.set_ylim(bottom=0)
        else:
            axes.set_yscale("log")
        axes.set_title(title)
        axes.set_xlabel("rows")
        axes.legend(fontsize=7)
    save(figure, path)
