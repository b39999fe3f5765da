"""This extension, from `VSS_EXTENSION`."""

import os

import duckdb

from peers.systems.duckdb_sql import DuckDB

#: What a statement costs without any search: the vector bound and read; the same statement over a table of one row.
FLOORS = {"bind": "SELECT ($q::FLOAT[{d}])[1]", "one row": None}


class System(DuckDB):
    forms = (
        "list",
        "numpy",
        "blob",
        "literal",
        "prepared",
        *(f"{floor}, {form}" for floor in FLOORS for form in ("list", "blob")),
    )
    config = {"allow_unsigned_extensions": "true"}

    def version(self):
        loaded = "SELECT extension_version FROM duckdb_extensions() WHERE extension_name = 'vss'"
        return f"vss {self.con.execute(loaded).fetchone()[0]} {self.variant}".rstrip() + f", DuckDB {duckdb.__version__}"

    def connect(self):
        con = super().connect()
        con.load_extension(os.environ["VSS_EXTENSION"])
        return con

    def argument(self, vector, form):
        if form == "numpy":
            return vector
        if form == "prepared":
            return "".join(f"\\x{byte:02X}" for byte in vector.astype("<f4").tobytes())
        return vector.astype("<f4").tobytes() if form.endswith("blob") else super().argument(vector, form)

    def search(self, argument, k, form, percent):
        floor = form.split(", ")[0]
        if floor == "bind":
            return self.ids(FLOORS[floor].format(d=self.data.dimensions), argument)
        if floor == "one row":
            return self.ids(self.nearest.format(table="one_row", where="", query="$q", k=k), argument)
        if form == "prepared":
            return self.ids(f"EXECUTE nearest('{argument}'::BLOB, {k})")
        return super().search(argument, k, form, percent)

    def prepare(self):
        super().prepare()
        # a parameter of EXECUTE has to be in the text: as bytes, which are quicker to read than numbers
        self.con.execute(f"PREPARE nearest AS {self.nearest.format(table='items', where='', query='$1', k='$2')}")

    def size(self):
        return {"memory": self.con.execute("SELECT approx_memory_usage FROM pragma_hnsw_index_info()").fetchone()[0]}
