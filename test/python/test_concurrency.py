"""Readers, writers, a builder, a compactor and a checkpointer at once: no wrong answer, no deadlock, no lost row."""

import itertools
import random
import re
import threading
import time

import duckdb
import pytest

DIMENSIONS = 4
#: The greatest search width: exact for all tables here.
WIDEST = 10_000
#: What transactions on the same rows or catalog entries say to each other.
CONFLICTS = re.compile(r"[Cc]onflict|Cannot CHECKPOINT|has been altered|outstanding updates|another transaction")
#: Answers that are compared with the exact ones, and turns of each worker, at least.
COMPARED = 100
TURNS = 5
#: Seconds without a step of a worker that mean a deadlock.
PATIENCE = 120


def vector(number):
    """SQL of the vector of a row with this number (SQL)."""
    return f"list_transform(range({DIMENSIONS}), lambda x: sin({number} * (x + 1)))::FLOAT[{DIMENSIONS}]"


class Work:
    """Threads that share a database, until all have done enough, and the time is over, or one of them fails."""

    def __init__(self, root, seconds):
        self.root = root
        self.end = time.monotonic() + seconds
        self.failures = []
        self.alive = {}
        self.turns = {}
        self.compared = self.conflicts = 0

    def run(self, *actions):
        threads = [
            threading.Thread(target=self.loop, args=(f"{action.__name__} {number}", action, number), daemon=True)
            for number, action in enumerate(actions)
        ]
        for thread in threads:
            thread.start()
        while any(thread.is_alive() for thread in threads):
            time.sleep(0.1)
            stuck = [name for name, at in self.alive.items() if time.monotonic() - at > PATIENCE]
            assert not stuck, f"deadlock: {stuck}"
        assert not self.failures, self.failures[0]

    def loop(self, name, action, number):
        connection = self.root.cursor()
        rng = random.Random(number)
        turn = 0
        self.turns[name] = 0
        while self.go_on() and not self.failures:
            self.alive[name] = time.monotonic()
            try:
                action(connection, rng, turn)
            except duckdb.Error as error:
                self.forgive(connection, name, error)
            except Exception as error:
                self.failures.append(f"{name}: {error}")
            turn += 1
            self.turns[name] = turn
        self.alive.pop(name, None)

    def go_on(self):
        return time.monotonic() < self.end or self.compared < COMPARED or min(self.turns.values()) < TURNS

    def forgive(self, connection, name, error):
        """Notes all errors but conflicts."""
        if not CONFLICTS.search(str(error)):
            self.failures.append(f"{name}: {type(error).__name__}: {error}")
            return
        self.conflicts += 1
        try:
            connection.execute("ROLLBACK")
        except duckdb.TransactionException:
            # the error has ended the transaction
            pass

    def read(self, connection, rng, turn):
        """A search, and the exact answer, in one transaction."""
        q = [round(rng.uniform(-1, 1), 3) for _ in range(DIMENSIONS)]
        k = rng.choice([1, 10, 100])
        width = rng.choice([1, 64, WIDEST])
        sql = f"SELECT id, array_distance(v, {q}::FLOAT[{DIMENSIONS}]) AS d FROM t ORDER BY d LIMIT {k}"
        connection.execute(f"SET hnsw_ef_search = {width}")
        connection.execute("BEGIN")
        found = connection.execute(sql).fetchall()
        time.sleep(rng.choice([0, 0, 0.1]))
        again = connection.execute(sql).fetchall()
        connection.execute("SET disabled_optimizers = 'extension,late_materialization'")
        exact = connection.execute(sql).fetchall()
        ids = ", ".join(str(row) for row, _ in found) or "-1"
        visible = connection.execute(
            f"SELECT id, array_distance(v, {q}::FLOAT[{DIMENSIONS}]) FROM t WHERE id IN ({ids})"
        ).fetchall()
        connection.execute("RESET disabled_optimizers")
        connection.execute("COMMIT")
        assert len(found) == len(exact), f"{len(found)} rows instead of {len(exact)}"
        assert sorted(found) == sorted(visible), "a row that is not visible, or not at this distance"
        assert len(again) == len(exact), f"{len(again)} rows at second sight instead of {len(exact)}"
        if width == WIDEST:
            assert [d for _, d in again] == [d for _, d in found], "another answer at second sight"
            assert [d for _, d in found] == [d for _, d in exact], f"{q}: {found} instead of {exact}"
        self.compared += 1


