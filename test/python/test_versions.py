"""Files of other versions: of the official extension, of each format of ours, and of formats that are still to come."""

import gzip
import pathlib

import blocks
import pytest

DATA = pathlib.Path(__file__).resolve().parents[1] / "data"
REFUSED = "ready: built again from the table, as the stored index cannot be used: "
FOREIGN = REFUSED + "it was written by another extension"
#: Table, rows with a vector, metric, other options. The last one is in the log only.
OFFICIAL = [("t", 950, "l2sq", (16, 32, 128)), ("u", 300, "cosine", (8, 12, 99))]
LOGGED = [("t", 845, *OFFICIAL[0][2:]), OFFICIAL[1], ("w", 220, "ip", (16, 32, 128))]
FILES = [("official", OFFICIAL), ("official_log", LOGGED)]
ORDERS = {
    "l2sq": "array_distance({}) ASC",
    "cosine": "array_cosine_distance({}) ASC",
    "ip": "array_inner_product({}) DESC",
}
NEW_ROW = "(-9, [0.3, 0.2, 0.1, 0.4])"


@pytest.fixture
def unpacked(tmp_path):
    """A copy of a fixture, with its log if it has one."""

    def unpacked(name):
        for packed in DATA.glob(f"{name}.db*.gz"):
            (tmp_path / packed.stem).write_bytes(gzip.decompress(packed.read_bytes()))
        return tmp_path / f"{name}.db"

    return unpacked


def query(table, metric):
    order = ORDERS[metric].format("v, [0.3, 0.2, 0.1, 0.4]::FLOAT[4]")
    return f"SELECT id, v FROM {table} ORDER BY {order}, id LIMIT 30"


def served(con, table, metric):
    """Whether the index is used. The answer is the exact one in any case."""
    sql = query(table, metric)
    found = con.execute(sql).fetchall()
    plan = con.execute("EXPLAIN " + sql).fetchall()[0][1]
    con.execute("SET disabled_optimizers = 'extension,late_materialization'")
    assert found == con.execute(sql).fetchall() and len(found) == 30
    con.execute("RESET disabled_optimizers")
    return "Hnsw Index Scan" in plan


def figures(con):
    sql = "SELECT table_name, count, status FROM pragma_hnsw_index_info() ORDER BY table_name"
    return con.execute(sql).fetchall()


def check_blocks(con):
    """Every block belongs to a table or to an image of ours."""
    con.execute("SET debug_verify_blocks = true")
    (images,) = con.execute("SELECT sum(bytes_on_disk) FROM pragma_hnsw_index_info()").fetchone()
    assert blocks.used(con) == len(blocks.of_tables(con)) + images // blocks.block_size(con)


@pytest.mark.parametrize("name, indexes", FILES)
@pytest.mark.parametrize("read_only", [False, True])
def test_a_file_of_the_official_extension(connect, unpacked, name, indexes, read_only):
    con = connect()
    con.execute(f"ATTACH '{unpacked(name)}' AS file (READ_ONLY {read_only})")
    con.execute("USE file")
    assert served(con, "t", "l2sq")
    for table, _, metric, _ in indexes:
        served(con, table, metric)
    assert figures(con) == [(table, count, FOREIGN) for table, count, *_ in indexes]


@pytest.mark.parametrize("name, indexes", FILES)
def test_options_of_the_official_extension(connect, unpacked, name, indexes):
    con = connect(str(unpacked(name)))
    sql = "SELECT table_name, count, metric, (m, m0, ef_construction) FROM pragma_hnsw_index_info() ORDER BY table_name"
    assert con.execute(sql).fetchall() == indexes
    assert all(served(con, table, metric) for table, _, metric, _ in indexes)


