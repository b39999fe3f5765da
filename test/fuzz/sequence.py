"""The steps that follow from a seed."""

import random

from .changes import Changes
from .queries import Queries
from .schema import Schema
from .steps import WITHOUT_INDEX, Query, Statement

CONNECTIONS = 3
#: One sequence in so many works on a table large enough for the graph at default search widths.
LARGE = 25


class Sequence:
    """`steps`: a list that depends on nothing but the arguments."""

    def __init__(self, seed, queries, in_file):
        rng = random.Random(f"{seed} {in_file}")
        self.seed = seed
        self.large = rng.randrange(LARGE) == 0
        self.connections = CONNECTIONS
        self.in_file = in_file
        schema = Schema(rng, in_file)
        # a graph that is meant to be good: its recall counts
        self.good = all(o.get("m", 16) >= 16 and o.get("ef_construction", 128) >= 64 for o in schema.indexes.values())
        changes = Changes(rng, schema, CONNECTIONS, 2049 if self.large or rng.random() < 0.2 else rng.choice([64, 600]))
        self.steps = self.setup(rng, schema, changes)
        asked = Queries(rng, schema, changes)
        left = queries
        while left > 0:
            self.steps += changes.step()
            if rng.random() < 0.4:
                self.steps += changes.audit()
            for _ in range(rng.choice([0, 1, 1, 2, 3])):
                self.steps.append(asked.query())
                left -= 1
        for connection in range(CONNECTIONS):
            self.steps.append(Statement(connection, "COMMIT", transaction="COMMIT"))
        self.steps += changes.audit()

    def setup(self, rng, schema, changes):
        """Tables, first rows, indexes: in any order that makes sense, in one transaction or not."""
        array = f"FLOAT[{schema.dimensions}]"
        probes = ", ".join(
            f"({probe}, {vector}::{array})"
            for probe, vector in enumerate([schema.key_probe() for _ in range(5)] + ["NULL"])
        )
        meta = "SELECT (i * 7) % 500 AS id, i % 4 AS kind, i % 100 AS weight FROM range(700) r(i)"
        shared = [
            "CREATE SCHEMA s",
            f"CREATE TABLE probes AS FROM (VALUES {probes}) p(probe, q)",
            f"CREATE TABLE meta AS {meta}",
            "CREATE TABLE labels AS SELECT i * 3 AS id, i % 100 AS weight FROM range(400) r(i)",
        ]
        table = [schema.create_table()]
        view = []
        if not schema.temporary and schema.kind == "array":
            view = [f"CREATE VIEW seen AS SELECT v AS vector, id AS number FROM {schema.name}"]
        elif schema.kind == "array":
            view = [f"CREATE TEMP VIEW seen AS SELECT v AS vector, id AS number FROM {schema.name}"]
        count = 12_000 if self.large else rng.choice([0, 1, 5, 50, 300, 300, 2000])
        into = changes.into()
        rows = [f"{into} {schema.batch(changes.ids(count), count)}"] if count else []
        indexes = [schema.create_index(name) for name in schema.indexes]
        if rng.random() < 0.3:
            rows, indexes = indexes, rows
        steps = [Statement(0, sql) for sql in [*shared, *table, *view]]
        if rng.random() < 0.2:
            steps.append(Statement(0, "BEGIN", transaction="BEGIN"))
            steps += [Statement(0, sql) for sql in rows + indexes]
            steps.append(Statement(0, "COMMIT", transaction="COMMIT"))
        else:
            steps += [Statement(0, sql) for sql in rows + indexes]
        return steps

    def drop(self, rows):
        """Takes rows out of VALUES lists: their places, by the number of the step as text."""
        for number, places in rows.items():
            step = self.steps[int(number)]
            step.rows = [row for place, row in enumerate(step.rows) if place not in places]

    def chosen(self, keep):
        """The steps with the numbers `keep`, or all, with their numbers."""
        numbers = range(len(self.steps)) if keep is None else keep
        return [(number, self.steps[number]) for number in numbers]


def script(steps):
    """Steps as SQL, with the connection of each. What is compared stands last, with and without the index."""
    lines = []
    connection = None
    for step in steps:
        current = getattr(step, "connection", connection)
        if current != connection:
            lines.append(f"-- connection {current}")
            connection = current
        if isinstance(step, Statement):
            lines.append(step.text() + ";")
        elif isinstance(step, Query):
            lines += [sql + ";" for sql in step.prelude]
            if step.parameters:
                lines.append(f"-- parameters {step.parameters}")
            lines.append(step.sql + ";")
        else:
            lines.append(f"-- {type(step).__name__.lower()}")
    if steps and isinstance(steps[-1], Query):
        lines.append(f"SET disabled_optimizers = '{WITHOUT_INDEX}';")
        lines.append((steps[-1].oracle or steps[-1].sql) + ";")
    elif steps and type(steps[-1]).__name__ == "Audit":
        lines.append("SELECT index_name, count, status FROM pragma_hnsw_index_info();")
        lines += [f"SELECT count({key}) FROM {steps[-1].table};" for key in steps[-1].keys.values()]
    return "\n".join(lines) + "\n"
