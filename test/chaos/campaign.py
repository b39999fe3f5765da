"""Starts rounds, one process each, and hears what they find."""

import argparse
import collections
import itertools
import json
import os
import pathlib
import random
import re
import shutil
import subprocess
import sys
import tempfile
import threading
import time

from chaos.roles import ROLES

#: Roles of a round.
LEAST, MOST = 4, 8
#: Seconds for which threads work between two openings of a database.
SECONDS = 2.5
#: Seconds after which a round is killed, should it not see itself that it hangs.
LIMIT = 900


class Campaign:
    """Without an extension it finds what DuckDB does by itself. `failures` holds what must not happen, `counts` all figures, `met` how often each pair of roles met."""

    def __init__(self, extension, directory, seed, failures=None, without=()):
        self.extension = extension and str(pathlib.Path(extension).resolve())
        self.directory = pathlib.Path(directory)
        self.kept = failures and pathlib.Path(failures)
        self.seed = seed
        self.counts = collections.Counter()
        self.failures = []
        #: processes that hung
        self.killed = set()
        self.roles = sorted(set(ROLES) - set(without))
        self.met = dict.fromkeys(itertools.combinations_with_replacement(self.roles, 2), 0)

    def cast(self, rng):
        """Roles for a round: a pair that has met least, and others. Some twice."""
        least = min(self.met.values())
        roles = list(rng.choice([pair for pair, count in self.met.items() if count == least]))
        # without somebody who searches and somebody who writes little can go wrong
        roles += [rng.choice(["search", "search", "info"]), rng.choice(["write", "write_much"])]
        return roles + rng.choices(self.roles, k=rng.randint(LEAST, MOST) - len(roles))

    def round(self, seed=None, roles=None):
        """One round; with a seed and roles one that was played before."""
        seed = seed or self.seed + self.counts["rounds"]
        roles = roles or self.cast(random.Random(seed))
        self.counts["rounds"] += 1
        for pair in {tuple(sorted(pair)) for pair in itertools.combinations(roles, 2)}:
            self.met[pair] = self.met.get(pair, 0) + 1
        home = self.directory / f"round{seed}"
        home.mkdir()
        task = {
            "extension": self.extension,
            "directory": str(home),
            "log": str(home / "log"),
            "seed": seed,
            "roles": roles,
            "seconds": SECONDS,
        }
        known = len(self.failures)
        self.play(task)
        if self.failures[known:] and self.kept:
            shutil.copytree(home, self.kept / str(seed), dirs_exist_ok=True)
            print(f"=> {self.kept / str(seed)}", flush=True)
        shutil.rmtree(home)
        return self.failures[known:]

    def fail(self, task, kind, text):
        self.counts[f"found: {kind}"] += 1
        if not kind.startswith("known"):
            self.failures.append(f"{kind}: seed {task['seed']}, roles {','.join(task['roles'])}: {text}")
            print(self.failures[-1][:1000], flush=True)

    def play(self, task):
        environment = {**os.environ, "PYTHONPATH": str(pathlib.Path(__file__).parents[1])}
        with open(pathlib.Path(task["directory"]) / "stderr", "w+") as words:
            process = subprocess.Popen(
                [sys.executable, "-m", "chaos.round", json.dumps(task)],
                stdout=subprocess.PIPE,
                stderr=words,
                env=environment,
                cwd=task["directory"],
                text=True,
            )
            patience = threading.Timer(LIMIT, self.end_hung, args=(task, process, "the round has no end", []))
            patience.start()
            done = False
            for line in process.stdout:
                message = json.loads(line)
                if "found" in message:
                    self.fail(task, message["found"], message["text"])
                elif "hung" in message:
                    self.end_hung(task, process, message["hung"], message["running"])
                elif "counts" in message:
                    done = True
                    self.counts.update(message["counts"])
            process.wait()
            patience.cancel()
            words.seek(0)
            if process.pid not in self.killed and (process.returncode or not done):
                stacks = self.keep_stacks(task, [sys.executable, "core"])
                self.fail(task, "crash", f"exit {process.returncode}: {stacks or words.read()[-3000:]}")

    def end_hung(self, task, process, text, running):
        """Keeps the stacks of a process, and kills it."""
        stacks = self.keep_stacks(task, ["-p", str(process.pid)])
        self.killed.add(process.pid)
        process.kill()
        self.fail(task, "hang", "\n  ".join([text, *running, stacks]))

    def keep_stacks(self, task, target):
        """The stacks of a process that hangs, or of one that has left a core file: all of them in the file `stacks`, that of the
        thread that crashed as text. Empty without gdb."""
        home = pathlib.Path(task["directory"])
        if not shutil.which("gdb") or target[-1] == "core" and not (home / "core").exists():
            return ""
        command = ["gdb", "-batch", *sum((["-ex", do] for do in ["bt 30", "thread apply all bt 40"]), []), *target]
        found = subprocess.run(command, cwd=home, capture_output=True, text=True, timeout=120, check=False).stdout
        (home / "stacks").write_text(found)
        (home / "core").unlink(missing_ok=True)
        crashed = found.partition("\nThread ")[0].rpartition("<signal handler called>")[2].splitlines()
        return "\n".join(re.sub(r" from /.*/", " from ", line)[:200] for line in crashed if line.startswith("#"))


def report(campaign):
    """The figures."""
    print("figures:", *(f"{count} {kind}" for kind, count in sorted(campaign.counts.items())), sep="\n  ")
    met = sum(count > 0 for count in campaign.met.values())
    print(f"pairs of roles that met: {met} of {len(campaign.met)}")
    never = [" + ".join(pair) for pair, count in campaign.met.items() if not count]
    if never:
        print("never:", *never[:20], sep="\n  ")


def main():
    parser = argparse.ArgumentParser(prog="chaos", description=__doc__)
    parser.add_argument("--extension", required=True)
    parser.add_argument("--minutes", type=float, default=60)
    parser.add_argument("--rounds", type=int, help="instead of minutes")
    parser.add_argument("--seed", type=int, default=int(time.time()), help="of the first round; the others count on")
    parser.add_argument("--roles", help="the roles of each round, separated by commas, instead of random ones")
    parser.add_argument("--failures", type=pathlib.Path, default=pathlib.Path("build/chaos"), help="where logs and files go")
    parser.add_argument("--without", default="", help="roles that nobody plays")
    parser.add_argument("--control", action="store_true", help="without the extension: what is found is DuckDB's own")
    parser.add_argument("--go-on", action="store_true", help="go on after a finding")
    options = parser.parse_args()
    print(f"seed {options.seed}", flush=True)
    end = time.monotonic() + 60 * options.minutes
    with tempfile.TemporaryDirectory() as temporary:
        campaign = Campaign(None if options.control else options.extension, temporary, options.seed, options.failures, options.without.split(","))
        while campaign.counts["rounds"] < options.rounds if options.rounds else time.monotonic() < end:
            found = campaign.round(roles=options.roles and options.roles.split(","))
            if campaign.counts["rounds"] % 20 == 0:
                print(f"{campaign.counts['rounds']} rounds, {len(campaign.failures)} findings", flush=True)
            if found and not options.go_on:
                break
        report(campaign)
    return bool(campaign.failures)
