"""Measures `vss` beside its peers and writes docs/benchmarks.md and docs/plots: `python -m peers --help`.

Each stage leaves its measurements in ROOT/results as JSON; the report is written from what is there, so a stage can be
repeated alone.
"""

import argparse
import json
import os
import platform
import subprocess
import sys
import time
from functools import partial
from pathlib import Path

from peers import data, environments, stages
from peers.remote import PATIENCE, Remote

class Run:
    """What the stages share: options, sets, and how to start a system."""

    def __init__(self, options):
        self.options = options
        self.root = Path(options.root).resolve()
        self.extension = str(Path(options.extension).resolve())
        self.results = self.root / "results"
        self.results.mkdir(parents=True, exist_ok=True)
        self.start = time.monotonic()
        self.interpreters = {}

    def say(self, text):
        print(f"{time.monotonic() - self.start:6.0f} s  {text}", flush=True)

    def interpreter(self, system):
        """Errors: `RuntimeError` if the system cannot be installed."""
        if system not in self.interpreters:
            try:
                self.interpreters[system] = environments.python(self.root, system)
            except RuntimeError as error:
                self.interpreters[system] = error
        if isinstance(self.interpreters[system], RuntimeError):
            raise self.interpreters[system]
        return self.interpreters[system]

    def words(self, rows):
        return data.words(self.root / "sets", self.options.data, rows, self.options.queries)

    def clustered(self, rows, dimensions):
        return data.clustered(self.root / "sets", rows, dimensions, self.options.queries)

    def systems(self, names, data_set, metric):
        """Name → a function that starts it."""
        chosen = [name for name in names if self.options.only is None or name in self.options.only]
        return {name: partial(self.remote, name, data_set.directory, metric) for name in chosen}

    def remote(self, name, data_set, metric):
        """`name`: a system, or one of its variants, `system:variant`."""
        system, _, variant = name.partition(":")
        if system == "core":
            command = ["cargo", "bench", "--quiet", "--no-default-features", "-p", "vss", "--bench", "raw", "--"]
        else:
            command = [self.interpreter(system), "-m", "peers.process", system]
        directory = self.root / "run" / name.replace(":", "-")
        command += [data_set, metric, str(stages.M), str(stages.EF_CONSTRUCTION)]
        if system != "core":
            command.append(directory)
        if variant:
            command.append(variant)
        return Remote(name, list(map(str, command)), directory, {"VSS_EXTENSION": self.extension})

    def script(self, name, *arguments):
        """What a script of ours prints: a JSON object a line."""
        script = Path(__file__).parents[1] / name
        command = [self.interpreter("vss"), script, self.extension, *map(str, arguments)]
        done = subprocess.run(command, stdout=subprocess.PIPE, text=True, check=True, timeout=PATIENCE)
        return [json.loads(line) for line in done.stdout.splitlines()]

    def stage(self, name):
        """False if it failed; then nothing of it is left for the report, also nothing old."""
        self.say(f"stage {name}")
        for old in self.results.glob(f"{name}*.json"):
            old.unlink()
        try:
            stages.STAGES[name](self)
        except (subprocess.SubprocessError, OSError) as error:
            self.say(f"stage {name} failed: {error}")
            return False
        return True

    def keep(self, stage, measured):
        (self.results / f"{stage}.json").write_text(json.dumps(measured))

    def machine(self):
        with open("/proc/cpuinfo") as file:
            lines = dict(line.split(":", 1) for line in file.read().split("\n\n")[0].splitlines() if ":" in line)
        fields = {key.strip(): value.strip() for key, value in lines.items()}
        commit = ["git", "describe", "--always", "--dirty"]
        flags = fields.get("flags", "").split()
        return {
            "cores": os.cpu_count(),
            "processor": fields.get("model name", platform.processor()),
            "vector": "AVX-512" if "avx512f" in flags else "AVX2" if "avx2" in flags else "no AVX2",
            "gibibytes": round(os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES") / 2**30),
            "date": time.strftime("%Y-%m-%d"),
            "load": os.getloadavg()[0],
            "commit": subprocess.run(commit, capture_output=True, text=True).stdout.strip() or "unknown",
        }


def names(text):
    return text.split(",")


def arguments():
    parser = argparse.ArgumentParser("peers", description=__doc__)
    parser.add_argument("--root", default="build/bench", help="for environments, sets and results")
    parser.add_argument("--data", default="../shared/data", help="directory of the sentence embeddings")
    parser.add_argument("--extension", default="build/release/vss.duckdb_extension")
    parser.add_argument("--docs", help="directory of benchmarks.md; without it nothing is written there")
    parser.add_argument("--stages", type=names, default=list(stages.STAGES), help="of " + ", ".join(stages.STAGES))
    parser.add_argument("--only", type=names, help="of " + ", ".join(stages.NAMES) + "; a stage forgets the others")
    parser.add_argument("--rows", type=int, default=60_000, help="sentence embeddings")
    parser.add_argument("--library-rows", type=int, default=20_000, help="of them, where libraries are compared")
    parser.add_argument("--wide-rows", type=int, default=10_000, help="vectors of 1,024 dimensions")
    parser.add_argument("--queries", type=int, default=1_000)
    parser.add_argument("--builds", type=int, default=2, help="rounds of builds")
    parser.add_argument("--rounds", type=int, default=3, help="rounds of searches")
    parser.add_argument("--growth-max", type=int, default=500_000, help="rows at the end of the growth curve")
    return parser.parse_args()


def main():
    run = Run(arguments())
    wanted = [stage for stage in run.options.stages if stage != "report"]
    if wanted:
        run.keep("machine", run.machine())
    failed = [stage for stage in wanted if not run.stage(stage)]
    if run.options.docs:
        from peers.report import write

        write(run.results, Path(run.options.docs))
        run.say(f"report in {run.options.docs}")
    if failed:
        sys.exit(f"failed: {', '.join(failed)}")


if __name__ == "__main__":
    main()
