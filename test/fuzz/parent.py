"""Runs sequences in child processes, so that a crash or a hang of the host is a result like any other."""

import json
import pathlib
import queue
import subprocess
import sys
import threading

#: Seconds in which a step must end.
STEP_LIMIT = 30


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
        self.lines = queue.Queue()
        self.stderr = []
        threading.Thread(target=self.read, args=(self.process,), daemon=True).start()
        threading.Thread(target=self.read_errors, args=(self.process,), daemon=True).start()

    def read(self, process):
        for line in process.stdout:
            self.lines.put(line)
        self.lines.put(None)

    def read_errors(self, process):
        for line in process.stderr:
            self.stderr.append(line)

    def run(self, seed, keep=None, drop=None):
        """The result of a sequence: counts and, after a finding, `kind`, `message`, and `failed`, the number of the step."""
        if self.process is None:
            self.start()
        request = {**self.request, "seed": seed, "keep": keep, "drop": drop or {}}
        self.process.stdin.write(json.dumps(request) + "\n")
        self.process.stdin.flush()
        step = None
        while True:
            try:
                line = self.lines.get(timeout=STEP_LIMIT)
            except queue.Empty:
                self.stop()
                return {"kind": "hang", "message": f"a step takes more than {STEP_LIMIT} seconds", "failed": step}
            if line is None:
                code = self.process.wait()
                errors = "".join(self.stderr[-20:])
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
