"""Makes official.db.gz, official_log.db.gz and official_log.db.wal.gz: files of the extension that DuckDB distributes.

Its indexes have the same name and type as ours. Needs an environment of its own with the versions that the fixtures were made
with: `pip install duckdb==1.5.5 duckdb-extension-vss==1.5.5`.
In the second file the last index, its rows and some deletions are in the write-ahead log only.
"""

import gzip
import os
import pathlib
import subprocess
import sys

import duckdb
import duckdb_extension_vss

HERE = pathlib.Path(__file__).parent
EXTENSION = next(pathlib.Path(duckdb_extension_vss.__file__).parent.glob("extensions/*/vss.duckdb_extension"))
VECTOR = "[sin(i), sin(i * 3 + 1), sin(i * 7 + 2), cos(i)]::FLOAT[4]"


def connect(path):
    con = duckdb.connect(path, config={"allow_unsigned_extensions": "true"})
    con.execute(f"LOAD '{EXTENSION}'")
    con.execute("SET hnsw_enable_experimental_persistence = true")
    return con


def make(path):
    con = connect(path)
    con.execute(f"CREATE TABLE t AS SELECT i AS id, {VECTOR} AS v FROM range(1000) r(i)")
    con.execute("CREATE INDEX by_distance ON t USING HNSW (v)")
    con.execute("CREATE TABLE u AS SELECT * FROM t WHERE id < 300")
    options = "metric = 'cosine', M = 8, M0 = 12, ef_construction = 99"
    con.execute(f"CREATE INDEX by_angle ON u USING HNSW (v) WITH ({options})")
    con.close()
    con = connect(path)
    con.execute("DELETE FROM t WHERE id % 10 = 3")
    con.execute(f"INSERT INTO t SELECT i, {VECTOR} FROM range(1000, 1050) r(i)")
    con.close()


def make_log(path):
    """In a process that ends without closing the file."""
    con = connect(path)
    con.execute("SET checkpoint_threshold = '1TB'")
    con.execute(f"CREATE TABLE w AS SELECT i AS id, {VECTOR} AS v FROM range(200) r(i)")
    con.execute("CREATE INDEX by_product ON w USING HNSW (v) WITH (metric = 'ip')")
    con.execute(f"INSERT INTO w SELECT i, {VECTOR} FROM range(200, 220) r(i)")
    con.execute("DELETE FROM t WHERE id % 10 = 4")
    os._exit(0)


def compress(name):
    path = HERE / name
    (HERE / f"{name}.gz").write_bytes(gzip.compress(path.read_bytes(), mtime=0))
    path.unlink()


if len(sys.argv) > 1:
    make_log(sys.argv[1])
for name in ["official.db", "official_log.db"]:
    make(str(HERE / name))
subprocess.run([sys.executable, __file__, str(HERE / "official_log.db")], check=True)
for name in ["official.db", "official_log.db", "official_log.db.wal"]:
    compress(name)
