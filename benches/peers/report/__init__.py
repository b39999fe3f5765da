"""Writes what was measured into docs/benchmarks.md, between markers, and docs/plots.

`<!-- measured: NAME -->` … `<!-- end -->`: what lies between is replaced by the block of that name, if there is one.
Everything outside is written by hand.
"""

import json
import re

from peers.report import libraries, plots, quantized, scripts, systems
from peers.report.results import Results


def write(results_directory, docs):
    results = Results({path.stem: json.loads(path.read_text()) for path in results_directory.glob("*.json")})
    # the order is that of the list of losses
    blocks = {**systems.blocks(results), **libraries.blocks(results), **quantized.blocks(results), **scripts.blocks(results)}
    blocks["losses"] = results.losses_list()
    blocks["aims"] = results.aims_table()
    text = (docs / "benchmarks.md").read_text()
    for name, block in blocks.items():
        marker = re.compile(rf"(<!-- measured: {name} -->\n).*?(<!-- end -->)", re.DOTALL)
        if not marker.search(text):
            raise SystemExit(f"docs/benchmarks.md has no place for '{name}'")
        text = marker.sub(lambda match: f"{match[1]}\n{block.strip()}\n\n{match[2]}", text)
    (docs / "benchmarks.md").write_text(text)
    plots.draw(results, docs / "plots")
