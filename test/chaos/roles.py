"""What the threads of a round do. A role is a function of an actor, called again and again; `ROLES` has all of them.

Any statement may fail as `errors.ALLOWED` says; the actor then rolls back and goes on.
"""

import contextlib
import time

import duckdb

from chaos.tables import EACH, apart

#: Rows of a table above which only few are inserted.
MANY = 4000
#: Bytes of vectors that a bulk insert writes: time for others while it is committed.
BULK = 2_000_000

ROLES = {}


def role(function=None, *, appends=False, alone=False):
    """Makes a function a role. `appends`: some turns append rows to tables. `alone`: it cares for itself who works beside it."""
    if function is None:
        return lambda function: role(function, appends=appends, alone=alone)
    function.appends, function.alone = appends, alone
    ROLES[function.__name__] = function
    return function


def pause(actor, longest):
    time.sleep(actor.rng.uniform(0, longest))


def index_name(table):
    """The index of a table: names are unique in a schema."""
    return "ui" if table == "u" else "i"


def index_path(actor, table):
    catalog = table.rpartition(".")[0] or actor.round.catalog
    return f"{catalog}.main.{index_name(table)}"


# ---- who reads


def ask(actor, table, rng):
    """Compares a search with the exact answer of the same transaction."""
    layout, limit = actor.round.layout, rng.choice([1, 5, 10, 100])
    where = rng.choice(["true", EACH, f"id % {rng.choice([2, 3, 50])} = 0"])
    query = layout.query(rng)
    strategy = rng.choice(["exact", "exact", "recheck", "filtered", "auto"])
    shapes = layout.searches(table, query, where, limit)
    shape = rng.choice(list(shapes))
    actor.run(f"SET hnsw_strategy = '{strategy}'")
    actor.run("BEGIN")
    found = sorted(((d, id) for id, d in actor.run(shapes[shape]) if d is not None))
    if rng.random() < 0.2:
        pause(actor, 0.1)
    exact = actor.run(layout.exact(table, query, f"{where} AND v IS NOT NULL", limit))[0][0] or []
    actor.run("COMMIT")
    actor.round.count(f"searches: {shape}")
    if not actor.round.stays(table):
        return
    text = f"{found[:20]} instead of {exact[:20]} in {table}, {shape}, strategy {strategy}: {shapes[shape]}"
    if len({id for _, id in found}) != len(found):
        actor.round.find("wrong", f"a row comes twice: {text}")
    elif len(found) != len(exact):
        actor.round.find("wrong", f"{len(found)} rows instead of {len(exact)}: {text}")
    elif strategy == "exact":
        if any(apart(d, e) for (d, _), e in zip(found, exact)):
            actor.round.find("wrong", text)
    elif limit >= 10:
        bound = exact[-1] if exact else 0
        actor.round.recall(sum(d <= bound or not apart(d, bound) for d, _ in found), len(exact))


@role
def search(actor):
    ask(actor, actor.table(), actor.rng)
    if actor.rng.random() < 0.3:
        pause(actor, 0.05)


@role
def read_only(actor):
    """Commits that write nothing, but have numbers."""
    actor.run(f"SELECT count(*) FROM {actor.table()}")
    pause(actor, 0.004)


@role
def look_around(actor):
    """Reads of the catalog, and of single rows, which ask for the indexes of a table."""
    actor.run(
        actor.rng.choice(
            [
                f"SELECT version FROM {actor.table()} WHERE id = 5",
                "SELECT table_name, estimated_size, index_count FROM duckdb_tables()",
                "SELECT index_name, sql FROM duckdb_indexes()",
                "SELECT tag, memory_usage_bytes FROM duckdb_memory()",
                "SELECT * FROM pragma_database_size()",
                f"SELECT count(*) FROM pragma_storage_info('{actor.table()}')",
            ]
        )
    )


