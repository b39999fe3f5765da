"""Files whose index is damaged: they open, answers are right, and the index says what happened and is whole again."""

import random
import re
import shutil

import blocks
import duckdb
import pytest

SIZE = 16384
ROWS, DIMENSIONS, M, M0, PENDING, ODD = 1500, 8, 4, 9, 40, 5
VECTOR = f"list_transform(range({DIMENSIONS}), lambda j: sin((i + 1) * (j + 3)))::FLOAT[{DIMENSIONS}]"
NEAREST = f"SELECT id FROM t ORDER BY array_distance(v, {[0.25] * DIMENSIONS}::FLOAT[{DIMENSIONS}]), id LIMIT 20"
BUILT_AGAIN = "ready: built again from the table, as "
DAMAGED = BUILT_AGAIN + "the stored index cannot be used: "


class Intact:
    """A file with something in each region of its index: the bytes, the index's blocks, and what belongs where."""

    def __init__(self, extension, path):
        self.extension, self.path = extension, path
        with self.open(path, default_block_size=str(SIZE)) as con:
            con.execute("SET GLOBAL hnsw_enable_experimental_persistence = true")
            con.execute(f"CREATE TABLE t AS SELECT i AS id, {VECTOR} AS v FROM range({ROWS}) r(i)")
            con.execute(f"CREATE INDEX i ON t USING HNSW (v) WITH (m = {M}, m0 = {M0})")
            levels = con.execute("SELECT unnest(levels_stats).nodes FROM pragma_hnsw_index_info()").fetchall()
            con.execute(f"INSERT INTO t SELECT i, {VECTOR} FROM range({ROWS}, {ROWS + PENDING}) r(i)")
            far = ["inf"] * DIMENSIONS
            con.execute(f"INSERT INTO t SELECT -1 - i, {far}::FLOAT[{DIMENSIONS}] FROM range({ROWS}) r(i) LIMIT {ODD}")
            con.execute(f"DELETE FROM t WHERE id % 100 = 7 AND id < {ROWS}")
        with self.open(path) as con:
            self.blocks = blocks.of_indexes(con, path)
            self.rows = con.execute("SELECT count(v) FROM t").fetchall()[0][0]
            self.answer = con.execute("SET disabled_optimizers = 'extension,late_materialization'").execute(NEAREST).fetchall()
        self.contents = blocks.read(path, SIZE)
        self.upper = sum(nodes for (nodes,) in levels[1:])

    def open(self, path, **config):
        con = duckdb.connect(str(path), config={"allow_unsigned_extensions": "true", **config})
        con.load_extension(self.extension)
        return con

    def regions(self):
        """Where each region begins and ends: ordinal of the block among the index's, byte in the block."""
        graph = [("levels", 1, ROWS), ("base", 4 * (1 + M0), ROWS), ("upper", 4 * (1 + M), self.upper)]
        graph += [("vectors", 4 * DIMENSIONS, ROWS)]
        rows = [("entries", 8, ROWS), ("pending rows", 8, PENDING), ("pending vectors", 4 * DIMENSIONS, PENDING)]
        rows += [("odd", 8, ODD)]
        page = SIZE - 8
        result, first = {}, 0
        for group in [graph, rows]:
            for name, record, count in group:
                whole = record * count // page
                pages = [(first, 0), (first + whole // 2, page // 2), (first + whole - 1, page - 1)]
                result[name] = pages if whole else []
                first += whole
            used = page
            for name, record, count in group:
                tail = record * count % page
                if used + tail > page:
                    first, used = first + 1, 0
                result[name] += [(first - 1, used), (first - 1, used + tail // 2), (first - 1, used + tail - 1)]
                used = (used + tail + 7) // 8 * 8
        assert first == len(self.blocks)
        return result


@pytest.fixture(scope="module")
def intact(extension, tmp_path_factory):
    return Intact(extension, tmp_path_factory.mktemp("damage") / "intact.db")


@pytest.fixture
def check(intact, tmp_path):
    """Opens a file with other blocks. Returns the status of its index."""
    path = tmp_path / "damaged.db"

    def check(contents, again=False, **config):
        shutil.copy(intact.path, path)
        blocks.write(path, contents)
        with intact.open(path, **config) as con:
            assert "Hnsw Index Scan" in con.execute("EXPLAIN " + NEAREST).fetchall()[0][1]
            assert con.execute(NEAREST).fetchall() == intact.answer
            count, status = con.execute("SELECT count, status FROM pragma_hnsw_index_info()").fetchall()[0]
            assert count == intact.rows
            if again:
                con.execute("SET debug_verify_blocks = true")
                con.execute("INSERT INTO t VALUES (1000000, NULL)")
                con.execute("CHECKPOINT")
        if again:
            # the blocks of the damaged image were given back, and there is a new one
            with intact.open(path) as con:
                figures = con.execute("SELECT count, status, bytes_on_disk // 16384 FROM pragma_hnsw_index_info()")
                assert figures.fetchall() == [(intact.rows, "ready", blocks.used(con) - len(blocks.of_tables(con)))]
                assert con.execute(NEAREST).fetchall() == intact.answer
        return status

    return check


def flipped(contents, block, byte, bit):
    """With another bit. `byte` counts from behind DuckDB's checksum."""
    damaged = bytearray(contents[block])
    damaged[8 + byte] ^= 1 << bit
    return contents[:block] + [bytes(damaged)] + contents[block + 1 :]


def resealed(contents, block):
    return contents[:block] + [blocks.sealed(contents[block])] + contents[block + 1 :]


def test_an_intact_file_is_read(intact, check):
    assert check(intact.contents) == "ready"
    assert all(blocks.sealed(intact.contents[block]) == intact.contents[block] for block in intact.blocks)


@pytest.mark.parametrize(
    "region", ["levels", "base", "upper", "vectors", "entries", "pending rows", "pending vectors", "odd"]
)
def test_a_flipped_bit(intact, check, region):
    places = intact.regions()[region]
    for number, (page, byte) in enumerate(places):
        for bit in [0, 7]:
            block = intact.blocks[page]
            damaged = flipped(intact.contents, block, byte, bit)
            assert check(damaged).startswith(BUILT_AGAIN + "Corrupt database file"), (page, byte, bit)
            status = check(resealed(damaged, block), again=number == bit == 0)
            assert re.fullmatch(DAMAGED + r"page \d+ of \d+ is damaged", status)


def test_a_flipped_bit_anywhere(intact, check):
    choice = random.Random(4)
    for block in intact.blocks:
        damaged = flipped(intact.contents, block, choice.randrange(SIZE - 8), choice.randrange(8))
        assert check(resealed(damaged, block)).startswith(DAMAGED)
        assert check(flipped(intact.contents, block, -8 + choice.randrange(8), 3)).startswith(BUILT_AGAIN)


def test_a_damaged_root(intact, check):
    """The root stands in a block of DuckDB's metadata, as text: bytes that are not printable as \\x and two digits."""
    (block,) = [i for i, block in enumerate(intact.contents) if b"vss-hnsw" in block]
    begin = intact.contents[block].index(b"vss-hnsw")
    for place in range(9, 70):
        at = begin + place
        digit = intact.contents[block][at : at + 1]
        if digit in b"0123456789" and intact.contents[block][at - 2 : at + 2].count(b"x"):
            damaged = list(intact.contents)
            other = bytes([digit[0] ^ 1])
            damaged[block] = damaged[block][:at] + other + damaged[block][at + 1 :]
            status = check(resealed(damaged, block))
            assert status.startswith(DAMAGED + "its root is damaged") or "it has format version" in status
    damaged[block] = intact.contents[block].replace(b"vss-hnsw", b"vss-hmsw")
    assert check(resealed(damaged, block)) == DAMAGED + "it is not one of this extension's"


@pytest.mark.parametrize("seal", [False, True])
def test_a_damaged_file_that_is_only_read(intact, check, seal):
    for block in intact.blocks:
        damaged = flipped(intact.contents, block, 100, 3)
        damaged = resealed(damaged, block) if seal else damaged
        assert check(damaged, access_mode="READ_ONLY").startswith(BUILT_AGAIN)


def test_blocks_of_zeros(intact, check):
    for block in intact.blocks:
        damaged = [*intact.contents[:block], bytes(SIZE), *intact.contents[block + 1 :]]
        assert check(damaged).startswith(BUILT_AGAIN)
        assert check(resealed(damaged, block)).startswith(DAMAGED)


def test_blocks_in_the_place_of_others(intact, check):
    """With right checksums of DuckDB's."""
    for one, other in zip(intact.blocks, intact.blocks[1:] + intact.blocks[:1]):
        damaged = list(intact.contents)
        damaged[one], damaged[other] = damaged[other], damaged[one]
        assert check(damaged).startswith(DAMAGED)
        damaged[one] = damaged[other] = intact.contents[0]
        assert check(damaged).startswith(DAMAGED)


def test_a_file_that_ends_early(intact, check):
    last = max(intact.blocks)
    assert intact.blocks[-4:] == list(range(last - 3, last + 1)) and last + 1 == len(intact.contents)
    for left in range(4):
        for part in [0, 1, 8, SIZE // 2, SIZE - 1]:
            damaged = [*intact.contents[: last - left], intact.contents[last - left][:part]]
            assert check(damaged, again=part == 8).startswith(BUILT_AGAIN), (left, part)


def test_an_index_whose_key_is_no_vector(extension, tmp_path):
    """As a damaged catalog may say: the table can be read and changed, and the index dropped."""
    path = tmp_path / "crafted.db"

    def opened():
        con = duckdb.connect(str(path), config={"allow_unsigned_extensions": "true", "default_block_size": str(SIZE)})
        con.load_extension(extension)
        return con

    def key(name):
        """Creates a file with an index of this name: its blocks, and where the column's name stands in one of them."""
        path.unlink(missing_ok=True)
        with opened() as con:
            con.execute("SET GLOBAL hnsw_enable_experimental_persistence = true")
            con.execute("CREATE TABLE t AS SELECT [i, i, i]::FLOAT[3] AS vector, i AS number FROM range(100) r(i)")
            con.execute(f"CREATE INDEX {name} ON t USING HNSW (vector) WITH (m = 8)")
        contents = blocks.read(path, SIZE)
        places = [(block, found.start()) for block, content in enumerate(contents) for found in re.finditer(b"vector", content)]
        return contents, places

    # in the table, in the text of the statement, in the key; DuckDB cuts what it writes into pieces, and a cut may go through a name:
    # what comes before the cut has another length with another name
    names = ("index" + "x" * more for more in range(64))
    name, (contents, places) = next((name, found) for name in names if len((found := key(name))[1]) == 3)
    block, place = places[2]
    crafted = contents[block][:place] + b"number" + contents[block][place + 6 :]
    blocks.write(path, [*contents[:block], blocks.sealed(crafted), *contents[block + 1 :]])
    for _ in range(2):
        with opened() as con:
            nearest = "SELECT number FROM t ORDER BY array_distance(vector, [5, 5, 5]::FLOAT[3]) LIMIT 1"
            assert con.execute(nearest).fetchall() == [(5,)]
            con.execute("INSERT INTO t VALUES ([1, 2, 3], 7)")
            con.execute("DELETE FROM t WHERE number = 50")
            state = con.execute("SELECT count, dimensions, status FROM pragma_hnsw_index_info()").fetchall()
            assert state == [(0, 0, "incomplete: queries scan the table; its key has not the type FLOAT[n]")]
            con.execute("CHECKPOINT")
    with opened() as con:
        con.execute(f"DROP INDEX {name}")
        assert con.execute("SELECT count(*) FROM t").fetchall() == [(101,)]
