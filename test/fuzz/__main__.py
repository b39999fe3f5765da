"""The command: `python -m fuzz --extension FILE [--seeds A-B] [--queries N] [--shrink] [--file] [--workers N]`."""

import argparse
import collections
import concurrent.futures
import pathlib
import sys
import time

from .parent import Child
from .sequence import Sequence, script
from .shrink import describe

#: Mean share of the exact neighbours that searches through the graph must find.
LEAST_RECALL = 0.95
#: Seconds after which a step is worth a line.
SLOW = 5
#: Seconds spent on making a script short.
SHRINKING = 120
#: Characters of a script that are printed.
LONG = 5000


def arguments():
    parser = argparse.ArgumentParser(prog="fuzz", description=__doc__)
    parser.add_argument("--extension", required=True, type=pathlib.Path)
    parser.add_argument("--seeds", default="0-99", help="one, or a range A-B that includes both ends")
    parser.add_argument("--queries", type=int, default=60, help="queries compared in each sequence")
    parser.add_argument("--workers", type=int, default=2)
    parser.add_argument("--file", action="store_true", help="in database files that are closed and opened again")
    parser.add_argument("--shrink", action="store_true", help="make the script of a failure short")
    parser.add_argument("--failures", type=pathlib.Path, default=pathlib.Path("build/fuzz"), help="where scripts go")
    return parser.parse_args()


class Run:
    """Runs seeds on several children, and counts."""

    def __init__(self, options):
        self.options = options
        self.counts = {name: collections.Counter() for name in ["compared", "served", "errors"]}
        self.shares = []
        self.steps = self.sequences = 0
        self.failed = []

    def work(self, seeds):
        """One child's share."""
        child = Child(str(self.options.extension.resolve()), self.options.queries, self.options.file)
        try:
            for seed in seeds:
                yield seed, child.run(seed), child
        finally:
            child.stop()

    def add(self, result):
        self.sequences += 1
        self.steps += result.get("steps", 0)
        self.shares += result.get("shares", [])
        for name, counter in self.counts.items():
            counter.update(result.get(name, {}))

    def share(self, seeds):
        for seed, result, child in self.work(seeds):
            self.add(result)
            if result.get("slowest", [0])[0] > SLOW:
                seconds, number = result["slowest"]
                step = script([Sequence(seed, self.options.queries, self.options.file).steps[number]])
                print(f"seed {seed}: step {number} took {seconds} s: {step[:300]}", flush=True)
            if result.get("kind"):
                self.report(seed, result, child)

    def report(self, seed, result, child):
        sequence = Sequence(seed, self.options.queries, self.options.file)
        text = describe(child, sequence, result, SHRINKING if self.options.shrink else 0)
        self.options.failures.mkdir(parents=True, exist_ok=True)
        path = self.options.failures / f"seed_{seed}.sql"
        path.write_text(text)
        self.failed.append(seed)
        print(f"{text if len(text) < LONG else text[:LONG] + '…'}\n=> {path}\n", flush=True)


def main():
    options = arguments()
    first, _, last = options.seeds.partition("-")
    seeds = list(range(int(first), int(last or first) + 1))
    run = Run(options)
    start = time.monotonic()
    workers = min(options.workers, len(seeds))
    with concurrent.futures.ThreadPoolExecutor(workers) as pool:
        for done in [pool.submit(run.share, seeds[worker::workers]) for worker in range(workers)]:
            done.result()
    compared, served = run.counts["compared"], run.counts["served"]
    print(f"{run.sequences} sequences, {run.steps} steps, {compared.total()} queries compared, ", end="")
    print(f"{served.total()} served from the index, {time.monotonic() - start:.0f} s")
    for shape in sorted(compared):
        print(f"  {shape:28} {compared[shape]:7} compared {served[shape]:7} served")
    print(f"  conflicts: {run.counts['errors']['conflict']}, errors with and without: {run.counts['errors']['both']}")
    recall = sum(run.shares) / len(run.shares) if run.shares else 1
    print(f"  recall of {len(run.shares)} approximate answers: {recall:.3f}")
    if run.failed:
        print(f"failed: {run.failed}")
    if run.failed or (len(run.shares) >= 100 and recall < LEAST_RECALL):
        sys.exit(1)


if __name__ == "__main__":
    main()
