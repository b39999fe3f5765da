"""The process that kills: starts workers on a file, one after the other, and compares what each finds with the model."""

import argparse
import collections
import json
import os
import pathlib
import random
import re
import shutil
import signal
import subprocess
import sys
import tempfile
import threading
import time

from crash.model import Model
from crash.worker import RECOVERY_ABORTS

# A worker that says nothing for so long hangs.
PATIENCE = 120
# Seconds that a worker gets to come to the statement at which it is to be killed.
LIFE = 3
# Kills before a new file is begun.
FILE_LIFE = 100


class Campaign:
    """Kills workers; `failures` holds what no crash may cause, `counts` all figures."""

    def __init__(self, extension, directory, seed):
        self.extension = str(pathlib.Path(extension).resolve())
        self.directory = pathlib.Path(directory)
        self.random = random.Random(seed)
        self.counts = collections.Counter()
        self.failures = []
        self.path = None

    def fail(self, kind, text):
        self.counts[kind] += 1
        self.failures.append(f"{kind}: {self.path} after {self.counts['kills']} kills: {text}")

    def new_file(self):
        self.counts["files"] += 1
        self.path = self.directory / f"crash{self.counts['files']}.db"
        self.block_size = self.random.choice([16384, 262144])
        self.model, self.in_flight, self.running = Model({}), {}, {}

    def task(self):
        started = self.model.rows or self.in_flight
        return {
            "extension": self.extension,
            "path": str(self.path),
            "block_size": self.block_size,
            "seed": self.random.randrange(1 << 30),
            "without": self.random.choice([None, None, None, "replay", "checkpoint"]) if started else None,
            "threshold": self.random.choice(["16MB", "16MB", "100KB", "1KB"]),
            "verify": self.random.random() < 0.5,
            "abort": self.random.random() < 0.2,
            "abort_recovery": self.random.choice([*RECOVERY_ABORTS] + 4 * [None]),
            "writers": self.random.choice([1, 2]),
        }

    def compare(self, found):
        """Sets the model to what was found, if that is one of the states it may be in."""
        rows = dict(map(tuple, found["rows"]))
        states = self.model.possible(self.in_flight.values())
        if not any(state.rows == rows and state.metric == found["metric"] for state in states):
            near = min(states, key=lambda state: len(state.rows.items() ^ rows.items()))
            missing, other = near.rows.items() - rows.items(), rows.items() - near.rows.items()
            text = f"{len(missing)} rows missing, {len(other)} unexpected; index {found['metric']}, not {near.metric}"
            self.fail("lost", text)
        for problem in found["wrong"]:
            self.fail("wrong", problem)
        self.model, self.in_flight = Model(rows, found["metric"]), {}

    def hear(self, message):
        """Takes a message of a worker into the model."""
        if "found" in message:
            self.compare(message["found"])
            self.counts["opened"] += 1
        elif "begin" in message:
            self.in_flight[message["begin"]] = message["changes"]
            self.running[message["begin"]] = message["sql"]
            self.counts["operations"] += 1
        elif "done" in message:
            self.model = self.model.after(self.in_flight.pop(message["done"]))
            del self.running[message["done"]]
        elif "undone" in message:
            del self.in_flight[message["undone"]], self.running[message["undone"]]
            self.counts[f"undone: {re.sub('[0-9]+', 'N', message['reason'])[:80]}"] += 1
        elif "aborted" in message:
            self.counts[f"aborted {message['aborted']}"] += 1
        elif "wrong" in message:
            self.fail("wrong", message["wrong"])
        elif "error" in message:
            self.fail("errors", message["error"])

    def kill(self):
        """One worker, from its start to its end."""
        if self.path is None or self.counts["kills"] % FILE_LIFE == 0:
            self.new_file()
        task = self.task()
        self.running = {}
        self.keep_copy()
        command = [sys.executable, "-m", "crash.worker", json.dumps(task)]
        environment = {**os.environ, "PYTHONPATH": str(pathlib.Path(__file__).parents[1])}
        process = subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, env=environment, text=True)
        patience = threading.Timer(PATIENCE, process.kill)
        patience.start()
        opened = self.listen(process)
        hung = not patience.is_alive()
        patience.cancel()
        self.counts["kills"] += 1
        self.count_running(opened)
        words = process.stderr.read().strip()
        killed = process.returncode == -signal.SIGKILL
        if not opened and (hung or not killed):
            self.fail("unopenable", f"hung {hung}, {task}: {words[-2000:]}")
            self.path = None
        elif not killed:
            self.fail("crashes", f"exit {process.returncode}: {words[-2000:]}")

    def keep_copy(self):
        """What the worker will find, in case it is wrong."""
        kept = self.directory / "before"
        shutil.rmtree(kept, ignore_errors=True)
        kept.mkdir()
        for file in self.directory.glob(f"{self.path.name}*"):
            shutil.copy(file, kept)

    def listen(self, process):
        """Hears a worker until it is dead, and sees to that. Whether it could open the file."""
        # at any time, or soon after the begin of something that is worth it
        target = self.random.choice(["found", "opening", "CHECKPOINT", "CHECKPOINT", "CREATE INDEX", "PRAGMA"])
        longest = {"found": 1, "opening": 0.3}.get(target) or self.random.choice([0.002, 0.02, 0.1])
        end = threading.Timer(longest * self.random.random(), process.kill)
        opened, heard, last = False, time.monotonic(), {}
        for line in process.stdout:
            message = json.loads(line)
            self.hear(message)
            heard, last = time.monotonic(), message
            if (target in message or target in message.get("sql", "")) and end.ident is None:
                end.start()
            if "found" in message:
                opened = True
                # should the statement not come
                threading.Timer(LIFE, process.kill).start()
        process.wait()
        if opened and "begin" in last and time.monotonic() - heard > LIFE / 2:
            # not wrong by itself; all of them at one statement would be
            self.counts["slow"] += 1
            print(f"no end within {time.monotonic() - heard:.1f} s: {last['sql'][:200]}", flush=True)
        return opened

    def count_running(self, opened):
        """Counts what the kill has hit."""
        for statement in self.running.values():
            self.counts[f"killed in {' '.join(statement.split()[: 2 - statement.startswith('BEGIN')])}"] += 1
        if not self.running:
            self.counts["killed in between" if opened else "killed while opening"] += 1


def main():
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--extension", required=True)
    parser.add_argument("--kills", type=int, default=1000)
    parser.add_argument("--seed", type=int, default=int(time.time()))
    parser.add_argument("--failures", type=pathlib.Path, default=pathlib.Path("build/crash"), help="where bad files go")
    arguments = parser.parse_args()
    print(f"seed {arguments.seed}", flush=True)
    with tempfile.TemporaryDirectory() as temporary:
        campaign = Campaign(arguments.extension, temporary, arguments.seed)
        while campaign.counts["kills"] < arguments.kills:
            known = len(campaign.failures)
            campaign.kill()
            for failure in campaign.failures[known:]:
                print(failure, flush=True)
            if campaign.failures[known:]:
                kept = arguments.failures / f"{arguments.seed}_{campaign.counts['kills']}"
                shutil.copytree(f"{temporary}/before", kept, dirs_exist_ok=True)
                print(f"=> {kept}", flush=True)
            if campaign.counts["kills"] % 50 == 0:
                print(dict(campaign.counts), flush=True)
    print("figures:", *(f"{count} {kind}" for kind, count in sorted(campaign.counts.items())), sep="\n  ")
    return bool(campaign.failures)


if __name__ == "__main__":
    sys.exit(main())
