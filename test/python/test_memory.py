"""What DuckDB is told of an index's memory, beside what the process grows by."""

import json
import subprocess
import sys

import pytest

# In a process of its own: memory that others have used and freed would be used again.
SCRIPT = """
import json, os, sys
import duckdb

extension, rows, dimensions = sys.argv[1], int(sys.argv[2]), int(sys.argv[3])
con = duckdb.connect(config={"allow_unsigned_extensions": "true"})
con.load_extension(extension)
con.execute("SET enable_progress_bar = false")
vector = f"list_transform(range({dimensions}), lambda x: hash(i * {dimensions} + x) / 1.8e19)::FLOAT[{dimensions}]"
con.execute(f"CREATE TABLE t AS SELECT i AS id, {vector} AS v FROM range({rows}) r(i)")
con.execute("SELECT sum(v[1]), sum(id) FROM t").fetchall()

def resident():
    with open("/proc/self/statm") as file:
        return int(file.read().split()[1]) * os.sysconf("SC_PAGE_SIZE")

def accounted():
    return con.execute("SELECT sum(memory_usage_bytes)::BIGINT FROM duckdb_memory()").fetchone()[0]

accounted()
before = resident(), accounted()
con.execute("CREATE INDEX i ON t USING HNSW (v) WITH (ef_construction = 32)")
(memory,) = con.execute("SELECT approx_memory_usage FROM pragma_hnsw_index_info()").fetchone()
print(json.dumps({"resident": resident() - before[0], "accounted": accounted() - before[1], "index": memory}))
"""


def growth(extension, rows, dimensions):
    command = [sys.executable, "-c", SCRIPT, extension, str(rows), str(dimensions)]
    return json.loads(subprocess.run(command, capture_output=True, text=True, check=True).stdout)


@pytest.mark.skipif(sys.platform != "linux", reason="reads /proc")
def test_the_process_grows_by_what_is_reserved(extension):
    grown = growth(extension, 100_000, 64)
    # vectors and links alone
    assert grown["index"] > 100_000 * (64 * 4 + 33 * 4)
    # DuckDB's own buffers come and go with some megabytes, and what is reserved ahead for more rows is not touched yet
    assert 0.85 < grown["accounted"] / grown["resident"] < 1.25


def test_a_small_index_is_small(extension):
    grown = growth(extension, 1_000, 64)
    # 412 bytes a row, and one step of each of the tables
    assert grown["index"] < 800_000
