"""Random statements that change the table, its indexes, or how they are searched."""

from .schema import OTHERS
from .steps import Audit, Reopen, Statement
from .values import literal

#: Rows of one statement, among them those around DuckDB's vector size and the index's own batches.
BATCHES = [1, 1, 1, 2, 3, 10, 10, 63, 64, 65, 100, 500, 511, 512, 513, 2047, 2048, 2049]
WIDTHS = [1, 1, 2, 10, 64, 64, 200, 2000, 10_000]


class Changes:
    """Statements on `connections` connections. Keeps what generating needs: ids given out, open transactions."""

    def __init__(self, rng, schema, connections, most_rows):
        self.rng = rng
        self.schema = schema
        self.connections = 1 if schema.temporary else connections
        self.most_rows = most_rows
        self.next_id = 0
        self.open = [False] * connections
        self.kinds = [
            (self.insert, 16),
            (self.update_vectors, 11),
            (self.update_others, 3),
            (self.delete, 10),
            (self.transaction, 16),
            (self.upsert, 5),
            (self.merge, 3),
            (self.maintenance, 8),
            (self.index, 4),
            (self.setting, 5),
            (self.failed_commit, 1),
            (self.brief, 2),
            (self.truncate, 0.3),
            (self.add_column, 0.2),
            (self.reopen, 3 if schema.in_file else 0),
        ]

    def step(self):
        """A few steps that belong together, on a connection of its own choice."""
        kinds, weights = zip(*self.kinds, strict=True)
        return self.rng.choices(kinds, weights)[0](self.connection())

    def connection(self):
        return self.rng.randrange(self.connections)

    def some_id(self):
        return self.rng.randrange(self.next_id + 1)

    def ids(self, count):
        self.next_id += count
        return self.next_id - count

    def count(self):
        return min(self.rng.choice(BATCHES), self.most_rows)

    def condition(self):
        """A condition that any number of rows fulfils, from none to all."""
        schema, rng = self.schema, self.rng
        first = self.some_id()
        size = self.count()
        options = [
            f"id = {first}",
            f"id BETWEEN {first} AND {first + size - 1}",
            f"id BETWEEN {first} AND {first + size - 1}",
            f"id % {rng.choice([2, 3, 7, 64])} = 1",
            f"id >= {first}",
            f"{schema.key} IS NULL",
            "true",
        ]
        options += [rng.choice(OTHERS[name][2]) for name in schema.others]
        if rng.random() < 0.3:
            return self.nearest(size)
        return rng.choice(options)

    def nearest(self, count):
        """The condition to be one of the nearest rows to a random vector; found through the index."""
        function, direction = self.schema.function()
        query = f"{literal(self.schema.vectors.query())}::FLOAT[{self.schema.dimensions}]"
        distance = function.format(self.schema.key, query)
        where = f" WHERE len(v) = {self.schema.dimensions}" if self.schema.ragged else ""
        return f"id IN (SELECT id FROM {self.schema.name}{where} ORDER BY {distance} {direction} LIMIT {count})"

    def into(self, verb="INSERT"):
        return f"{verb} INTO {self.schema.name} ({', '.join(self.schema.columns)})"

    def insert(self, connection):
        schema, count = self.schema, self.count()
        kind = self.rng.random()
        first = self.ids(count)
        if count <= 100 and kind < 0.5:
            return [Statement(connection, f"{self.into()} VALUES ", [schema.row(first + i) for i in range(count)])]
        if kind < 0.65:
            others = ", ".join([*schema.others, *schema.key_columns])
            select = f"SELECT {first} + row_number() OVER () - 1, {others} FROM {schema.name}"
            return [Statement(connection, f"{self.into()} {select} LIMIT {count}")]
        return [Statement(connection, f"{self.into()} {schema.batch(first, count)}")]

    def assignment(self, row="id"):
        """SQL of new vectors: one for all rows, one of another row, or one for each row."""
        schema = self.schema
        kind = self.rng.random()
        if kind < 0.4:
            values = schema.key_values(schema.vectors.vector())
        elif kind < 0.55 and schema.kind in ("array", "list"):
            values = [f"(SELECT min(v) FROM {schema.name} WHERE id = {self.some_id()})"]
        else:
            values = schema.key_batch(f"{row} + {self.rng.randrange(10_000)}")
        return ", ".join(f"{name} = {value}" for name, value in zip(schema.key_columns, values, strict=True))

    def update_vectors(self, connection):
        return [Statement(connection, f"UPDATE {self.schema.name} SET {self.assignment()} WHERE {self.condition()}")]

    def update_others(self, connection):
        schema = self.schema
        if not schema.others:
            return self.update_vectors(connection)
        name = self.rng.choice(schema.others)
        value = OTHERS[name][1].format(self.rng.choice(["id", str(self.some_id())]))
        return [Statement(connection, f"UPDATE {schema.name} SET {name} = {value} WHERE {self.condition()}")]

    def delete(self, connection):
        return [Statement(connection, f"DELETE FROM {self.schema.name} WHERE {self.condition()}")]

    def truncate(self, connection):
        return [Statement(connection, f"TRUNCATE {self.schema.name}")]

    def brief(self, connection):
        """Rows that come and go in one transaction."""
        first, count = self.ids(2), self.count()
        self.next_id += count
        name = self.schema.name
        deletion = f"DELETE FROM {name} WHERE id >= {first} AND id % {self.rng.choice([1, 2])} = 0"
        return [
            *self.begin(connection),
            Statement(connection, f"{self.into()} {self.schema.batch(first, count)}"),
            Statement(connection, deletion),
            *(self.end(connection) if self.rng.random() < 0.7 else []),
        ]

    def upsert(self, connection):
        schema = self.schema
        count = min(self.count(), 600)
        first = self.some_id()
        self.next_id = max(self.next_id, first + count)
        if not schema.primary:
            return self.delete(connection) + self.insert(connection)
        rows = [schema.row(first + i) for i in range(count)] if count < 20 else []
        source = "VALUES " if rows else schema.batch(first, count)
        if self.rng.random() < 0.5:
            return [Statement(connection, f"{self.into('INSERT OR REPLACE')} {source}", rows)]
        update = ", ".join(f"{name} = EXCLUDED.{name}" for name in schema.key_columns)
        source = schema.batch(first, count)
        return [Statement(connection, f"{self.into()} {source} ON CONFLICT (id) DO UPDATE SET {update}")]

    def merge(self, connection):
        schema = self.schema
        count = min(self.count(), 600)
        first = self.some_id()
        self.next_id = max(self.next_id, first + count)
        columns = ", ".join(schema.columns)
        update = ", ".join(f"{name} = new.{name}" for name in schema.key_columns)
        # without a key two transactions could insert the same id
        insert = f" WHEN NOT MATCHED THEN INSERT ({columns}) VALUES ({', '.join(f'new.{c}' for c in schema.columns)})"
        return [
            Statement(
                connection,
                f"MERGE INTO {schema.name} AS old USING ({schema.batch(first, count)}) AS new ({columns})"
                f" ON old.id = new.id WHEN MATCHED AND old.id % 3 = 0 THEN DELETE"
                f" WHEN MATCHED THEN UPDATE SET {update}{insert if schema.primary else ''}",
            )
        ]

    def begin(self, connection):
        if self.open[connection]:
            return []
        self.open[connection] = True
        return [Statement(connection, "BEGIN", transaction="BEGIN")]

    def end(self, connection):
        verb = self.rng.choice(["COMMIT", "COMMIT", "ROLLBACK"])
        self.open[connection] = False
        return [Statement(connection, verb, transaction=verb)]

    def transaction(self, connection):
        return self.end(connection) if self.open[connection] else self.begin(connection)

    def failed_commit(self, connection):
        setting = "debug_force_commit_failure"
        change = self.rng.choice([self.insert, self.update_vectors, self.delete])(connection)
        end = [Statement(connection, "COMMIT", transaction="COMMIT")] if self.open[connection] else []
        self.open[connection] = False
        return [
            Statement(connection, f"SET GLOBAL {setting} = true"),
            *change,
            *end,
            Statement(connection, f"SET GLOBAL {setting} = false"),
        ]

    def maintenance(self, connection):
        if self.open[connection] and self.rng.random() < 0.9:
            return self.end(connection)
        index = self.schema.qualified(self.rng.choice(list(self.schema.indexes)))
        statements = [f"PRAGMA hnsw_compact_index('{index}')"] * 2 + ["CHECKPOINT", "FORCE CHECKPOINT", "VACUUM"]
        statements += [f"VACUUM {self.schema.name}", f"ANALYZE {self.schema.name}"]
        return [Statement(connection, self.rng.choice(statements))]

    def index(self, connection):
        name = self.rng.choice(list(self.schema.indexes))
        drop = Statement(connection, f"DROP INDEX IF EXISTS {self.schema.qualified(name)}")
        create = Statement(connection, self.schema.create_index(name))
        return self.rng.choice([[drop, create], [drop, create], [create], [drop]])

    def setting(self, connection):
        width = self.rng.choice([*WIDTHS, "NULL"])
        settings = [f"SET hnsw_ef_search = {width}"] * 3
        settings += [f"SET GLOBAL threads = {self.rng.choice([1, 2, 4])}"]
        settings += [f"SET hnsw_prefilter = {self.rng.choice(['true', 'false'])}"]
        return [Statement(connection, self.rng.choice(settings))]

    def add_column(self, connection):
        return [Statement(connection, f"ALTER TABLE {self.schema.name} ADD COLUMN more{self.ids(1)} INTEGER DEFAULT 5")]

    def reopen(self, connection):
        self.open = [False] * len(self.open)
        return [Reopen()]

    def audit(self):
        return [Audit(self.schema.name, {name: self.schema.key for name in self.schema.indexes})]
