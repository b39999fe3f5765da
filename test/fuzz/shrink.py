"""Takes steps out of a failing sequence for as long as it fails in the same way."""

import re
import time

from .sequence import script


def describe(child, sequence, result, seconds):
    """A failure as an SQL script with a comment; the shortest that is found in so many seconds."""
    keep, drop = list(range(result["failed"] + 1)), {}
    if seconds:
        keep, drop, result = shrink(child, sequence, result, seconds)
    sequence.drop(drop)
    comment = "".join(f"-- {line}\n" for line in [f"seed {sequence.seed}", *result["message"].splitlines()])
    return comment + script([step for _, step in sequence.chosen(keep)])


def shrink(child, sequence, result, seconds):
    """The numbers of the steps that are left, and the rows to drop from each, by number; and the last result."""
    wanted = signature(result)
    keep = list(range(result["failed"] + 1))
    drop = {}
    deadline = time.monotonic() + seconds

    def fails(keep, drop):
        nonlocal result
        again = child.run(sequence.seed, keep, drop)
        if again.get("kind") and signature(again) == wanted:
            result = again
            return True
        return False

    if not fails(keep, drop):
        # depends on threads: nothing can be learned from leaving steps out
        return keep, drop, result
    size = len(keep) // 2
    while size >= 1 and time.monotonic() < deadline:
        start = 0
        removed = False
        while start < len(keep) and time.monotonic() < deadline:
            fewer = keep[:start] + keep[start + size :]
            if fewer and fails(fewer, drop):
                keep = [number for number in fewer if number <= result["failed"]]
                removed = True
            else:
                start += size
        if size > 1 or not removed:
            size //= 2
    for number in keep:
        rows = getattr(sequence.steps[number], "rows", [])
        drop = shrink_rows(keep, drop, number, len(rows), fails, deadline)
    return keep, drop, result


def signature(result):
    """What stays the same in the messages of one failure."""
    first = result["message"].splitlines()[0]
    return result["kind"], re.sub(r"[0-9'].*", "", first)


def shrink_rows(keep, drop, number, count, fails, deadline):
    """Drops rows of the VALUES list of one step; one row stays."""
    size = count // 2
    while size >= 1:
        start = 0
        while start < count and time.monotonic() < deadline:
            gone = sorted({*drop.get(str(number), []), *range(start, min(start + size, count))})
            if len(gone) < count and gone != drop.get(str(number), []) and fails(keep, {**drop, str(number): gone}):
                drop = {**drop, str(number): gone}
            start += size
        size //= 2
    return drop