@role
def old_snapshot(actor):
    """Sees the same rows as long as its transaction lasts."""
    table = actor.table()
    actor.run("BEGIN")
    before = actor.run(f"SELECT count(*), sum(version) FROM {table}")
    ask_again = actor.rng.random() < 0.5
    pause(actor, 0.3)
    if ask_again:
        layout = actor.round.layout
        query = layout.query(actor.rng)
        shapes = layout.searches(table, query, "true", 20)
        found = [d for _, d in actor.run(shapes["plain"])]
        exact = actor.run(layout.exact(table, query, "true", 20))[0][0] or []
        if len(found) != len(exact) and actor.round.stays(table):
            actor.round.find("wrong", f"an old snapshot finds {len(found)} rows instead of {len(exact)} in {table}")
    after = actor.run(f"SELECT count(*), sum(version) FROM {table}")
    actor.run("COMMIT")
    if before != after and actor.round.stays(table):
        actor.round.find("duckdb", f"a snapshot of {table} has changed from {before} to {after}")


@role
def info(actor):
    actor.run(actor.rng.choice(["SELECT * FROM pragma_hnsw_index_info()", "PRAGMA hnsw_index_info"]))
    pause(actor, 0.02)


@role
def explain(actor):
    layout, query = actor.round.layout, actor.round.layout.query(actor.rng)
    query = actor.rng.choice([query, query, f"?::{layout.type}", "?"])
    sql = f"SELECT id FROM {actor.table()} ORDER BY {layout.distance(query)} LIMIT 5"
    actor.run(f"SELECT * FROM hnsw_explain('{sql}')")
    pause(actor, 0.02)


@role
def recall(actor):
    """Of an index, or of the searches of a query."""
    if actor.rng.random() < 0.5:
        actor.run(f"SELECT recall FROM hnsw_recall('{index_path(actor, actor.table())}', k := 5, queries := 10)")
    else:
        layout, table = actor.round.layout, actor.table()
        probes = f"(SELECT {layout.query(actor.rng)} AS q FROM range({actor.rng.choice([1, 20, 200])}))"
        near = f"SELECT id FROM {table} ORDER BY {layout.distance('probe.q')} LIMIT 10"
        actor.run(f"SELECT recall FROM hnsw_recall('SELECT near.id FROM {probes} AS probe, LATERAL ({near}) AS near')")
    pause(actor, 0.1)


@role
def want_share(actor):
    """Searches of which each is to find a share of the nearest rows: indexes measure themselves meanwhile."""
    rng, layout = actor.rng, actor.round.layout
    actor.run(rng.choice([f"SET hnsw_target_recall = {rng.choice([0.5, 0.9, 0.99])}"] * 3 + ["RESET hnsw_target_recall"]))
    for _ in range(rng.choice([1, 10, 100])):
        actor.run(f"SELECT id FROM {actor.table()} ORDER BY {layout.distance(layout.query(rng))} LIMIT {rng.choice([1, 10, 100])}")


@role
def look_at_log(actor):
    """Entries of what becomes of indexes: begun, read, and ended."""
    actor.run(
        actor.rng.choice(
            [
                "CALL enable_logging('vss')",
                "CALL enable_logging('vss')",
                "CALL disable_logging()",
                "CALL truncate_duckdb_logs()",
                "FROM duckdb_logs_parsed('vss')",
            ]
        )
    )
    pause(actor, 0.1)


# ---- who writes


def transaction(actor, statements, end="COMMIT"):
    actor.run("BEGIN")
    for statement in statements:
        actor.run(statement)
    actor.run(end)


def changes(actor, table):
    """A few statements, and (first, count) of the rows they insert. Rows whose ids are multiples of 5 stay for ever."""
    rng, layout = actor.rng, actor.round.layout
    ((rows,),) = actor.run(f"SELECT count(*) FROM {table}")
    statements, inserted = [], []
    for _ in range(rng.choice([1, 1, 2, 4])):
        kind = rng.choices(["insert", "update", "delete"], [5, 3, 10 if rows > MANY else 2])[0]
        some = rng.randrange(actor.round.next_id + 1)
        if kind == "insert":
            count = rng.choice([1, 1, 10, 100] if rows < MANY else [1])
            inserted.append((actor.round.ids(count), count))
            statements.append(layout.insert(table, *inserted[-1]))
        elif kind == "update":
            last = some + rng.choice([0, 10, 200])
            statements.append(layout.update(table, f"id BETWEEN {some} AND {last}"))
        else:
            last = some + rng.choice([0, 10, 200, 5000])
            statements.append(f"DELETE FROM {table} WHERE id BETWEEN {some} AND {last} AND id % 5 <> 0")
    return statements, inserted


