"""Makes version_1.db.gz, a file with an index in format version 1: `python make_version_1.py EXTENSION`.

Made once, by a build that wrote this version; every later one must read it. It has rows in the graph on several levels, dead
ones, pending ones, and rows whose vectors cannot be ranked.
"""

import gzip
import pathlib
import sys

import duckdb

HERE = pathlib.Path(__file__).parent
VECTOR = "[sin(i), sin(i * 3 + 1), sin(i * 7 + 2), cos(i)]::FLOAT[4]"

path = HERE / "version_1.db"
con = duckdb.connect(str(path), config={"allow_unsigned_extensions": "true", "default_block_size": "16384"})
con.load_extension(sys.argv[1])
con.execute("SET GLOBAL hnsw_enable_experimental_persistence = true")
con.execute(f"CREATE TABLE t AS SELECT i AS id, {VECTOR} AS v FROM range(1000) r(i)")
options = "metric = 'cosine', m = 5, m0 = 11, ef_construction = 77, ef_search = 333"
con.execute(f"CREATE INDEX by_angle ON t USING HNSW (v) WITH ({options})")
con.execute("DELETE FROM t WHERE id % 50 = 3")
con.execute(f"INSERT INTO t SELECT i, {VECTOR} FROM range(1000, 1050) r(i)")
con.execute("INSERT INTO t VALUES (-1, [0, 0, 0, 0]), (-2, ['inf'::FLOAT, 0, 0, 0]), (-3, NULL)")
con.close()
(HERE / "version_1.db.gz").write_bytes(gzip.compress(path.read_bytes(), mtime=0))
path.unlink()
