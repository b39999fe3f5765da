"""Runs the steps of a sequence in this process, and compares."""

import collections
import json
import pathlib
import re
import tempfile

import duckdb

from . import answers
from .steps import BAD_OPTIMIZERS, WITHOUT_INDEX, Audit, Query, Reopen, Statement

#: Errors that transactions on the same rows, or on the same catalog entries, give each other.
CONFLICTS = re.compile(
    r"[Cc]onflict|Current transaction is aborted|PRIMARY KEY or UNIQUE|Duplicate key|Cannot CHECKPOINT|has been altered"
    r"|outstanding updates|Forced commit failure|Cannot vacuum|Cannot VACUUM|another transaction|transaction-local"
    r"|there is no index|was dropped by another connection|does not cover its table"
)
#: DuckDB takes elements of rows that are NULL for NULL elements where it casts arrays to lists.
NULLS = re.compile("argument can not contain NULL values")
#: These are findings wherever they come from.
FATAL = re.compile(r"^(INTERNAL|FATAL|Fatal|Internal)|database has been invalidated|panicked")


class Finding(Exception):
    """Something that must not happen. `kind` stays the same while the sequence is shrunk."""

    def __init__(self, kind, message):
        super().__init__(f"{kind}: {message}")
        self.kind = kind


class Database:
    """A database with `connections` connections, one more for audits, and what was counted on it."""

    def __init__(self, extension, connections, in_file):
        self.extension = extension
        self.count = connections
        self.directory = tempfile.TemporaryDirectory(prefix="fuzz") if in_file else None
        self.path = str(pathlib.Path(self.directory.name) / "fuzz.db") if in_file else ":memory:"
        self.served = collections.Counter()
        self.compared = collections.Counter()
        self.errors = collections.Counter()
        self.shares = []
        self.open()

    def open(self):
        self.root = duckdb.connect(self.path, config={"allow_unsigned_extensions": "true", "threads": "2"})
        self.root.load_extension(self.extension)
        if self.directory:
            self.root.execute("SET GLOBAL hnsw_enable_experimental_persistence = true")
        self.connections = [self.root.cursor() for _ in range(self.count)]
        self.auditor = self.root.cursor()
        self.in_transaction = [False] * self.count

    def close(self):
        for connection in [*self.connections, self.auditor, self.root]:
            connection.close()

    def run(self, step):
        """Raises `Finding`."""
        if isinstance(step, Statement):
            self.statement(step)
        elif isinstance(step, Query):
            self.query(step)
        elif isinstance(step, Audit):
            self.audit(step)
        elif isinstance(step, Reopen):
            self.close()
            self.open()

    def statement(self, step):
        if step.transaction and (step.transaction == "BEGIN") == self.in_transaction[step.connection]:
            return
        if step.sql.startswith("FORCE") and any(self.in_transaction):
            # waits for the transactions that write
            return
        try:
            self.connections[step.connection].execute(step.text())
        except duckdb.Error as error:
            message = check(error)
            if not CONFLICTS.search(message) and not NULLS.search(message):
                raise Finding("error", f"{message}\n{step.text()}") from error
            self.errors["conflict"] += 1
            self.roll_back(step.connection)
            return
        if step.transaction:
            self.in_transaction[step.connection] = step.transaction == "BEGIN"

    def roll_back(self, connection):
        """Ends a transaction in which a statement has failed."""
        if self.in_transaction[connection]:
            self.in_transaction[connection] = False
            try:
                self.connections[connection].execute("ROLLBACK")
            except duckdb.TransactionException as error:
                # the error has ended it already
                check(error)

    def query(self, step):
        try:
            self.compare(step)
        finally:
            for sql in step.postlude:
                self.ask(self.connections[step.connection], sql, {})

    def compare(self, step):
        """Runs a query with the index and without it."""
        connection = self.connections[step.connection]
        for sql in step.prelude:
            outcome = self.ask(connection, sql, {})
            if outcome.error:
                raise Finding("error", f"{outcome.error}\n{sql}")
        plan = self.plan(step)
        if plan and "Hnsw" not in plan:
            self.compare_plans(step)
        if "Hnsw" not in plan or "rowid = rowid" in plan:
            connection.execute(f"SET disabled_optimizers = '{BAD_OPTIMIZERS}'")
        late = connection.execute("SELECT current_setting('disabled_optimizers')").fetchall()[0][0]
        connection.execute(f"SET disabled_optimizers = '{WITHOUT_INDEX}'")
        exact = self.ask(connection, step.oracle or step.sql, step.parameters)
        if exact.error and self.in_transaction[step.connection]:
            # it ends the transaction in which both could be compared
            self.roll_back(step.connection)
            connection.execute("RESET disabled_optimizers")
            self.errors["in a transaction"] += 1
            return
        connection.execute(f"SET disabled_optimizers = '{late}'")
        found = self.ask(connection, step.sql, step.parameters)
        if found.error and not exact.error:
            if not NULLS.search(found.error):
                raise Finding("error", f"{found.error}\n{step.sql}\n{plan}")
            self.roll_back(step.connection)
            connection.execute("RESET disabled_optimizers")
            self.errors["NULL elements"] += 1
            return
        connection.execute(f"SET disabled_optimizers = '{WITHOUT_INDEX}'")
        distances = self.distances(connection, step, [found, exact])
        connection.execute("RESET disabled_optimizers")
        strategies = re.findall(r"Strategy: (\w+)", plan)
        exactly = "Hnsw" not in plan or (strategies and set(strategies) <= {"exact", "scan"})
        if distances is None:
            self.errors["unknown distances"] += 1
            return
        wrong, share = answers.compare(found, exact, distances, step, exactly)
        if wrong and exactly and "Hnsw" in plan and not self.ran_exactly(step):
            # what is wrong by chance only, so it says nothing about recall
            wrong, share = answers.compare(found, exact, distances, step, False)[0], None
        if wrong:
            kind = "error" if found.error or exact.error else "answer"
            raise Finding(kind, f"{wrong}\nplan:\n{plan}")
        self.compared[step.shape] += 1
        self.served[step.shape] += "Hnsw" in plan
        self.errors["both" if found.error else "without"] += bool(exact.error)
        widths = [int(width) for width in re.findall(r"Search Width: (\d+)", plan)]
        # on a later page one row that is missing before it moves all others
        if share is not None and widths and min(widths) >= 64 and "OFFSET" not in step.sql:
            self.shares.append(share)

    def compare_plans(self, step):
        """A query that is refused costs what it costs without the extension: DuckDB has planned it as it would have."""
        if step.sql.startswith("EXECUTE") or self.in_transaction[step.connection]:
            # a plan that was made before; and late materialization stays off beside what a transaction has deleted
            return
        connection = self.connections[step.connection]
        plans = []
        for disabled in ["", "extension"]:
            connection.execute(f"SET disabled_optimizers = '{disabled}'")
            plans.append(self.plan(step, "EXPLAIN (FORMAT json) "))
        connection.execute("RESET disabled_optimizers")
        if all(plans):
            refused, own = [operators(json.loads(plan)[0]) for plan in plans]
            # what reads nothing costs nothing
            if refused not in (own, without_lookup(own)) and "EMPTY_RESULT" not in str(own):
                raise Finding("plan", f"refused, and planned as\n{refused}\ninstead of\n{own}")

    def plan(self, step, verb="EXPLAIN "):
        """Empty if there is none; the query then fails, too."""
        try:
            connection = self.connections[step.connection]
            return connection.execute(verb + step.sql, used(step.sql, step.parameters)).fetchall()[0][1]
        except duckdb.Error as error:
            check(error)
            self.roll_back(step.connection)
            return ""

    def ran_exactly(self, step):
        """Whether the search is exact when it runs: EXPLAIN only estimates, and rows are linked meanwhile."""
        # up to the next name: there may be several, on lines of their own
        return not re.search(r"Strategy:[^:]*\b(graph|filtered)\b", self.plan(step, "EXPLAIN ANALYZE "))

    def ask(self, connection, sql, parameters):
        try:
            result = connection.execute(sql, used(sql, parameters))
            return answers.answer(result.description, result.fetchall())
        except duckdb.Error as error:
            return answers.Answer(error=check(error))

    def distances(self, connection, step, found):
        """The distances of the rows in the answers `found`, by group and id; of visible rows only, a row may come
        twice. None if they cannot be computed."""
        ids = {row[1] for one in found for row in one.rows or [] if isinstance(row[1], int)}
        if not ids or any(one.error for one in found):
            return {}
        sql = f"SELECT g, id, d FROM ({step.all_rows}) WHERE id IN ({', '.join(map(str, ids))})"
        try:
            rows = connection.execute(sql, used(sql, step.parameters)).fetchall()
        except duckdb.Error as error:
            # the distances of all rows, where the query needed only some; DuckDB refuses some rows
            check(error)
            self.roll_back(step.connection)
            return None
        result = {}
        for group, row_id, distance in rows:
            result.setdefault(("" if group is None else str(group), row_id), []).append(answers.rendered(distance))
        return result

    def audit(self, step):
        try:
            infos = self.auditor.execute("SELECT index_name, count, status FROM pragma_hnsw_index_info()").fetchall()
            for name, count, status in infos:
                vectors = self.auditor.execute(f"SELECT count({step.keys[name]}) FROM {step.table}").fetchall()[0][0]
                # an expression may change in place by what an older transaction has planned before: the index waits for its end
                waits = "(" in step.keys[name] and any(self.in_transaction) and status.startswith("incomplete")
                if (count, status) != (vectors, "ready") and not waits:
                    message = f"index {name} has {count} rows and is {status}; the table has {vectors} vectors"
                    raise Finding("audit", message)
        except duckdb.CatalogException as error:
            # a temporary table, which only its own connection sees
            check(error)


