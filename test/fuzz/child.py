"""The process in which sequences run: a request a line on standard input, progress and results on standard output."""

import json
import sys
import time

from .database import Database, Finding
from .sequence import Sequence


def run(request, tell):
    """Runs one sequence, or the steps `keep` of it; `tell` hears of each step before it begins."""
    sequence = Sequence(request["seed"], request["queries"], request["in_file"])
    sequence.drop(request["drop"])
    steps = sequence.chosen(request["keep"])
    database = Database(request["extension"], sequence.connections, request["in_file"])
    result, slowest = {}, (0, 0)
    for number, step in steps:
        tell({"step": number})
        begin = time.monotonic()
        try:
            database.run(step)
        except Finding as finding:
            result = {"kind": finding.kind, "message": str(finding), "failed": number}
            break
        seconds = time.monotonic() - begin
        if seconds > slowest[0]:
            slowest = (round(seconds, 1), number)
    result |= {
        "slowest": slowest,
        "steps": len(steps),
        "compared": database.compared,
        "served": database.served,
        "errors": database.errors,
        "shares": database.shares if sequence.good else [],
    }
    if not result.get("kind"):
        database.close()
    return result


def main():
    def tell(message):
        sys.stdout.write(json.dumps(message) + "\n")
        sys.stdout.flush()

    for line in sys.stdin:
        request = json.loads(line)
        tell({"result": run(request, tell)})
        if request["last"]:
            break


if __name__ == "__main__":
    main()
