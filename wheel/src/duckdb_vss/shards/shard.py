"""One shard: an ordinary DuckDB file, its connection, and what is done in it. Knows nothing of Ray: an actor is this class."""

import contextlib
import dataclasses
import json
import os
import pathlib
import threading
import uuid
import warnings

import duckdb

import duckdb_vss

from .errors import Late, ShardError
from .manifest import DAMAGED, REPAIR, Manifest, quoted, rename

#: Tables of a file beside the rows: what it is, and the writes that it has taken.
BOOKS = """
CREATE SCHEMA duckdb_vss;
CREATE TABLE duckdb_vss.about (cluster UUID, shard INTEGER, made UUID, rows BIGINT);
CREATE TABLE duckdb_vss.writes (id UUID, rows BIGINT, written TIMESTAMP DEFAULT now());
"""
IN_USE = "Another process has it open: close that one"
#: Values keep their types on the way through Arrow, and no name in a statement means a variable of Python.
EXACT = {"arrow_lossless_conversion": True, "python_enable_replacements": False}
#: Two of DuckDB's optimizers crash, or answer wrongly, beside deleted rows; nothing that an index serves needs them.
SETTINGS = {"disabled_optimizers": "late_materialization,top_n_window_elimination"}
#: Errors that a damaged file causes, among other things.
_DAMAGES = (duckdb.IOException, duckdb.SerializationException, duckdb.InternalException)

# A relation would be bound twice, which costs more than the copy of some rows that DuckDB's package warns of.
warnings.filterwarnings("ignore", "Arrow output on a DB-API result", UserWarning)


def connect(path=":memory:", *, read_only=False, cpus=1, memory_limit=None, settings=None):
    """A database with the extension, a part of the machine's threads and memory, and settings for all its connections."""
    threads = max(1, int(cpus))
    if memory_limit is None:
        machine = os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES")
        memory_limit = f"{int(0.8 * machine * min(1, cpus / os.cpu_count())) >> 20}MiB"
    con = duckdb_vss.connect(str(path), read_only=read_only, config={**EXACT, "threads": threads, "memory_limit": memory_limit})
    try:
        for name, value in {**SETTINGS, **(settings or {})}.items():
            con.execute(f"SET GLOBAL {name} = $1", [value])
        return con
    except BaseException:
        con.close()
        raise


def check_cpus(cpus):
    if isinstance(cpus, bool) or not isinstance(cpus, (int, float)) or not cpus > 0:
        raise ValueError(f"cpus = {cpus!r}: give processors, more than 0; a fraction is allowed")


def check_memory_limit(limit):
    if limit is not None:
        try:
            duckdb.connect(config={"memory_limit": limit}).close()
        except duckdb.Error as error:
            raise ValueError(f"memory_limit = {limit!r}: give a size, such as '8GB': {error}") from None


@contextlib.contextmanager
def ended(cursor, seconds):
    """Interrupts what a cursor does when the time is over. Gives an Event that says whether it is."""
    over = threading.Event()

    def interrupt():
        over.set()
        with contextlib.suppress(duckdb.Error):
            cursor.interrupt()

    timer = threading.Timer(threading.TIMEOUT_MAX if seconds is None else seconds, interrupt)
    timer.daemon = True
    timer.start()
    try:
        yield over
    finally:
        timer.cancel()


def arrow(con, sql, values=None):
    """The answer of a statement as an Arrow table whose columns are named by their places: names may occur twice.

    DuckDB's types are in the metadata of its schema: `types`, as JSON.
    """
    done = con.execute(sql, values or None)
    types = [str(column[1]) for column in done.description]
    table = done.to_arrow_table().rename_columns([f"c{place}" for place in range(len(types))])
    return table.replace_schema_metadata({"types": json.dumps(types)})