def writer(first, lasting):
    """Inserts, updates and deletes rows with ids from `first` on; those in `lasting` stay for ever."""
    ids = itertools.count(first)

    def write(connection, rng, turn):
        start = next(ids)
        count = rng.choice([1, 1, 5, 65, 300])
        for _ in range(count - 1):
            next(ids)
        connection.execute("BEGIN")
        connection.execute(f"INSERT INTO t SELECT i, {vector('i')} FROM range({start}, {start + count}) r(i)")
        if rng.random() < 0.5:
            connection.execute(f"UPDATE t SET v = {vector('(id + 7)')} WHERE id = {start}")
        if rng.random() < 0.6:
            connection.execute(f"DELETE FROM t WHERE id BETWEEN {first} AND {start + count - 1} AND id % 5 <> 0")
        if rng.random() < 0.2:
            connection.execute("ROLLBACK")
            return
        connection.execute("COMMIT")
        lasting.update(row for row in range(start, start + count) if row % 5 == 0)

    return write


@pytest.mark.parametrize("building", [False, True], ids=["index stays", "index comes and goes"])
def test_everything_at_once(connect, request, building):
    seconds = request.config.getoption("--minutes") * 60
    root = connect(threads=2)
    root.execute(f"CREATE TABLE t AS SELECT i AS id, {vector('i')} AS v FROM range(3000) r(i)")
    root.execute("CREATE INDEX i ON t USING HNSW (v)")
    work = Work(root, seconds)
    lasting = [set(range(0, 3000)), set(), set()]

    def build(connection, rng, turn):
        connection.execute("DROP INDEX IF EXISTS i")
        time.sleep(rng.random() / 5)
        connection.execute("CREATE INDEX IF NOT EXISTS i ON t USING HNSW (v)")
        time.sleep(rng.random() / 2)

    def compact(connection, rng, turn):
        time.sleep(rng.random() / 5)
        try:
            connection.execute(rng.choice(["PRAGMA hnsw_compact_index('i')", "VACUUM t"]))
        except duckdb.BinderException as error:
            assert building and "there is no index" in str(error)

    def checkpoint(connection, rng, turn):
        time.sleep(rng.random() / 5)
        connection.execute("CHECKPOINT")

    writers = [writer(1_000_000, lasting[1]), writer(2_000_000, lasting[2])]
    work.run(work.read, work.read, *writers, compact, checkpoint, *([build] if building else []))
    root.execute("CREATE INDEX IF NOT EXISTS i ON t USING HNSW (v)")
    rows = {row for (row,) in root.execute("SELECT id FROM t").fetchall()}
    assert set.union(*lasting) <= rows, "a committed row is lost"
    info = root.execute("SELECT count, status FROM pragma_hnsw_index_info()").fetchone()
    assert info == (len(rows), "ready")
    root.execute(f"SET hnsw_ef_search = {WIDEST}")
    for row in random.Random(0).sample(sorted(rows), 50):
        query = f"(SELECT v FROM t WHERE id = {row})"
        found = root.execute(f"SELECT array_distance(v, {query}) AS d FROM t ORDER BY d LIMIT 1").fetchall()
        assert found == [(0,)]


@pytest.mark.parametrize("in_file", [False, True])
def test_rows_committed_while_an_index_is_made_are_in_it(connect, tmp_path, in_file):
    con = connect(str(tmp_path / "made.db") if in_file else ":memory:")
    con.execute("SET GLOBAL hnsw_enable_experimental_persistence = true")
    con.execute(f"CREATE TABLE t AS SELECT i AS id, {vector('i')} AS v FROM range(100) r(i)")

    def write(first, stop):
        own = con.cursor()
        for start in itertools.count(first, 3):
            if stop.is_set():
                return
            try:
                own.execute(f"INSERT INTO t SELECT i, {vector('i')} FROM range({start}, {start + 3}) r(i)")
                own.execute(f"DELETE FROM t WHERE id = {start}")
            except duckdb.TransactionException as error:
                assert CONFLICTS.search(str(error))

    for turn in range(12):
        stop = threading.Event()
        writers = [threading.Thread(target=write, args=(10_000 * (2 * turn + n), stop)) for n in (1, 2)]
        for writer in writers:
            writer.start()
        time.sleep(0.05)
        con.execute("DROP INDEX IF EXISTS i")
        try:
            con.execute("CREATE INDEX i ON t USING HNSW (v)")
        except duckdb.TransactionException as error:
            assert CONFLICTS.search(str(error))
        stop.set()
        for writer in writers:
            writer.join()
        con.execute("CREATE INDEX IF NOT EXISTS i ON t USING HNSW (v)")
        count = con.execute("SELECT count FROM pragma_hnsw_index_info()").fetchone()
        assert count == con.execute("SELECT count(*) FROM t").fetchone()
