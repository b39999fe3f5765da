"""The blocks of a database file, and which of them belong to what."""

import numpy

#: Bytes before the first block: three headers.
HEADERS = 3 * 4096


def block_size(con):
    return con.execute("SELECT block_size FROM pragma_database_size()").fetchall()[0][0]


def used(con):
    """Blocks in use, those of DuckDB's metadata aside: they come and go with the length of names and lists."""
    return con.execute("SELECT used_blocks FROM pragma_database_size()").fetchall()[0][0] - len(metadata(con))


def metadata(con):
    return {block for (block,) in con.execute("SELECT block_id FROM pragma_metadata_info()").fetchall()}


def of_tables(con):
    """The blocks of all tables."""
    result = set()
    for (table,) in con.execute("SELECT table_name FROM duckdb_tables()").fetchall():
        storage = f"SELECT block_id, additional_block_ids FROM pragma_storage_info('{table}')"
        for first, more in con.execute(storage).fetchall():
            result.update([first, *(more or [])])
    return result - {-1}


def read(path, size):
    """The contents of all blocks."""
    data = path.read_bytes()[HEADERS:]
    return [data[at : at + size] for at in range(0, len(data), size)]


def of_indexes(con, path):
    """The blocks of all indexes; of a file in which no block is free."""
    total, free = con.execute("SELECT total_blocks, free_blocks FROM pragma_database_size()").fetchall()[0]
    assert free == 0
    return sorted(set(range(total)) - metadata(con) - of_tables(con))


def written(before, after, con):
    """How many blocks of indexes differ between two states of a file, of which `con` sees the later one."""
    changed = {i for i, block in enumerate(after) if i >= len(before) or block != before[i]}
    return len(changed - metadata(con) - of_tables(con))


def sealed(block):
    """A block with the checksum that DuckDB expects at its head."""
    words = numpy.frombuffer(block, "<u8")[1:] * numpy.uint64(0xBF58476D1CE4E5B9)
    return int(numpy.bitwise_xor.reduce(words) ^ numpy.uint64(5381)).to_bytes(8, "little") + block[8:]


def write(path, contents):
    """Makes `contents` the blocks of the file."""
    path.write_bytes(path.read_bytes()[:HEADERS] + b"".join(contents))
