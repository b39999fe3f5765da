"""The manifest: what a folder of shards holds, and where each row is.

`manifest.json` is written last, by renaming a file that is complete: a folder that has it has all that it names.
"""

import dataclasses
import json
import os
import pathlib
import uuid

import duckdb

from .errors import ShardError

FORMAT = 1
REPAIR = "put the right file there, or open the shards with check=False and call replace_shard"
DAMAGED = f"If the file is damaged, {REPAIR}"
#: Bytes of a database file before its first block.
_HEADERS = 3 * 4096
NAME = "manifest.json"

#: The function whose order the index serves.
DISTANCES = {"l2sq": "array_distance", "cosine": "array_cosine_distance", "ip": "array_negative_inner_product"}
INTEGERS = {f"{sign}{size}INT" for sign in ("", "U") for size in ("TINY", "SMALL", "BIG", "HUGE")} | {"INTEGER", "UINTEGER"}
#: Types whose text is one for each value, whatever a session has set: the text decides the shard.
PLACING = INTEGERS | {"VARCHAR", "UUID", "DATE", "BOOLEAN"}


def quoted(name):
    """An identifier for SQL."""
    return '"' + name.replace('"', '""') + '"'


def literal(text):
    """A string for SQL."""
    return "'" + str(text).replace("'", "''") + "'"


@dataclasses.dataclass(frozen=True)
class File:
    """A shard's file, in the manifest's folder. `made` is in the file, too: another of the same name is no substitute."""

    file: str
    rows: int  # when it was built
    made: str


@dataclasses.dataclass(frozen=True)
class Manifest:
    id: str
    table: str
    key: str
    column: str
    placed_by: str
    metric: str
    dimensions: int
    options: dict
    columns: dict  # name: type, in the table's order
    versions: dict
    count: int
    shards: tuple = ()  # File, one a shard

    @classmethod
    def read(cls, directory):
        """The manifest of a folder. FileNotFoundError, or ValueError if it is not one that this version reads."""
        path = pathlib.Path(directory, NAME)
        try:
            text = path.read_text()
        except FileNotFoundError:
            raise FileNotFoundError(
                f"{path} is missing: no shards were built in {directory}, or not to the end; call build again, with the same arguments"
            ) from None
        try:
            found = json.loads(text)
            if found["format"] != FORMAT:
                raise ValueError(f"format {found['format']}, where this version of duckdb-vss reads {FORMAT}")
            del found["format"]
            manifest = cls(**{**found, "shards": tuple(File(**shard) for shard in found["shards"])})
        except (KeyError, TypeError, ValueError) as error:
            raise ValueError(f"{path} is no manifest of shards: {error}") from None
        if len(manifest.shards) != manifest.count:
            raise ValueError(f"{path} names {len(manifest.shards)} files for {manifest.count} shards: it was changed by hand")
        return manifest

    def write(self, directory):
        write_json(pathlib.Path(directory, NAME), {"format": FORMAT, **dataclasses.asdict(self)})

    def with_shard(self, number, file):
        shards = (*self.shards[:number], file, *self.shards[number + 1 :])
        return dataclasses.replace(self, shards=shards)

    def path(self, directory, number):
        return pathlib.Path(directory, self.shards[number].file)

    def name(self, directory, number):
        """How messages name a shard."""
        return f"shard {number} ({self.path(directory, number)})"

    def shard_of(self):
        """The number of a row's shard, as SQL over the table's columns.

        The first 64 bits of an MD5 of the text: the same in each version of DuckDB, which its `hash` is not.
        """
        return f"(md5_number_lower(coalesce(CAST({quoted(self.placed_by)} AS VARCHAR), '')) % {self.count})::INTEGER"

    def casts(self):
        """The table's columns from rows of other types, as SQL."""
        return ", ".join(f"CAST({quoted(name)} AS {type}) AS {quoted(name)}" for name, type in self.columns.items())

    def create_table(self):
        columns = (f"{quoted(name)} {type}{' NOT NULL' if name == self.key else ''}" for name, type in self.columns.items())
        return f"CREATE TABLE {quoted(self.table)} ({', '.join(columns)})"

    @property
    def index(self):
        return f"{self.table}_by_distance"

    def create_index(self):
        options = {"metric": self.metric, **self.options}
        given = ", ".join(f"{name} = {literal(value) if isinstance(value, str) else value}" for name, value in options.items())
        return f"CREATE INDEX {quoted(self.index)} ON {quoted(self.table)} USING HNSW ({quoted(self.column)}) WITH ({given})"

    def distance(self, query):
        return f"{DISTANCES[self.metric]}({quoted(self.column)}, {query})"

    def check_columns(self, names, what):
        if isinstance(names, str):
            raise ValueError(f"{what} = {names!r}: give a list of names, [{names!r}]")
        unknown = [name for name in names if name not in self.columns]
        if unknown:
            raise ValueError(f"{what}: {', '.join(map(repr, unknown))} is no column; the table has {', '.join(self.columns)}")

    def check_number(self, number):
        if not isinstance(number, int) or isinstance(number, bool) or not 0 <= number < self.count:
            raise ValueError(f"shard {number!r}: the shards are 0 to {self.count - 1}")

    def check_file(self, directory, number, con):
        """Raises ShardError unless an open file is the one that the manifest means."""
        name, expected = self.name(directory, number), self.shards[number]
        # blocks at the end that are free need not be there
        sizes = "SELECT used_blocks * block_size FROM pragma_database_size() WHERE database_name = current_database()"
        wanted, there = _HEADERS + con.execute(sizes).fetchone()[0], self.path(directory, number).stat().st_size
        if there < wanted:
            raise ShardError(f"{name} is cut off: it has {there:,} bytes, and needs {wanted:,} at least; {REPAIR}", [number])
        cluster, shard, made = about(con, name, number)[:3]
        if cluster != self.id:
            raise ShardError(f"{name} belongs to other shards, built as {cluster}, not as {self.id}: {REPAIR}", [number])
        if shard != number:
            raise ShardError(f"{name} holds shard {shard}: the files were exchanged; {REPAIR}", [number])
        if made != expected.made:
            raise ShardError(f"{name} is another build of this shard: {REPAIR}", [number])


def about(con, name, number):
    """What a file says of itself: id of the shards, number, id of the file, rows when it was built."""
    try:
        return con.execute("SELECT cluster::VARCHAR, shard, made::VARCHAR, rows FROM duckdb_vss.about").fetchone()
    except duckdb.CatalogException:
        raise ShardError(f"{name} is a database, but no shard: {REPAIR}", [number]) from None


def write_json(path, content):
    """Writes a file as a whole or not at all."""
    fresh = path.with_name(f"{path.name}.{uuid.uuid4().hex[:8]}.tmp")
    with fresh.open("w") as file:
        json.dump(content, file, indent=1)
        file.write("\n")
        file.flush()
        os.fsync(file.fileno())
    rename(fresh, path)


def rename(old, new):
    """A rename that survives a loss of power."""
    os.replace(old, new)
    folder = os.open(pathlib.Path(new).parent, os.O_RDONLY)
    try:
        os.fsync(folder)
    finally:
        os.close(folder)
