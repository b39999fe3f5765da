"""The driver's end of a system's process."""

import json
import os
import shutil
import subprocess
import threading
from pathlib import Path

BENCHES = Path(__file__).parents[1]
#: Seconds after which a command that has not been answered counts as failed.
PATIENCE = 1200


class Failed(Exception):
    """The system answered a command with an error, or not at all."""


class Remote:
    """A system at work on one set by one metric."""

    def __init__(self, name, command, directory, environment=None):
        self.name = name
        shutil.rmtree(directory, ignore_errors=True)
        Path(directory).mkdir(parents=True)
        self.log = Path(directory).with_suffix(".log").open("w")
        environment = {**os.environ, "PYTHONPATH": str(BENCHES), "PYTHONDONTWRITEBYTECODE": "1", **(environment or {})}
        self.process = subprocess.Popen(
            command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=self.log, text=True, env=environment
        )

    def ask(self, do, **arguments):
        """The answer to a command. Errors: `Failed`."""
        timer = threading.Timer(PATIENCE, self.process.kill)
        timer.start()
        try:
            self.process.stdin.write(json.dumps({"do": do, **arguments}) + "\n")
            self.process.stdin.flush()
            line = self.process.stdout.readline()
        except BrokenPipeError:
            line = ""
        finally:
            timer.cancel()
        if not line:
            raise Failed(f"{do}: the process ended ({self.process.wait()}); see {self.log.name}")
        answer = json.loads(line)
        if "error" in answer:
            raise Failed(f"{do}: {answer['error'].splitlines()[0]}")
        return answer

    def close(self):
        self.process.stdin.close()
        try:
            self.process.wait(60)
        except subprocess.TimeoutExpired:
            self.process.kill()
        self.log.close()
