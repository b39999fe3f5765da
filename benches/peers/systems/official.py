"""The extension of the same name that DuckDB distributes."""

from pathlib import Path

import duckdb
import duckdb_extension_vss

from peers.systems.duckdb_sql import DuckDB


class System(DuckDB):
    config = {"allow_unsigned_extensions": "true"}

    def version(self):
        return f"official vss, DuckDB {duckdb.__version__}"

    def connect(self):
        con = super().connect()
        folder = Path(duckdb_extension_vss.__file__).parent / "extensions"
        con.load_extension(str(next(folder.rglob("vss.duckdb_extension"))))
        return con

    def size(self):
        return {"memory": self.con.execute("SELECT approx_memory_usage FROM pragma_hnsw_index_info()").fetchone()[0]}