def operators(plan):
    """A plan as the names of its operators, each with those below it; but for projections, which cost next to nothing, and filters
    directly above others or above a scan, which costs what it costs to filter there."""
    name, below = plan["name"].strip(), list(map(operators, plan["children"]))
    left_out = name == "PROJECTION" or (name == "FILTER" and below[0][0] in ("FILTER", "SEQ_SCAN"))
    return below[0] if left_out else [name, *below]


def without_lookup(plan):
    """The same without the joins by which DuckDB looks up the rows that an aggregate has kept in the place of a window. It plans
    them too early for the extension to plan them afterwards: a rank that could have been served, and is not, keeps whole rows."""
    below = list(map(without_lookup, plan[1:]))
    kept = plan[0] == "HASH_JOIN" and below[0] == ["SEQ_SCAN"] and below[1][0] in ("UNNEST", "HASH_GROUP_BY", "UNGROUPED_AGGREGATE")
    return below[1] if kept else [plan[0], *below]


def used(sql, parameters):
    return {name: value for name, value in parameters.items() if f"${name}" in sql}


def check(error):
    """The message of an error. Raises `Finding` if it must not happen whatever the user does."""
    message = f"{type(error).__name__}: {error}"
    if FATAL.search(str(error)) or isinstance(error, (duckdb.InternalException, duckdb.FatalException)):
        raise Finding("internal error", message) from error
    return message
