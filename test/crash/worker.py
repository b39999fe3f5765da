"""The process that is killed: opens the file, says what it found, then changes it at random and says so.

Messages to the campaign are lines of JSON on the standard output; the task comes as JSON in the arguments.
"""

import json
import os
import random
import re
import signal
import sys
import threading

import duckdb

from crash.model import DIMENSIONS, FUNCTIONS, VECTOR, sql

# A recall below this, over the 40 rows of four searches, is a wrong answer.
RECALL = 0.8
# A condition that DuckDB cannot tell to hold for every row: the strategy can be chosen for searches with a filter.
EACH = "id % 2 < 2"
# Distances of equal rows may differ by so much: the index holds vectors for cosine with norm 1.
CLOSE = 1e-5
# With more rows most statements are deletions: many rows make slow builds, and each kill would hit one.
ROWS = 4000
# Where DuckDB can be told to fail in a checkpoint, and while it recovers a log that was split by one.
ABORTS = ["before_header", "before_header_non_fatal", "after_free_list_write", "before_truncate", "before_wal_finish"]
ABORTS += ["before_wal_flush"]
RECOVERY_ABORTS = ["before_moving_recovery", "before_deleting_checkpoint_wal"]
ABORTED = re.compile("checkpoint_abort flag|Simulated crash|has been invalidated")
EXACT = "extension,late_materialization"


def say(**message):
    # one write, so that lines of two threads do not mix
    os.write(1, (json.dumps(message) + "\n").encode())


def die():
    os.kill(os.getpid(), signal.SIGKILL)


def connect(task, extension=True):
    config = {"allow_unsigned_extensions": "true", "default_block_size": str(task["block_size"])}
    if task["abort_recovery"]:
        config["debug_checkpoint_abort"] = task["abort_recovery"]
    try:
        con = duckdb.connect(task["path"], config=config)
    except duckdb.Error as error:
        if task["abort_recovery"] and ABORTED.search(str(error)):
            say(aborted=task["abort_recovery"])
            die()
        raise
    if task["abort_recovery"]:
        con.execute("RESET GLOBAL debug_checkpoint_abort")
    if extension:
        con.load_extension(task["extension"])
    return con


def both(con, query):
    """What the index finds and what the table holds, in one transaction."""
    con.execute("BEGIN")
    found = [row for (row,) in con.execute(query).fetchall()]
    con.execute(f"SET disabled_optimizers = '{EXACT}'")
    exact = [row for (row,) in con.execute(query).fetchall()]
    con.execute("RESET disabled_optimizers")
    con.execute("COMMIT")
    return found, exact


def apart(one, other):
    """Whether two distances, each of which may be NULL, are those of different vectors."""
    return (one is None) != (other is None) or one is not None and abs(one - other) > CLOSE


def answers(con, metric, seed):
    """What is wrong with the answers of the index."""
    function, direction = FUNCTIONS[metric]
    found = expected = 0
    for number in range(4):
        choice = random.Random(seed + number)
        q = [choice.uniform(-0.5, 0.5) for _ in range(DIMENSIONS)]
        query = f"SELECT {function}(v, {q}::FLOAT[{DIMENSIONS}]) AS d FROM t WHERE {EACH} ORDER BY d {direction} LIMIT "
        # through the graph, however small it is
        con.execute("SET hnsw_strategy = 'recheck'")
        near, exact = both(con, f"{query} 10")
        if len(near) != len(exact) or near.count(None) != exact.count(None):
            return f"{query}: {near}, not {exact}"
        expected += len(exact)
        # nothing is nearer than the exact answer's, so what the index missed stands behind its last
        found += sum(d in exact for d in near)
        # through all vectors of the index
        con.execute("SET hnsw_strategy = 'exact'")
        near, exact = both(con, f"{query} 300")
        if len(near) != len(exact) or any(map(apart, near, exact)):
            return f"{query}: the vectors of the index are not those of the table"
    con.execute("RESET hnsw_strategy")
    return f"recall {found / expected}" if found < RECALL * expected else None


def state(con, seed):
    """What the file holds, and what is wrong with it beyond what a model of rows can tell."""
    ids, versions = con.execute("SELECT list(id), list(version) FROM t").fetchone()
    wrong = []
    (foreign,) = con.execute(f"SELECT count(*) FROM t WHERE v IS DISTINCT FROM {VECTOR}").fetchone()
    if foreign:
        wrong.append(f"{foreign} rows have other vectors than were written")
    (named,) = con.execute("SELECT count(*) FROM duckdb_indexes()").fetchone()
    infos = con.execute("SELECT metric, count, status FROM pragma_hnsw_index_info()").fetchall()
    metric = infos[0][0] if infos else None
    if named != len(infos):
        wrong.append(f"{named} indexes, but information about {infos}")
    if infos:
        (vectors,) = con.execute("SELECT count(v) FROM t").fetchone()
        if infos[0][1:] != (vectors, "ready"):
            wrong.append(f"index {infos}, table {vectors} vectors")
        function, direction = FUNCTIONS[metric]
        q = [0] * (DIMENSIONS - 1) + [1]
        query = f"SELECT id FROM t ORDER BY {function}(v, {q}::FLOAT[{DIMENSIONS}]) {direction} LIMIT 10"
        plan = con.execute(f"EXPLAIN {query}").fetchone()[1].upper()
        if "HNSW INDEX SCAN" not in plan.replace("_", " "):
            wrong.append("the index is not used")
        wrong += filter(None, [answers(con, metric, seed)])
    rows = dict(zip(ids or [], versions or []))
    if len(rows) != len(ids or []):
        wrong.append("an id stands twice in the table")
    return {"rows": list(rows.items()), "metric": metric, "wrong": wrong}


