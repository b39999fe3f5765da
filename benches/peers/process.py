"""The process of one system: `python -m peers.process SYSTEM SET METRIC M EF_CONSTRUCTION DIRECTORY [VARIANT]`.

Obeys commands, a JSON object a line on the standard input, and answers each with one on the standard output.
`benches/raw.rs` speaks the same for the bare core.
"""

import importlib
import json
import os
import sys
import time
import traceback

from measure import resident
from peers.peer import DataSet

#: Searching and inserting end early when their seconds are used up, but not before this many.
QUERIES_MIN = 20


def seconds(run):
    start = time.perf_counter()
    result = run()
    return time.perf_counter() - start, result


class Process:
    def __init__(self, system, data, metric, m, ef_construction, directory, variant=""):
        self.data = DataSet(data)
        module = importlib.import_module(f"peers.systems.{system}")
        self.peer = module.System(self.data, metric, int(m), int(ef_construction), directory, variant)
        self.built = False

    def prepare(self):
        self.peer.prepare()
        peer = self.peer
        return {
            "version": peer.version(),
            "offers": peer.forms,
            "approximate": peer.approximate,
            "filters": peer.filters,
            "inserts": True,
        }

    def build(self, threads):
        if self.built:
            self.peer.drop()
        before = resident()
        taken, _ = seconds(lambda: self.peer.build(threads))
        self.built = True
        grown = resident() - before if self.peer.in_process else None
        return {"seconds": taken, "resident": grown, **self.peer.size()}

    def search(self, ef, k, first, last, limit, form=None, percent=None):
        """One query at a time: milliseconds and ids of each. `limit`: seconds."""
        form = form or self.peer.forms[0]
        self.peer.width(ef)
        arguments = [self.peer.argument(query, form) for query in self.data.queries[first:last]]
        self.peer.search(arguments[0], k, form, percent)
        times, found = [], []
        for argument in arguments:
            taken, ids = seconds(lambda: self.peer.search(argument, k, form, percent))
            times.append(taken * 1e3)
            found.append([int(row) for row in ids])
            if len(times) >= QUERIES_MIN and sum(times) > limit * 1e3:
                break
        return {"ms": times, "ids": found}

    def batch(self, ef, k, first, last, threads):
        """All queries in one call."""
        self.peer.width(ef)
        taken, found = seconds(lambda: self.peer.batch(first, last, k, threads))
        return {"seconds": taken, "ids": None if found is None else [[int(row) for row in ids] for ids in found]}

    def insert(self, count, limit):
        """Query vectors as new rows, one by one. `limit`: seconds."""
        times = []
        for number in range(count):
            vector = self.data.queries[number % len(self.data.queries)]
            row = len(self.data.vectors) + number
            times.append(seconds(lambda: self.peer.insert(row, vector))[0] * 1e3)
            if len(times) >= QUERIES_MIN and sum(times) > limit * 1e3:
                break
        return {"ms": times}


def main():
    # some libraries print on the standard output
    answers = os.fdopen(os.dup(1), "w")
    os.dup2(2, 1)
    process = Process(*sys.argv[1:])
    for line in sys.stdin:
        command = json.loads(line)
        try:
            answer = getattr(process, command.pop("do"))(**command)
        except Exception as error:  # whatever a system throws goes into the table
            traceback.print_exc()
            answer = {"error": f"{type(error).__name__}: {error}"}
        print(json.dumps(answer), file=answers, flush=True)
    process.peer.close()


if __name__ == "__main__":
    main()
