"""What checkpoints cost: blocks, bytes and memory. Every file is written with DuckDB's own check of its blocks."""

import os
import pathlib
import subprocess
import sys

import blocks
import pytest

ROUNDS = 200
#: Rounds after which no more growth is allowed.
WARM = 60


def vectors(dimensions, row="i", salt=0):
    """SQL of the vectors of rows, uniform in a cube."""
    number = f"hash(({row}) * {dimensions} + j + {salt} * 1000003) / 18446744073709551616.0"
    return f"list_transform(range({dimensions}), lambda j: {number} - 0.5)::FLOAT[{dimensions}]"


@pytest.fixture
def create(connect, tmp_path):
    """A file with a table of vectors, and an index unless `index` is false. Its name and a connection."""

    def create(rows, dimensions, block_size=16384, index=True, name="file"):
        path = tmp_path / f"{name}.db"
        con = connect(str(path), default_block_size=str(block_size))
        con.execute("SET GLOBAL hnsw_enable_experimental_persistence = true")
        con.execute("SET debug_verify_blocks = true")
        con.execute(f"CREATE TABLE t AS SELECT i AS id, {vectors(dimensions)} AS v FROM range({rows}) r(i)")
        con.execute("CREATE TABLE other (i INTEGER)")
        con.execute("CHECKPOINT")
        if index:
            con.execute("CREATE INDEX i ON t USING HNSW (v)")
            con.execute("CHECKPOINT")
        return path, con

    return create


def bytes_on_disk(con):
    return con.execute("SELECT bytes_on_disk FROM pragma_hnsw_index_info()").fetchall()[0][0]


