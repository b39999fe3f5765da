"""DuckDB without an index."""

import duckdb

from peers.systems.duckdb_sql import DuckDB


class System(DuckDB):
    approximate = False

    def version(self):
        return f"DuckDB {duckdb.__version__}, exact"

    def build(self, threads):
        pass

    def drop(self):
        pass

    def width(self, ef):
        self.con.execute("SET threads = 2")
