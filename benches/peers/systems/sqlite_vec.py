"""sqlite-vec: vectors in SQLite, searched exactly."""

import apsw
import sqlite_vec

from peers.peer import Peer, folder_bytes, parts


class System(Peer):
    approximate = False
    filters = True

    def version(self):
        return f"sqlite-vec {self.con.execute('SELECT vec_version()').fetchone()[0].lstrip('v')}, exact"

    def prepare(self):
        if self.metric == "ip":
            raise NotImplementedError("it has no inner product")
        # the Python of some machines comes with an SQLite that loads no extensions
        self.con = apsw.Connection(str(self.directory / "items.db"))
        self.con.enable_load_extension(True)
        self.con.load_extension(sqlite_vec.loadable_path())
        metric = {"l2sq": "l2", "cosine": "cosine"}[self.metric]
        vector = f"v float[{self.data.dimensions}] distance_metric={metric}"
        self.con.execute("PRAGMA synchronous = off")
        self.con.execute(f"CREATE VIRTUAL TABLE items USING vec0(id INTEGER PRIMARY KEY, part INTEGER, {vector})")
        rows = zip(self.data.ids.tolist(), parts(self.data.ids).tolist(), (v.tobytes() for v in self.data.vectors))
        self.con.execute("BEGIN")
        self.con.executemany("INSERT INTO items VALUES (?, ?, ?)", rows)
        self.con.execute("COMMIT")

    def search(self, argument, k, form, percent):
        where = "" if percent is None else f"AND part < {round(100 * percent)}"
        sql = f"SELECT id FROM items WHERE v MATCH ? AND k = {k} {where}"
        return [row for (row,) in self.con.execute(sql, (argument.tobytes(),)).fetchall()]

    def insert(self, row, vector):
        self.con.execute("INSERT INTO items VALUES (?, 0, ?)", (row, vector.tobytes()))

    def size(self):
        return {"disk": folder_bytes(self.directory)}