class Shard:
    """A shard of a folder. Opens its file when it is first asked, so that what is wrong with it is an answer, not a crash.

    `seconds`: how long a call may take; whoever has asked does not wait longer. `made`: the file that is meant: where another is open,
    the manifest decides, which may have changed.
    """

    def __init__(self, directory, number, *, read_only=False, cpus=1, memory_limit=None, settings=None):
        self._directory = directory
        self._number = number
        self._options = {"read_only": read_only, "cpus": cpus, "memory_limit": memory_limit, "settings": settings}
        self._name = f"shard {number} in {directory}"
        self._file = None
        self._opening = threading.Lock()
        self._writing = threading.Lock()

    def answer(self, method, *given, **limits):
        """What a method returns, or the ShardError that it raises: Ray prints those that are raised when nobody waits for them any more."""
        try:
            return getattr(self, method)(*given, **limits)
        except ShardError as error:
            return error

    def select(self, sql, values=None, queries=None, settings=None, *, seconds=None, made=None):
        """The rows of a SELECT as Arrow; `queries`: an Arrow table that it may read; `settings`: for this statement."""
        with self._cursor(seconds, made) as (cursor, manifest):
            for name, value in (settings or {}).items():
                cursor.execute(f"SET SESSION {name} = $1", [value])
            if queries is not None:
                cursor.register("queries", queries)
            return arrow(cursor, sql, values)

    def status(self, *, seconds=None, made=None):
        """What `Cluster.status` has of this shard. Reads the index, if nothing has yet."""
        with self._cursor(seconds, made) as (cursor, manifest):
            rows = cursor.execute(f"SELECT count(*) FROM {quoted(manifest.table)}").fetchone()[0]
            info = "SELECT count, approx_memory_usage, status FROM pragma_hnsw_index_info() WHERE index_name = $1"
            index = cursor.execute(info, [manifest.index]).fetchone()
            if index is None:
                make = f"SET hnsw_enable_experimental_persistence = true; {manifest.create_index()}"
                help = f"Open the file with duckdb_vss.connect and execute {make}. Or {REPAIR}"
                raise ShardError(f"{self._name}: its index {manifest.index} is missing. {help}", [self._number])
            version = cursor.execute("SELECT library_version FROM pragma_version()").fetchone()[0]
            return {
                "shard": self._number,
                "file": str(manifest.path(self._directory, self._number)),
                "rows": rows,
                "indexed": index[0],
                "index_bytes": index[1],
                "index_status": index[2],
                "process": os.getpid(),
                "duckdb": version,
            }

    def taken(self, id, keys, *, seconds=None, made=None):
        """Which of some keys (an Arrow table of one column) are in the table, a few of them; none if write `id` has been taken."""
        with self._cursor(seconds, made) as (cursor, manifest):
            return [] if self._rows_of(cursor, id) is not None else self._known(cursor, manifest, keys)

    def append(self, id, rows, *, seconds=None, made=None):
        """Inserts the rows of an Arrow table with the table's columns, once for each `id`; returns how many."""

        def insert(cursor, manifest):
            known = self._known(cursor, manifest, rows)
            if known:
                raise ShardError(f"{self._name} has rows with {manifest.key} {', '.join(map(str, known))}", [self._number])
            return f"INSERT INTO {quoted(manifest.table)} BY NAME FROM given"

        return self._write(id, rows, insert, seconds, made)

    def delete(self, id, keys, *, seconds=None, made=None):
        """Deletes the rows with some keys (an Arrow table of one column), once for each `id`; returns how many."""

        def delete(_, manifest):
            key = quoted(manifest.key)
            return f"DELETE FROM {quoted(manifest.table)} WHERE {key} IN (SELECT {key} FROM given)"

        # an append with this id is another write
        return self._write(str(uuid.uuid5(uuid.UUID(id), "delete")), keys, delete, seconds, made)

    def close(self):
        """Closes the file, when the calls that have begun are done. Another call opens it again."""
        with self._opening:
            self._retire()

    def _write(self, id, given, statement, seconds, made):
        """One write in one transaction with its id: what has been committed under an id is not done again."""
        with self._writing, self._cursor(seconds, made) as (cursor, manifest):
            if made != manifest.shards[self._number].made:
                raise ShardError(f"{self._name} has been replaced meanwhile: try again", [self._number])
            cursor.begin()
            known = self._rows_of(cursor, id)
            if known is not None:
                return known
            cursor.register("given", given)
            rows = cursor.execute(statement(cursor, manifest)).fetchone()[0]
            cursor.execute("INSERT INTO duckdb_vss.writes (id, rows) VALUES ($1, $2)", [id, rows])
            cursor.commit()
            return rows

    def _known(self, cursor, manifest, rows):
        """Some of the keys of an Arrow table that are in the shard's."""
        key = quoted(manifest.key)
        cursor.register("asked", rows.select([manifest.key]))
        found = f"SELECT {key} FROM {quoted(manifest.table)} SEMI JOIN asked USING ({key}) ORDER BY ALL LIMIT 5"
        return [value for (value,) in cursor.execute(found).fetchall()]

    def _rows_of(self, cursor, id):
        known = cursor.execute("SELECT rows FROM duckdb_vss.writes WHERE id = $1", [id]).fetchone()
        return known and known[0]

    def _opened(self, made):
        """The open file. Raises ShardError."""
        if self._file is not None and self._file.made == made:
            return self._file
        try:
            manifest = Manifest.read(self._directory)
        except (OSError, ValueError) as error:
            raise ShardError(f"{self._name}: {error}", [self._number]) from None
        wanted = manifest.shards[self._number].made
        if self._file is not None and self._file.made != wanted:
            self._retire()
        if self._file is None:
            self._name = manifest.name(self._directory, self._number)
            path = manifest.path(self._directory, self._number)
            if not path.is_file():
                raise ShardError(f"{self._name}: the file is missing: {REPAIR}", [self._number])
            with contextlib.ExitStack() as stack:
                try:
                    con = connect(path, **self._options)
                    stack.callback(con.close)
                    manifest.check_file(self._directory, self._number, con)
                except ShardError:
                    raise
                except (duckdb.Error, RuntimeError) as error:
                    help = IN_USE if "Could not set lock" in str(error) else DAMAGED
                    raise ShardError(f"{self._name} cannot be opened: {error}. {help}", [self._number]) from None
                stack.pop_all()
            self._file = _File(con, manifest, wanted)
        return self._file

    def _retire(self):
        """The next call opens a file anew. This one is closed when no call has a connection to it: closing would take that away."""
        old, self._file = self._file, None
        if old is not None:
            old.over = True
            old.close_unused()

    @contextlib.contextmanager
    def _cursor(self, seconds, made):
        """A connection of a call's own, which is interrupted when its time is over, and the manifest. DuckDB's errors name the shard."""
        with self._opening:
            file = self._opened(made)
            cursor = file.con.cursor()
            file.calls += 1
        try:
            with ended(cursor, seconds) as over:
                yield cursor, file.manifest
        except duckdb.FatalException as error:
            # the database accepts nothing any more: what is committed is read from its file by the next call
            with self._opening:
                if self._file is file:
                    self._retire()
            raise ShardError(f"{self._name}: {error}. It is opened anew: try again. {DAMAGED}", [self._number]) from None
        except duckdb.Error as error:
            if over.is_set():
                raise Late(f"{self._name}: no answer within {seconds:.3g} s", [self._number]) from None
            help = f". {DAMAGED}" if isinstance(error, _DAMAGES) else ""
            raise ShardError(f"{self._name}: {error}{help}", [self._number]) from None
        finally:
            cursor.close()
            with self._opening:
                file.calls -= 1
                file.close_unused()