@role(appends=True)
def write(actor):
    table = actor.table()
    statements, inserted = changes(actor, table)
    if len(statements) == 1 and actor.rng.random() < 0.5:
        actor.run(statements[0])
    else:
        transaction(actor, statements)
    for first, count in inserted:
        actor.round.committed(table, first, count)
    if actor.rng.random() < 0.5:
        pause(actor, 0.02)


@role(appends=True)
def roll_back(actor):
    statements, _ = changes(actor, actor.table())
    transaction(actor, statements, end="ROLLBACK")


@role(appends=True)
def write_much(actor):
    """Many rows at once: inserted, all updated, or most deleted."""
    rng, layout, table = actor.rng, actor.round.layout, actor.table()
    ((rows,),) = actor.run(f"SELECT count(*) FROM {table}")
    kind = rng.choice(["insert", "insert", "insert", "update"]) if rows < MANY else rng.choice(["delete", "delete", "update"])
    if kind == "update":
        actor.run(layout.update(table, "true"))
    elif kind == "delete":
        actor.run(f"DELETE FROM {table} WHERE id % 5 <> 0")
    else:
        count = min(rng.choice([1000, 3000, 5000]), BULK // layout.dimensions // 4)
        first = actor.round.ids(count)
        transaction(actor, [layout.insert(table, first, count)])
        actor.round.committed(table, first, count)
    pause(actor, 0.1)


@contextlib.contextmanager
def failing(actor):
    """All commits fail meanwhile."""
    actor.run("SET GLOBAL debug_force_commit_failure = true")
    try:
        yield
    finally:
        # this commit fails, too, but then the setting has changed
        with contextlib.suppress(duckdb.TransactionException):
            actor.run("SET GLOBAL debug_force_commit_failure = false")


@role(alone=True)
def fail_commits(actor):
    """Commits of deletions, and of indexes, fail beside everything but appends.

    DuckDB takes the rows of a failed append away beneath whoever scans the table (RowGroup::RevertAppend): without the
    extension, too, plain scans then report a corrupted segment, or crash. So nobody works while one fails.
    """
    rng, layout, table = actor.rng, actor.round.layout, actor.table()
    if rng.random() < 0.3:
        with actor.round.turns.exclusive(), failing(actor):
            actor.run(layout.insert(table, actor.round.ids(300), rng.choice([1, 300])))
    else:
        some = rng.randrange(actor.round.next_id + 1)
        statements = [
            f"DELETE FROM {table} WHERE id BETWEEN {some} AND {some + rng.choice([0, 50, 5000])} AND id % 5 <> 0",
            f"DROP INDEX IF EXISTS {index_path(actor, table)}",
            layout.create_index(table, index_name(table)),
        ]
        with actor.round.appends.exclusive(), failing(actor):
            actor.run(rng.choice([statements[0], *statements]))
    pause(actor, 0.1)


# ---- who changes the catalog


@role(appends=True)
def create_and_drop_index(actor):
    rng, layout, table = actor.rng, actor.round.layout, actor.table()
    drop = f"DROP INDEX IF EXISTS {index_path(actor, table)}"
    create = layout.create_index(table, index_name(table))
    kind = rng.random()
    if kind < 0.2:
        transaction(actor, [drop, create], rng.choice(["COMMIT", "ROLLBACK"]))
    elif kind < 0.3:
        statements, _ = changes(actor, table)
        transaction(actor, [create, *statements], "ROLLBACK")
    else:
        actor.run(drop)
        pause(actor, 0.05)
        actor.run(create)
    pause(actor, 0.1)


@role(appends=True)
def create_and_drop_table(actor):
    """The table u; t stays."""
    rng, layout = actor.rng, actor.round.layout
    actor.run("DROP TABLE IF EXISTS u")
    pause(actor, 0.02)
    actor.run(layout.create("u"))
    if rng.random() < 0.8:
        actor.run(layout.create_index("u", "ui"))
    actor.run(layout.insert("u", actor.round.ids(700), rng.choice([10, 700])))
    pause(actor, 0.1)


@role(alone=True)
def alter_table(actor):
    """Commits to a table that was altered fail, so nobody appends meanwhile (see `fail_commits`).

    Nobody works while a table is renamed: its new name gets into the log before the rename does if others insert or create an
    index, and then DuckDB does not open the file again, without the extension either.
    """
    table = actor.table()
    number = actor.rng.randrange(3)
    if actor.rng.random() < 0.2:
        with actor.round.turns.exclusive():
            for rename in ["ALTER TABLE u RENAME TO w", "ALTER TABLE w RENAME TO u"]:
                actor.run(rename)
    else:
        with actor.round.appends.exclusive():
            actor.run(
                actor.rng.choice(
                    [
                        f"ALTER TABLE {table} ADD COLUMN IF NOT EXISTS c{number} INTEGER DEFAULT 7",
                        f"ALTER TABLE {table} DROP COLUMN IF EXISTS c{number}",
                        f"ALTER TABLE {table} ALTER COLUMN version SET DEFAULT {number}",
                    ]
                )
            )
    pause(actor, 0.1)


@role(appends=True)
def attach_and_detach(actor):
    rng, layout = actor.rng, actor.round.layout
    actor.round.newest = None
    if rng.random() < 0.7:
        name, source = actor.round.attached()
        table = f"{name}.t"
        if rng.random() < 0.5:
            # then the log alone knows the index
            actor.run(f"DROP INDEX IF EXISTS {index_path(actor, table)}")
            actor.run(layout.create_index(table))
        actor.run(f"DETACH DATABASE IF EXISTS {name}")
        # others ask for it already: the first queries come together
        actor.round.newest = table
        actor.run(f"ATTACH IF NOT EXISTS '{source}' AS {name}")
    else:
        table = "m.t"
        actor.run("ATTACH IF NOT EXISTS ':memory:' AS m")
        actor.run(layout.create(table))
        actor.run(layout.create_index(table))
        actor.run(layout.insert(table, actor.round.ids(600), 600))
    actor.round.newest = table
    ask(actor, table, rng)
    pause(actor, 0.05)
    actor.round.newest = None
    if table == "m.t":
        actor.run("DETACH DATABASE IF EXISTS m")


# ---- who maintains


@role
def checkpoint(actor):
    """FORCE waits for the transactions of others on a thread of the scheduler, and who changes their number waits for that thread
    while others wait for the change: DuckDB hangs so by itself. The two do not meet here."""
    database = actor.table().rpartition(".")[0]
    may_force = "change_threads" not in actor.round.task["roles"]
    force = "FORCE " if may_force and actor.rng.random() < 0.2 else ""
    actor.run(f"{force}CHECKPOINT {database}".strip())
    pause(actor, 0.1)


@role
def vacuum(actor):
    actor.run(f"{actor.rng.choice(['VACUUM', 'VACUUM', 'ANALYZE'])} {actor.table()}")
    pause(actor, 0.1)


@role
def compact(actor):
    pragma = actor.rng.choice(["hnsw_compact_index", "hnsw_compact_index", "hnsw_finish", "hnsw_finish", None])
    actor.run(f"PRAGMA {pragma}('{index_path(actor, actor.table())}')" if pragma else "PRAGMA hnsw_finish")
    pause(actor, 0.05)


@role
def change_threads(actor):
    actor.run(f"SET threads = {actor.rng.choice([1, 2, 4])}")
    pause(actor, 0.2)


@role
def limit_memory(actor):
    """Little more memory than is in use, for a moment."""
    ((used,),) = actor.run("SELECT sum(memory_usage_bytes)::BIGINT FROM duckdb_memory()")
    actor.run(f"SET memory_limit = '{used + actor.rng.choice([1_000_000, 4_000_000, 12_000_000])}B'")
    try:
        pause(actor, 0.1)
    finally:
        actor.run("RESET memory_limit")
    pause(actor, 0.2)


@role
def interrupt(actor):
    actor.round.interrupt_one(actor)
    pause(actor, 0.1)
