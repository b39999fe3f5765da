"""Makes version_2.db.gz, a file with indexes in format version 2, which hold codes: `python make_version_2.py EXTENSION`.

Made once, by a build that wrote this version; every later one must read it. Two of its indexes have rows in the graph, dead ones,
pending ones and such whose vectors cannot be ranked; one has not learnt anything yet.
"""

import gzip
import pathlib
import sys

import duckdb

HERE = pathlib.Path(__file__).parent
VECTOR = "[sin(i), sin(i * 3 + 1), sin(i * 7 + 2), cos(i), 1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 12, 13, 14, 15, 16, 17]::FLOAT[21]"

path = HERE / "version_2.db"
con = duckdb.connect(str(path), config={"allow_unsigned_extensions": "true", "default_block_size": "16384"})
con.load_extension(sys.argv[1])
con.execute("SET GLOBAL hnsw_enable_experimental_persistence = true")
con.execute(f"CREATE TABLE t AS SELECT i AS id, {VECTOR} AS v FROM range(1000) r(i)")
con.execute("CREATE INDEX by_angle ON t USING HNSW (v) WITH (metric = 'cosine', m = 5, quantization = 'sq8')")
con.execute("CREATE INDEX by_distance ON t USING HNSW (v) WITH (quantization = 'sq4')")
con.execute("CREATE TABLE three (v FLOAT[21])")
con.execute("CREATE INDEX few ON three USING HNSW (v) WITH (metric = 'ip', quantization = 'sq4')")
con.execute(f"INSERT INTO three SELECT {VECTOR} FROM range(3) r(i)")
con.execute("DELETE FROM t WHERE id % 50 = 3")
con.execute(f"INSERT INTO t SELECT i, {VECTOR} FROM range(1000, 1050) r(i)")
con.execute("INSERT INTO t VALUES (-1, [0 for x in range(21)]), (-2, ['inf'::FLOAT for x in range(21)]), (-3, NULL)")
con.close()
(HERE / "version_2.db.gz").write_bytes(gzip.compress(path.read_bytes(), mtime=0))
path.unlink()