@dataclasses.dataclass
class _File:
    """An open file."""

    con: duckdb.DuckDBPyConnection
    manifest: Manifest
    made: str
    calls: int = 0  # that have a connection
    over: bool = False  # no call begins any more

    def close_unused(self):
        if self.over and not self.calls:
            self.con.close()


def make(manifest, directory, number, sources, path, *, cpus, memory_limit, made):
    """Builds a shard's file from Parquet files: the rows that belong there, the index, a checkpoint. Returns the rows' number.

    `path` is there when it is complete, and not before. Raises ShardError.
    """
    fresh = pathlib.Path(f"{path}.{os.urandom(4).hex()}.tmp")
    key, table, rows = quoted(manifest.key), quoted(manifest.table), 0
    try:
        with contextlib.closing(connect(fresh, cpus=cpus, memory_limit=memory_limit)) as con:
            con.execute("SET preserve_insertion_order = false")
            con.execute("SET hnsw_enable_experimental_persistence = true")
            con.execute(BOOKS)
            con.execute(manifest.create_table())
            if sources:
                where = f"{manifest.shard_of()} = {number}"
                read = f"(SELECT {manifest.casts()} FROM read_parquet($1, hive_partitioning = false))"
                rows = con.execute(f"INSERT INTO {table} FROM {read} WHERE {where}", [sources]).fetchone()[0]
            twice = con.execute(f"SELECT {key} FROM {table} GROUP BY {key} HAVING count(*) > 1 ORDER BY {key} LIMIT 5").fetchall()
            if twice:
                values = ", ".join(str(value) for (value,) in twice)
                raise ShardError(f"shard {number}: rows have the same {manifest.key}: {values}", [number])
            con.execute(manifest.create_index())
            con.execute("INSERT INTO duckdb_vss.about VALUES ($1, $2, $3, $4)", [manifest.id, number, made, rows])
            con.execute("CHECKPOINT")
    except duckdb.Error as error:
        remove(fresh)
        raise ShardError(f"shard {number} could not be built in {directory}: {error}", [number]) from None
    except BaseException:
        remove(fresh)
        raise
    rename(fresh, path)
    return rows


def remove(path):
    """Removes a database file, with its log."""
    for file in (path, pathlib.Path(f"{path}.wal")):
        file.unlink(missing_ok=True)
