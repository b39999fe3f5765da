"""Compares answers. Rows at the same distance may be exchanged for each other; nothing else may."""

import collections
import dataclasses


@dataclasses.dataclass
class Answer:
    """Rows as (group, id, distance if the query shows it), or the message of an error."""

    rows: list = None
    error: str = ""


def answer(description, rows):
    """The rows of a result; a list of ids is a row for each. Without a column `id` they are taken as they are."""
    names = [column[0] for column in description]
    if "id" not in names:
        return Answer([("", None, repr(row)) for row in rows])
    at = names.index("id")
    group = names.index("g") if "g" in names else None
    distance = names.index("d") if "d" in names else None
    result = []
    for row in rows:
        ids = row[at] if isinstance(row[at], list) else [row[at]]
        for row_id in ids:
            shown = None if distance is None else rendered(row[distance])
            result.append(("" if group is None else str(row[group]), row_id, shown))
    return Answer(result)


def rendered(distance):
    """A distance such that equal texts mean equal ranks: NaN equals itself, and zero has no sign."""
    return "NULL" if distance is None else repr(float(distance) + 0.0)


def compare(found, exact, distances, query, exactly):
    """What is wrong with `found`, or an empty text; and the share of the exact rows it holds.

    `distances`: of each (group, id) that may be an answer, one for each time. `exactly`: the search was exact, so ranks
    must be equal; else the number of rows must be.
    """
    if found.error or exact.error:
        # DuckDB casts a NULL array to a list with NULL elements where the query vector is a list, and then refuses it
        harmless = not found.error and "can not contain NULL values" in exact.error
        if harmless or found.error.split(":")[0] == exact.error.split(":")[0]:
            return "", None
        return f"error with the index: '{found.error}', without: '{exact.error}'", None
    wrong = wrong_rows(found.rows, distances)
    if wrong:
        return wrong, None
    # of the rows within a distance, too, a search through the graph may miss some
    missed = not exactly and query.shape.startswith("range") and len(found.rows) < len(exact.rows)
    if len(found.rows) != len(exact.rows) and not missed:
        return f"{len(found.rows)} rows instead of {len(exact.rows)}", None
    if not found.rows or found.rows[0][1] is None and found.rows[0][0] == "":
        return ("" if found.rows == exact.rows or not exactly else f"{found.rows} instead of {exact.rows}"), None
    if query.strict and exactly and found.rows != exact.rows:
        return first_difference(found.rows, exact.rows), None
    ranks = [grouped(rows.rows, distances, query.ordered) for rows in (found, exact)]
    if exactly:
        return ("" if ranks[0] == ranks[1] else first_difference(*map(flat, ranks))), None
    return "", share(*ranks)


def wrong_rows(rows, distances):
    """What is wrong with rows, each on its own."""
    seen = collections.Counter()
    for group, row_id, shown in rows:
        if row_id is None:
            continue
        allowed = distances.get((group, row_id), [])
        if not allowed:
            return f"row {row_id} is not visible, or does not pass the filter"
        seen[group, row_id] += 1
        if seen[group, row_id] > len(allowed):
            return f"row {row_id} comes {seen[group, row_id]} times"
        if shown is not None and shown not in allowed:
            return f"row {row_id} shows distance {shown} instead of {allowed}"
    return ""


def grouped(rows, distances, ordered):
    """The distances of each group, in the order of the rows or sorted; None stands for a group without rows."""
    result = {}
    for group, row_id, _ in rows:
        result.setdefault(group, []).append(distances.get((group, row_id), [None])[0])
    return result if ordered else {group: sorted(ranks, key=str) for group, ranks in result.items()}


def flat(groups):
    return [(group, rank) for group in sorted(groups) for rank in groups[group]]


def share(found, exact):
    """Recall: how many of the exact distances the found ones match, counted one by one."""
    hits = total = 0
    for group, ranks in exact.items():
        left = list(found.get(group, []))
        total += len(ranks)
        for rank in ranks:
            if rank in left:
                left.remove(rank)
                hits += 1
    return hits / total if total else None


def first_difference(found, exact):
    for place, (one, other) in enumerate(zip(found, exact, strict=False)):
        if one != other:
            return f"place {place}: {one} instead of {other}"
    return f"{len(found)} rows instead of {len(exact)}"
