"""What DuckDB may say while everything happens at once, and what it must not."""

import re

#: What transactions on the same rows or catalog entries say to each other, and what memory limits, interrupts and forced failures cause.
ALLOWED = re.compile(
    r"[Cc]onflict|Current transaction is aborted|Cannot CHECKPOINT|has been altered|outstanding updates|another transaction"
    r"|Forced commit failure|[Ii]nterrupted|INTERRUPT|Out of Memory|out of memory|could not allocate|failed to offload|failed to pin"
    r"|does not exist|[Dd]atabase .* not found|already used by a different database|already exists"
    r"|already attached|is attached|there is no index|does not cover its table|was dropped"
    r"|depend|no transaction is active|Cannot detach|different catalog|not enough|memory limit|has been dropped|reverted by a concurrent transaction"
    # what hnsw_explain says of a query with an open parameter
    r"|the type of a parameter of the query is open"
    # what hnsw_recall says of a query over a table whose index is gone
    r"|no HNSW index is searched"
)
#: These are findings wherever they come from.
FATAL = re.compile(r"^(INTERNAL|FATAL|Fatal|Internal)|database has been invalidated|panicked|InternalException|FatalException")

#: Errors of DuckDB itself, each with the reason why it is known: a campaign without the extension (`--control`) finds it, too.
#: An index that is short of memory says so by its name, and is not excused.
KNOWN = [
    (
        re.compile("Failed to create checkpoint because of error: Cannot bind index .* unknown index type 'HNSW'"),
        "DuckDB 2.0.0 ends a database when a session without the extension makes a checkpoint while the log has rows for an index",
    ),
    (
        re.compile("Corrupted fixed-size segment"),
        "a scan beside the rollback of a failed append reads what RowGroup::RevertAppend takes away",
    ),
    (
        re.compile(
            r"^(?!.*HNSW)(?=.*(Failed to|Checkpoint failed|invalidated))"
            r".*(failed to (pin|offload|allocate)|could not allocate|Out of Memory)",
            re.DOTALL,
        ),
        "a checkpoint, commit or rollback that runs out of memory ends the database",
    ),
    (
        # the index pins nothing in commits; what it lacks memory for it says by its name
        re.compile(r"^(?!.*HNSW)FATAL Error: Out of Memory Error: failed to pin block", re.DOTALL),
        "deleted rows are read again for their indexes, in commits and after them: short of memory that ends the database",
    ),
]


def verdict(text):
    """What an error means: None if it may happen, else the kind of the finding; of a known one `known: reason`."""
    fatal = FATAL.search(text)
    if ALLOWED.search(text) and not fatal:
        return None
    for pattern, reason in KNOWN:
        if pattern.search(text):
            return f"known: {reason}"
    return "internal" if fatal else "error"