@pytest.mark.parametrize("name, indexes", FILES)
@pytest.mark.parametrize("compact", [False, True])
def test_the_image_of_the_official_extension_is_replaced(connect, unpacked, name, indexes, compact):
    path = unpacked(name)
    con = connect(str(path))
    for table, *_ in indexes:
        (index,) = con.execute("SELECT index_name FROM duckdb_indexes() WHERE table_name = ?", [table]).fetchone()
        con.execute(f"PRAGMA hnsw_compact_index('{index}')" if compact else f"INSERT INTO {table} VALUES {NEW_ROW}")
    con.execute("CHECKPOINT")
    check_blocks(con)
    con.close()
    con = connect(str(path))
    assert served(con, "t", "l2sq")
    assert figures(con) == [(table, count + (not compact), "ready") for table, count, *_ in indexes]
    check_blocks(con)
    for table, *_ in indexes:
        con.execute(f"DROP TABLE {table}")
    con.execute("CHECKPOINT")
    assert blocks.used(con) == 0


def test_dropping_an_index_of_the_official_extension_frees_its_blocks(connect, unpacked):
    con = connect(str(unpacked("official")))
    con.execute("DROP INDEX by_angle")
    assert figures(con) == [("t", 950, FOREIGN)]
    con.execute("DROP INDEX by_distance")
    con.execute("CHECKPOINT")
    assert blocks.used(con) == len(blocks.of_tables(con))


def test_format_version_1(connect, unpacked):
    path = unpacked("version_1")
    con = connect(str(path))
    columns = "metric, m, m0, ef_construction, ef_search, count, deleted, pending, status"
    sql = f"SELECT {columns} FROM pragma_hnsw_index_info()"
    assert con.execute(sql).fetchall() == [("cosine", 5, 11, 77, 333, 1032, 20, 50, "ready")]
    assert served(con, "t", "cosine")
    con.execute(f"INSERT INTO t VALUES {NEW_ROW}")
    con.close()
    con = connect(str(path))
    assert figures(con) == [("t", 1033, "ready")]
    assert served(con, "t", "cosine")


def test_format_version_2(connect, unpacked):
    path = unpacked("version_2")
    con = connect(str(path))
    columns = "index_name, metric, quantization, vector_bytes, count, deleted, pending, status"
    sql = f"SELECT {columns} FROM pragma_hnsw_index_info() ORDER BY index_name"
    assert con.execute(sql).fetchall() == [
        ("by_angle", "cosine", "sq8", 32, 1032, 20, 50, "ready"),
        ("by_distance", "l2sq", "sq4", 24, 1032, 20, 51, "ready"),
        ("few", "ip", "sq4", 24, 3, 0, 3, "ready"),
    ]
    vector = "[sin(20), sin(61), sin(142), cos(20), 1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 12, 13, 14, 15, 16, 17]::FLOAT[21]"
    for function in ["array_cosine_distance", "array_distance"]:
        query = f"SELECT id FROM t WHERE id > 0 ORDER BY {function}(v, {vector}) LIMIT 9"
        found = sorted(con.execute(query).fetchall())
        con.execute("SET disabled_optimizers = 'extension,late_materialization'")
        assert found == sorted(con.execute(query).fetchall())
        con.execute("RESET disabled_optimizers")
    con.execute(f"INSERT INTO t VALUES (5000, {vector})")
    con.close()
    con = connect(str(path))
    sql = "SELECT count, status FROM pragma_hnsw_index_info() WHERE index_name = 'by_angle'"
    assert con.execute(sql).fetchall() == [(1033, "ready")]


def test_a_format_that_is_still_to_come(connect, unpacked):
    path = unpacked("version_1")
    contents = blocks.read(path, 16384)
    (place,) = [i for i, block in enumerate(contents) if b"vss-hnsw" in block]
    # as DuckDB writes a BLOB
    one, two = rb"vss-hnsw\x01\x00", rb"vss-hnsw\x03\x00"
    assert one in contents[place]
    contents[place] = blocks.sealed(contents[place].replace(one, two))
    blocks.write(path, contents)
    con = connect(str(path))
    assert served(con, "t", "cosine")
    message = REFUSED + "it has format version 3, this version of vss reads 1 and 2"
    assert figures(con) == [("t", 1032, message)]
    con.execute(f"INSERT INTO t VALUES {NEW_ROW}")
    con.execute("CHECKPOINT")
    check_blocks(con)
    con.close()
    assert figures(connect(str(path))) == [("t", 1033, "ready")]
