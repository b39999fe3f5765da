"""Builds shards from Parquet files: Ray tasks split the files by shard, then load, index and checkpoint one database file each."""

import contextlib
import dataclasses
import glob
import json
import os
import pathlib
import shutil
import uuid

import duckdb
import ray

import duckdb_vss

from . import shard
from .errors import ShardError
from .manifest import DISTANCES, NAME, PLACING, File, Manifest, about, literal, quoted, rename, write_json

PLAN = "build.json"


def build(
    files,
    directory,
    shards,
    *,
    key="id",
    column="embedding",
    metric="l2sq",
    placed_by=None,
    options=None,
    table="items",
    dimensions=None,
    cpus=1,
    memory_limit=None,
):
    """Builds a folder of shards, and returns its Manifest.

    files:        Parquet files: a path, a pattern, or a list of them; all with the same columns.
    directory:    where the shards will be, on a file system that all machines of the Ray cluster see.
    shards:       how many.
    key:          the column that identifies a row: an integer, VARCHAR, UUID or DATE, never NULL, no value twice.
    column:       the vectors: arrays or lists of numbers, all of one length; `dimensions` says it where the first file has no rows.
    metric:       l2sq, cosine or ip.
    placed_by:    the column whose value decides a row's shard: the key, or another, such as a tenant. Then rows of one value are in
                  one shard, deletes go to all, and a key is looked for in one shard only.
    options:      of the index: {"quantization": "sq8", "m": 24}.
    cpus:         of each task, and its threads. memory_limit: of each task's DuckDB ("8GB"); without it the machine's, by its cpus.

    What was interrupted goes on when it is called again with the same arguments: a shard that is complete is not built again. While
    it runs, the folder needs room for the rows twice. Raises ValueError for bad arguments, ShardError for what goes wrong in a shard.
    """
    shard.check_cpus(cpus)
    shard.check_memory_limit(memory_limit)
    manifest, sources = _plan(files, shards, key, column, metric, placed_by or key, options or {}, table, dimensions)
    directory = pathlib.Path(directory).resolve()
    directory.mkdir(parents=True, exist_ok=True)
    manifest, done = _resume(manifest, sources, directory)
    if done:
        return manifest
    limits = {"cpus": cpus, "memory_limit": memory_limit}
    where = str(directory)
    split = ray.remote(_split).options(num_cpus=cpus, max_retries=2, scheduling_strategy="SPREAD")
    make = ray.remote(_make).options(num_cpus=cpus, max_retries=2, scheduling_strategy="SPREAD")
    rows = sum(_all([split.remote(manifest, where, number, path, limits) for number, path in enumerate(sources)]))
    made = _all([make.remote(manifest, where, number, limits) for number in range(shards)])
    if sum(file.rows for file in made) != rows:
        raise ShardError(f"{rows} rows were read, and the shards have {sum(file.rows for file in made)}: remove {directory}, build again")
    manifest = dataclasses.replace(manifest, shards=tuple(made))
    manifest.write(directory)
    _tidy(directory)
    return manifest


def sources_of(files):
    """The files that are meant, as absolute paths. ValueError if there are none."""
    given = [files] if isinstance(files, (str, os.PathLike)) else list(files)
    found = []
    for name in map(os.fspath, given):
        matches = sorted(glob.glob(name, recursive=True)) if glob.has_magic(name) else [name] if os.path.exists(name) else []
        if not matches:
            raise ValueError(f"{name}: there is no such file; files: a path of Parquet files, a pattern, or a list of them")
        found += [os.path.abspath(match) for match in matches]
    if not found:
        raise ValueError("files: name at least one Parquet file")
    return found


def replacement(manifest, directory, number, sources, limits):
    """Builds another file for a shard, from those rows of Parquet files that are placed there. A Ray task; returns a File."""
    made = str(uuid.uuid4())
    path = pathlib.Path(directory, f"shard-{number:04d}-{made[:8]}.duckdb")
    rows = shard.make(manifest, directory, number, sources, path, made=made, **limits)
    return File(path.name, rows, made)


def _plan(files, shards, key, column, metric, placed_by, options, table, dimensions):
    """The manifest without its shards, and the files. Everything that can be wrong is found here, before anything is written."""
    if not isinstance(shards, int) or isinstance(shards, bool) or not 1 <= shards <= 9999:
        raise ValueError(f"shards = {shards!r}: give a number from 1 to 9999")
    if metric not in DISTANCES:
        raise ValueError(f"metric = {metric!r}: choose one of {', '.join(DISTANCES)}")
    sources = sources_of(files)
    with contextlib.closing(duckdb_vss.connect()) as con:
        try:
            described = con.execute("DESCRIBE SELECT * FROM read_parquet($1, hive_partitioning = false)", [sources]).fetchall()
            columns = {name: type for name, type, *_ in described}
            for what, name in (("key", key), ("column", column), ("placed_by", placed_by)):
                if name not in columns:
                    raise ValueError(f"{what} = {name!r} is no column of the files, which have {', '.join(columns)}")
            for what, name in (("key", key), ("placed_by", placed_by)):
                if columns[name] not in PLACING:
                    raise ValueError(f"{what} = {name!r} is of type {columns[name]}: it takes an integer, VARCHAR, UUID, DATE or BOOLEAN")
            if dimensions is None:
                length = f"SELECT len({quoted(column)}) FROM read_parquet($1) WHERE {quoted(column)} IS NOT NULL LIMIT 1"
                dimensions = (con.execute(length, [sources]).fetchone() or [None])[0]
                if dimensions is None:
                    raise ValueError(f"column = {column!r} has no vector in the files: give dimensions")
            columns[column] = f"FLOAT[{dimensions}]"
            versions = {"duckdb": duckdb.__version__, "duckdb_vss": duckdb_vss.__version__}
            manifest = Manifest(
                id=str(uuid.uuid4()),
                table=table,
                key=key,
                column=column,
                placed_by=placed_by,
                metric=metric,
                dimensions=dimensions,
                options=options,
                columns=columns,
                versions=versions,
                count=shards,
            )
            con.execute(manifest.create_table())
            con.execute(manifest.create_index())
        except duckdb.Error as error:
            raise ValueError(str(error)) from None
    return manifest, sources


