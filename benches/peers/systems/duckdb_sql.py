"""What the three systems inside DuckDB share: a table in memory, and the same statements."""

import duckdb

from peers.peer import Peer

DISTANCE = {"l2sq": "array_distance", "cosine": "array_cosine_distance", "ip": "array_negative_inner_product"}


def literal(vector):
    return "[" + ",".join(map(repr, vector.tolist())) + "]"


class DuckDB(Peer):
    forms = ("list", "literal")
    filters = True

    #: More than one thread only for builds and batches: one query at a time has nothing to share.
    config = {}

    def connect(self):
        """A connection with what the system needs loaded."""
        return duckdb.connect(config=self.config)

    def prepare(self):
        self.con = self.connect()
        d = self.data.dimensions
        self.con.execute(f"CREATE TABLE items AS SELECT id, part, v::FLOAT[{d}] AS v FROM '{self.data.parquet}'")
        self.distance = DISTANCE[self.metric]
        order = f"{self.distance}(v, {{query}}::FLOAT[{d}])"
        self.nearest = f"SELECT id FROM {{table}} {{where}} ORDER BY {order} LIMIT {{k}}"
        self.con.execute("CREATE TABLE one_row AS SELECT id, v FROM items LIMIT 1")
        probes = self.data.directory / "queries.parquet"
        self.con.execute(f"CREATE TABLE probes AS SELECT id AS n, v::FLOAT[{d}] AS q FROM '{probes}'")

    def build(self, threads):
        self.con.execute(f"SET threads = {threads}")
        options = f"metric = '{self.metric}', m = {self.m}, ef_construction = {self.ef_construction}"
        if self.variant:
            options += f", quantization = '{self.variant}'"
        self.con.execute(f"CREATE INDEX by_v ON items USING HNSW (v) WITH ({options})")

    def drop(self):
        self.con.execute("DROP INDEX by_v")

    def width(self, ef):
        self.con.execute(f"SET hnsw_ef_search = {ef}")
        self.con.execute("SET threads = 2")

    def argument(self, vector, form):
        return literal(vector) if form == "literal" else vector.tolist()

    def search(self, argument, k, form, percent):
        where = "" if percent is None else f"WHERE part < {round(100 * percent)}"
        if form == "literal":
            return self.ids(self.nearest.format(table="items", where=where, query=argument, k=k))
        return self.ids(self.nearest.format(table="items", where=where, query="$q", k=k), argument)

    def ids(self, sql, query=None):
        rows = self.con.execute(sql, None if query is None else {"q": query}).fetchall()
        return [row for (row,) in rows]

    def batch(self, first, last, k, threads):
        self.con.execute(f"SET threads = {threads}")
        rows = self.con.execute(
            f"SELECT n, id FROM (SELECT n, q FROM probes WHERE n >= {first} AND n < {last}) AS probes,"
            f" LATERAL (SELECT id FROM items ORDER BY {self.distance}(v, q) LIMIT {k})"
        ).fetchall()
        found = [[] for _ in range(first, last)]
        for n, row in rows:
            found[n - first].append(row)
        return found

    def insert(self, row, vector):
        self.con.execute("INSERT INTO items VALUES (?, 0, ?)", [row, vector.tolist()])