class Writer:
    """Random transactions on one connection."""

    def __init__(self, con, number, task, found):
        self.con = con
        self.number = number
        self.random = random.Random(f"{task['seed']} {number}")
        self.abort = task["abort"]
        self.point = None
        self.metric = found["metric"]
        self.next_id = max((id for id, _ in found["rows"]), default=0) // 2 * 2 + 2 + number
        self.operation = 0

    def range(self, most):
        first = self.random.randrange(self.number, self.next_id + 1, 2)
        return [first, first + 2 * self.random.choice([1, 10, most])]

    def change(self):
        (rows,) = self.con.execute("SELECT count(*) FROM t").fetchone()
        many = rows > ROWS
        kind = self.random.choices(["insert", "update", "delete"], [5, 3, 20 if many else 2])[0]
        if kind == "insert":
            count = self.random.choice([1, 1, 10, 100, 1500])
            first, self.next_id = self.next_id, self.next_id + 2 * count
            return [kind, first, count]
        return [kind, *self.range(200 if kind == "update" else self.next_id if many else 1500)]

    def attempt(self, changes, statements):
        """Runs a transaction. Whether it was committed is open until it is said to be done or undone."""
        self.operation += 1
        name = f"{self.number}.{self.operation}"
        say(begin=name, changes=changes, sql=statements[0])
        try:
            for statement in statements:
                self.con.execute(statement)
        except duckdb.TransactionException as error:
            if "BEGIN" in statements:
                self.roll_back()
            say(undone=name, reason=str(error))
            return False
        say(done=name)
        return True

    def roll_back(self):
        try:
            self.con.execute("ROLLBACK")
        except duckdb.TransactionException:
            # the commit has failed, and has ended the transaction itself
            pass

    def maintain(self):
        statement = self.random.choice(
            ["CHECKPOINT"] * 4 + ["FORCE CHECKPOINT"] * 2 + ["VACUUM t", "compact", "ALTER TABLE", "index", "index"]
        )
        if statement == "index":
            metric = None if self.metric else self.random.choice(list(FUNCTIONS))
            change = ["index", metric, self.random.choice(["none", "sq8", "sq4"])]
            if self.attempt([change], [sql(change)]):
                self.metric = metric
            return
        if statement == "compact":
            if not self.metric:
                return
            statement = "PRAGMA hnsw_compact_index('i')"
        elif statement == "ALTER TABLE":
            statement = f"ALTER TABLE t ADD COLUMN IF NOT EXISTS c{self.random.randrange(3)} INTEGER DEFAULT 7"
        elif self.abort and "CHECKPOINT" in statement:
            self.point = self.random.choice(ABORTS)
            self.con.execute(f"SET debug_checkpoint_abort = '{self.point}'")
        self.attempt([], [statement])

    def step(self):
        kind = self.random.random()
        if self.number == 0 and kind < 0.3:
            self.maintain()
        elif self.number == 0 and kind < 0.35 and self.metric:
            problem = answers(self.con, self.metric, self.operation)
            if problem:
                say(wrong=problem)
        elif kind < 0.7:
            change = self.change()
            self.attempt([change], [sql(change)])
        else:
            changes = [self.change() for _ in range(self.random.randrange(2, 5))]
            statements = ["BEGIN", *map(sql, changes)]
            if self.random.random() < 0.3:
                self.attempt([], [*statements, "ROLLBACK"])
            else:
                self.attempt(changes, [*statements, "COMMIT"])

    def run(self):
        try:
            while True:
                self.step()
        except duckdb.Error as error:
            if not self.abort or not ABORTED.search(str(error)):
                say(error=f"{type(error).__name__}: {error}")
            elif self.point:
                say(aborted=self.point)
        die()


def without_extension(task):
    """A session that has the log replayed, and perhaps checkpointed, by DuckDB alone."""
    con = connect(task, extension=False)
    con.execute("SELECT count(*) FROM t")
    if task["without"] == "checkpoint":
        con.execute("SET checkpoint_threshold = '1B'")
    con.execute("INSERT INTO other VALUES (1)")
    con.close()


def main():
    task = json.loads(sys.argv[1])
    say(opening=task["path"])
    if task["without"]:
        without_extension(task)
    con = connect(task)
    con.execute("SET GLOBAL hnsw_enable_experimental_persistence = true")
    con.execute("CREATE TABLE IF NOT EXISTS other (i INTEGER)")
    con.execute(f"CREATE TABLE IF NOT EXISTS t (id INTEGER, version INTEGER, v FLOAT[{DIMENSIONS}])")
    # DuckDB 2.0.0 leaves a torn log without a commit in the file system until it writes to it. A checkpoint before that, of a
    # commit that is so large that it skips the log, makes the log one of the past, and the next process refuses the file.
    con.execute("INSERT INTO other VALUES (0)")
    con.execute(f"SET checkpoint_threshold = '{task['threshold']}'")
    if task["verify"]:
        con.execute("SET debug_verify_blocks = true")
    found = state(con, task["seed"])
    say(found=found)
    writers = [Writer(con.cursor(), number, task, found) for number in range(task["writers"])]
    for writer in writers[1:]:
        threading.Thread(target=writer.run, daemon=True).start()
    writers[0].run()


if __name__ == "__main__":
    main()
