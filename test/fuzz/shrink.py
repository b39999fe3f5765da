"""Takes steps out of a failing sequence for as long as it fails in the same way."""

import time


def shrink(child, sequence, result, seconds=120):
    """The numbers of the steps that are left, and the rows to drop from each, by number; and the last result."""
    kind = result["kind"]
    keep = list(range(result["failed"] + 1))
    drop = {}
    deadline = time.monotonic() + seconds

    def fails(keep, drop):
        nonlocal result
        again = child.run(sequence.seed, keep, drop)
        if again.get("kind") == kind:
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
        drop = shrink_rows(keep, drop, number, len(sequence.steps[number].rows), fails, deadline) if hasattr(
            sequence.steps[number], "rows"
        ) else drop
    return keep, drop, result


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