def _resume(manifest, sources, directory):
    """The manifest to go on with, and whether all is done: what was begun here before must be the same."""
    stats = [[path, os.stat(path).st_size, os.stat(path).st_mtime_ns] for path in sources]
    plan = {"manifest": dataclasses.asdict(manifest), "sources": stats}
    same = {"id", "versions", "shards"}
    if (directory / NAME).exists():
        old = Manifest.read(directory)
        for name, value in dataclasses.asdict(manifest).items():
            if name not in same and value != getattr(old, name):
                has = f"{name} = {getattr(old, name)!r}, not {value!r}"
                raise ValueError(f"{directory} holds shards already, with {has}: choose another folder")
        return old, True
    if (directory / PLAN).exists():
        old = json.loads((directory / PLAN).read_text())
        for name, value in json.loads(json.dumps(plan["manifest"])).items():
            if name not in same and value != old["manifest"][name]:
                raise ValueError(
                    f"{directory} holds an unfinished build with {name} = {old['manifest'][name]!r}, not {value!r}: give the same "
                    "arguments, or remove the folder"
                )
        if old["sources"] != stats:
            raise ValueError(f"{directory} holds an unfinished build from other files, or they have changed since: remove the folder")
        return Manifest(**{**old["manifest"], "shards": ()}), False
    if any(directory.iterdir()):
        raise ValueError(f"{directory} is not empty, and holds no shards: choose another folder")
    write_json(directory / PLAN, plan)
    return manifest, False


def _all(tasks):
    """The results of all tasks. The first error ends those that have not begun."""
    try:
        return ray.get(tasks)
    except ray.exceptions.RayTaskError as error:
        for task in tasks:
            ray.cancel(task)
        raise error.cause from None
    except ray.exceptions.RayError as error:
        raise ShardError(f"a task of the build was lost: {error}. Call build again: what is complete stays") from None


def _split(manifest, directory, number, source, limits):
    """Writes the rows of one file as one Parquet file for each shard. A Ray task; returns how many rows there were."""
    target = pathlib.Path(directory, "parts", f"{number:06d}")
    fresh = target.with_name(f"{target.name}.{os.urandom(4).hex()}.tmp")
    with contextlib.closing(shard.connect(**limits)) as con:
        try:
            con.execute("SET preserve_insertion_order = false")
            con.execute(f"SET temp_directory = {literal(directory)}")
            if not target.exists():
                fresh.mkdir(parents=True)
                rows = f"SELECT {manifest.casts()} FROM read_parquet({literal(source)}, hive_partitioning = false)"
                placed = f"SELECT *, {manifest.shard_of()} AS shards_number FROM ({rows})"
                con.execute(f"COPY ({placed}) TO {literal(fresh)} (FORMAT parquet, PARTITION_BY (shards_number), OVERWRITE_OR_IGNORE)")
                with contextlib.suppress(FileExistsError):
                    rename(fresh, target)
            return con.execute("SELECT count(*) FROM read_parquet($1)", [source]).fetchone()[0]
        except duckdb.Error as error:
            raise ShardError(f"{source} cannot be split: {error}") from None


def _make(manifest, directory, number, limits):
    """Builds one shard, unless it is complete. A Ray task; returns its File."""
    path = pathlib.Path(directory, f"shard-{number:04d}.duckdb")
    if not path.exists():
        parts = sorted(pathlib.Path(directory, "parts").glob(f"*[0-9]/shards_number={number}/*.parquet"))
        shard.make(manifest, directory, number, [str(part) for part in parts], path, made=str(uuid.uuid4()), **limits)
    with contextlib.closing(shard.connect(path, read_only=True, **limits)) as con:
        cluster, _, made, rows = about(con, f"shard {number} ({path})", number)
    if cluster != manifest.id:
        raise ShardError(f"shard {number} ({path}) is of another build: remove it", [number])
    return File(path.name, rows, made)


def _tidy(directory):
    """Removes what only the build needed."""
    shutil.rmtree(directory / "parts", ignore_errors=True)
    for left in directory.glob("*.tmp*"):
        left.unlink()
    (directory / PLAN).unlink(missing_ok=True)