def test_two_hundred_rounds_of_changes_leave_the_file_as_large_as_it_was(create):
    """What belongs to the table is not counted: DuckDB keeps the places of deleted rows in tables with such indexes."""
    path, con = create(4000, 16)
    image = bytes_on_disk(con) // 16384
    used, size = [], []
    for number in range(ROUNDS):
        con.execute(f"DELETE FROM t WHERE id BETWEEN {number * 10} AND {number * 10 + 9}")
        first = 4000 + number * 10
        con.execute(f"INSERT INTO t SELECT i, {vectors(16)} FROM range({first}, {first + 10}) r(i)")
        con.execute(f"UPDATE t SET v = {vectors(16, 'id', number)} WHERE id % 400 = {number}")
        con.execute("PRAGMA hnsw_finish('i')")
        con.execute("CHECKPOINT")
        table = len(blocks.of_tables(con))
        used.append(blocks.used(con) - table)
        # DuckDB writes the last rows of the table anew, beside the old ones
        size.append(os.path.getsize(path) // 16384 - 2 * table)
        # no block is lost
        assert used[-1] == bytes_on_disk(con) // 16384
    print(f"image {image} blocks, after {ROUNDS} rounds {used[-1]}; file without table {size[WARM]}, {size[-1]}")
    # all rows are linked; up to a sixteenth as many nodes may be dead until they are repaired, and have their places in the image
    assert max(used) <= 17 / 16 * image + 3
    # a checkpoint that writes the image anew keeps the old one until it is done
    assert max(size) <= 2.5 * image
    assert max(size[WARM:]) <= 1.1 * max(size[:WARM])
    assert con.execute("SELECT count, status FROM pragma_hnsw_index_info()").fetchall() == [(4000, "ready")]


@pytest.mark.parametrize("block_size", [16384, 262144])
def test_a_checkpoint_writes_what_has_changed(create, block_size):
    path, con = create(20_000, 64, block_size)
    image = bytes_on_disk(con)

    def bytes_written(statement):
        con.execute("CHECKPOINT")
        before = blocks.read(path, block_size)
        con.execute(statement)
        con.execute("CHECKPOINT")
        return blocks.written(before, blocks.read(path, block_size), con) * block_size

    assert bytes_written("INSERT INTO other VALUES (1)") == 0
    changed = bytes_written(f"UPDATE t SET v = {vectors(64, 'id', 7)} WHERE id % 1000 = 3")
    deleted = bytes_written("DELETE FROM t WHERE id % 1000 = 4")
    inserted = bytes_written(f"INSERT INTO t SELECT i, {vectors(64)} FROM range(20000, 20020) r(i)")
    print(f"blocks of {block_size}: image {image}, 0.1 % updated {changed}, deleted {deleted}, inserted {inserted}")
    assert 0 < changed <= image // 10
    assert 0 < deleted <= image // 10
    assert 0 < inserted <= image // 10
    assert bytes_written("INSERT INTO other VALUES (2)") == 0
    assert con.execute("SELECT count, status FROM pragma_hnsw_index_info()").fetchall() == [(20_000, "ready")]


@pytest.mark.parametrize("reopened", [False, True])
def test_drop_gives_all_blocks_back(create, connect, reopened):
    path, con = create(3000, 16, index=False)
    without = blocks.used(con)
    assert without == len(blocks.of_tables(con))
    for metric in ["l2sq", "cosine", "ip"]:
        con.execute(f"CREATE INDEX i ON t USING HNSW (v) WITH (metric = '{metric}')")
        con.execute("CHECKPOINT")
        assert blocks.used(con) == without + bytes_on_disk(con) // 16384
        if reopened:
            con.close()
            con = connect(str(path))
            con.execute("SET GLOBAL hnsw_enable_experimental_persistence = true")
        con.execute("DROP INDEX i")
        con.execute("CHECKPOINT")
        assert blocks.used(con) == without


MEMORY = """
import pathlib, sys
import duckdb

def resident(name):
    status = pathlib.Path("/proc/self/status").read_text()
    return int(status.partition(name + ":")[2].split()[0]) * 1024

def growth(con, statement):
    pathlib.Path("/proc/self/clear_refs").write_text("5")
    before = resident("VmRSS")
    con.execute(statement).fetchall()
    return resident("VmHWM") - before

extension, path, vectors = sys.argv[1:]

def connect():
    con = duckdb.connect(path, config={"allow_unsigned_extensions": "true", "threads": "1"})
    con.load_extension(extension)
    con.execute("SET debug_verify_blocks = true")
    con.execute("SET GLOBAL hnsw_enable_experimental_persistence = true")
    con.execute("SET checkpoint_threshold = '1TB'")
    return con

con = connect()
con.execute(f"CREATE TABLE t AS SELECT i AS id, {vectors} AS v FROM range(15000) r(i)")
con.execute("CHECKPOINT")
con.execute("CREATE INDEX i ON t USING HNSW (v) WITH (ef_construction = 32)")
written = "SELECT bytes_on_disk FROM pragma_hnsw_index_info()"
assert con.execute(written).fetchone() == (0,)
checkpoint = growth(con, "CHECKPOINT")
(image,) = con.execute(written).fetchone()
con.close()
con = connect()
con.execute("SELECT count(*) FROM t WHERE id > 5").fetchall()
load = growth(con, "SELECT count, status FROM pragma_hnsw_index_info()")
print()
print(image, checkpoint, load)
"""


@pytest.mark.skipif(not pathlib.Path("/proc/self/clear_refs").exists(), reason="needs Linux's figures of memory")
def test_no_second_copy_of_the_index_in_memory(extension, tmp_path):
    """The peak while an image is written or read, above what was there before."""
    command = [sys.executable, "-c", MEMORY, extension, str(tmp_path / "file.db"), vectors(384)]
    done = subprocess.run(command, stdout=subprocess.PIPE, check=True, text=True)
    # on a slow machine behind a progress bar
    image, checkpoint, load = map(int, done.stdout.splitlines()[-1].split())
    print(f"image {image}: checkpoint takes {checkpoint}, load {load} bytes")
    assert checkpoint <= 0.3 * image
    # the index itself, and the same
    assert load <= 1.3 * image
