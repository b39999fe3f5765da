"""Random work on a small indexed table: each query must answer as it does without the index, in the same transaction.

The table stays so small that searches are exact; only rows at the same distance may be exchanged for each other.
"""

import random

import duckdb
import pytest

DIMENSIONS = 3
# Not the operators <-> and <=>: DuckDB defines them over lists, and refuses them when any vector of the table is NULL.
FUNCTIONS = {
    "l2sq": [("array_distance", "ASC")],
    "cosine": [("array_cosine_distance", "ASC"), ("array_cosine_similarity", "DESC")],
    "ip": [("array_negative_inner_product", "ASC"), ("array_inner_product", "DESC")],
}


class Work:
    """One table, an index on it, and two connections that use it at random."""

    def __init__(self, connect, seed):
        self.random = random.Random(seed)
        self.seed = seed
        self.metric = self.random.choice(list(FUNCTIONS))
        first = connect()
        self.connections = [first, first.cursor()]
        self.in_transaction = [False, False]
        self.log = []
        self.next_id = 0
        self.run(0, f"CREATE TABLE t (id INTEGER, tag VARCHAR, v FLOAT[{DIMENSIONS}])")
        if self.random.random() < 0.5:
            self.insert(0)
        self.run(0, f"CREATE INDEX i ON t USING HNSW (v) WITH (metric = '{self.metric}')")

    def run(self, which, sql):
        """True unless DuckDB reports a conflict between the transactions, which ends the transaction."""
        self.log.append(f"-- {which}\n{sql};")
        try:
            self.connections[which].execute(sql)
            return True
        except (duckdb.TransactionException, duckdb.ConstraintException) as conflict:
            self.log.append(f"-- {conflict}")
            if self.in_transaction[which]:
                self.connections[which].execute("ROLLBACK")
                self.in_transaction[which] = False
            return False

    def vector(self):
        kind = self.random.random()
        if kind < 0.08:
            return "NULL"
        if kind < 0.11:
            return "[0, 0, 0]"
        if kind < 0.13:
            return "['nan'::FLOAT, 1, 2]"
        if kind < 0.15:
            return "[1, 'inf'::FLOAT, 2]"
        if kind < 0.5:
            return str([self.random.randrange(-3, 4) for _ in range(DIMENSIONS)])
        return str([round(self.random.uniform(-3, 3), 4) for _ in range(DIMENSIONS)])

    def insert(self, which):
        rows = []
        for _ in range(self.random.choice([1, 1, 2, 10, 70, 300])):
            rows.append(f"({self.next_id}, 'tag{self.next_id % 5}', {self.vector()})")
            self.next_id += 1
        self.run(which, "INSERT INTO t VALUES " + ", ".join(rows))

    def condition(self):
        return self.random.choice(
            [
                f"id = {self.random.randrange(self.next_id + 1)}",
                f"id % 7 = {self.random.randrange(7)}",
                f"tag = 'tag{self.random.randrange(5)}'",
                f"id BETWEEN {self.random.randrange(self.next_id + 1)} AND {self.random.randrange(self.next_id + 1)}",
                "v IS NULL",
                "true",
            ]
        )

    def step(self):
        which = self.random.randrange(2)
        action = self.random.random()
        if action < 0.25:
            self.insert(which)
        elif action < 0.4:
            self.run(which, f"UPDATE t SET v = {self.vector()} WHERE {self.condition()}")
        elif action < 0.45:
            self.run(which, f"UPDATE t SET tag = 'other' WHERE {self.condition()}")
        elif action < 0.6:
            self.run(which, f"DELETE FROM t WHERE {self.condition()}")
        elif action < 0.75:
            if self.in_transaction[which]:
                self.in_transaction[which] = False
                self.run(which, self.random.choice(["COMMIT", "COMMIT", "ROLLBACK"]))
            else:
                self.run(which, "BEGIN")
                self.in_transaction[which] = True
        elif action < 0.8 and not any(self.in_transaction):
            self.run(which, self.random.choice(["CHECKPOINT", "VACUUM t", "PRAGMA hnsw_compact_index('i')"]))
        self.query(self.random.randrange(2))

    def query(self, which):
        function, direction = self.random.choice(FUNCTIONS[self.metric])
        q = self.random.choice(
            [
                str([self.random.randrange(-3, 4) for _ in range(DIMENSIONS)]),
                str([self.random.uniform(-3, 3) for _ in range(DIMENSIONS)]),
                "[0, 0, 0]",
            ]
        )
        q = f"{q}::FLOAT[{DIMENSIONS}]"
        arguments = self.random.choice([("v", q), (q, "v")])
        key = f"{function}({arguments[0]}, {arguments[1]})"
        limit = self.random.choice([1, 3, 10, 50, 1000])
        offset = self.random.choice([0, 0, 0, 1, 10])
        sql = f"SELECT {key} AS d, id FROM t ORDER BY d {direction} LIMIT {limit} OFFSET {offset}"
        con = self.connections[which]
        plan = con.execute("EXPLAIN " + sql).fetchone()[1]
        assert "Hnsw Index Scan" in plan, f"seed {self.seed}: {sql}\n{plan}"
        found = con.execute(sql).fetchall()
        # Late materialization of DuckDB 2.0.0 answers wrongly, or crashes, when an ARRAY column has NULLs.
        con.execute("SET disabled_optimizers = 'extension,late_materialization'")
        exact = con.execute(sql).fetchall()
        ids = con.execute(f"SELECT {key} AS d, id FROM t").fetchall()
        con.execute("RESET disabled_optimizers")
        script = "\n".join(self.log[-60:])
        context = f"seed {self.seed}, connection {which}\n{script}\n{sql};"
        assert [str(d) for d, _ in found] == [str(d) for d, _ in exact], context
        assert len({row for _, row in found}) == len(found), context
        assert {str(row) for row in found} <= {str(row) for row in ids}, context


def pytest_generate_tests(metafunc):
    if "seed" in metafunc.fixturenames:
        metafunc.parametrize("seed", range(metafunc.config.getoption("--seeds")))


def test_every_answer_is_the_one_without_the_index(connect, seed):
    work = Work(connect, seed)
    for _ in range(120):
        work.step()
    for which in range(2):
        if work.in_transaction[which]:
            work.run(which, "COMMIT")
    con = work.connections[0]
    vectors = con.execute("SELECT count(v) FROM t").fetchone()[0]
    info = con.execute("SELECT count, status FROM pragma_hnsw_index_info()").fetchone()
    assert info == (vectors, "ready"), f"seed {seed}\n" + "\n".join(work.log[-60:])
