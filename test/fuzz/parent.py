"""Runs sequences in child processes, so that a crash or a hang of the host is a result like any other."""

import collections
import json
import pathlib
import queue
import subprocess
import sys
import threading

#: Seconds in which a step must end.
STEP_LIMIT = 90


def read(stream, sink):
    """Hands on each line, and None at the end."""
    for line in stream:
        sink(line)
    sink(None)


class Child:
    """One process. It is replaced after each finding, and serves many sequences otherwise."""

    def __init__(self, extension, queries, in_file):
        self.request = {"extension": extension, "queries": queries, "in_file": in_file, "last": False}
        self.process = None

    def start(self):
        self.process = subprocess.Popen(
            [sys.executable, "-m", "fuzz.child"],
            cwd=pathlib.Path(__file__).resolve().parents[1],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
        )
        # each process has its own: the readers of one that was stopped may still be at work
        self.lines = queue.Queue()
        self.stderr = collections.deque(maxlen=20)
        for stream, sink in [(self.process.stdout, self.lines.put), (self.process.stderr, self.stderr.append)]:
            threading.Thread(target=read, args=(stream, sink), daemon=True).start()

    def run(self, seed, keep=None, drop=None):
        """The result of a sequence: counts; after a finding `kind`, `message`, and `failed`, the number of the step."""
        if self.process is None:
            self.start()
        request = {**self.request, "seed": seed, "keep": keep, "drop": drop or {}}
        self.process.stdin.write(json.dumps(request) + "\n")
        self.process.stdin.flush()
        step = 0
        while True:
            try:
                line = self.lines.get(timeout=STEP_LIMIT)
            except queue.Empty:
                self.stop()
                return {"kind": "hang", "message": f"a step takes more than {STEP_LIMIT} seconds", "failed": step}
            if line is None:
                code = self.process.wait()
                errors = "".join(line or "" for line in self.stderr)
                self.stop()
                return {"kind": "crash", "message": f"the process ended with {code}\n{errors}", "failed": step}
            message = json.loads(line)
            if "result" in message:
                if message["result"].get("kind"):
                    self.stop()
                return message["result"]
            step = message["step"]

    def stop(self):
        if self.process:
            self.process.kill()
            self.process.wait()
            self.process = None
