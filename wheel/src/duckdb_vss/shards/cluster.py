"""The shards of a folder, each held by a Ray actor, asked together and answered as one."""

import contextlib
import dataclasses
import functools
import itertools
import json
import pathlib
import threading
import time
import uuid

import duckdb
import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import ray

from . import statement
from .build import replacement, sources_of
from .errors import Late, ShardError, WriteError
from .manifest import INTEGERS, Manifest, quoted
from .shard import EXACT, IN_USE, Shard, arrow, check_cpus, check_memory_limit, connect, ended, remove

#: Calls that a shard works on at the same time.
CALLS = 8
_CLOSED = "the cluster is closed: open it again"
#: Settings, with their other names, that change what ORDER BY means.
_ORDERS = {"default_order", "default_null_order", "null_order", "default_collation"}
_LOST = (ray.exceptions.RayActorError, ray.exceptions.WorkerCrashedError, ray.exceptions.OutOfMemoryError)


@dataclasses.dataclass(frozen=True)
class Answer:
    """What the shards have answered, merged. `missing`: the numbers of shards that did not answer in time, if that was allowed."""

    table: pa.Table
    missing: tuple = ()
    types: tuple = ()  # DuckDB's, of the columns: of a tuple, Arrow makes a struct

    @property
    def partial(self):
        return bool(self.missing)

    def rows(self):
        """The rows as tuples, with DuckDB's types in Python."""
        columns = [f"c{place}" for place in range(self.table.num_columns)]
        pairs = itertools.zip_longest(columns, self.types, fillvalue="")
        listed = ", ".join(f"CAST({name} AS {type})" if "TUPLE(" in type else name for name, type in pairs)
        with _merging_cursor() as cursor:
            return cursor.register("answer", self.table.rename_columns(columns)).execute(f"SELECT {listed} FROM answer").fetchall()


@dataclasses.dataclass(frozen=True)
class Recall:
    """Which part of the nearest rows was found: of the merged answers, and of each shard's own."""

    recall: float
    shards: dict


class _Deadline:
    """When a call is over."""

    def __init__(self, seconds):
        self.seconds = seconds
        self._end = time.monotonic() + seconds

    def left(self):
        return max(0.0, self._end - time.monotonic())


_merging_lock = threading.Lock()


@functools.cache
def _merging():
    """The database of this process that merges: it has no tables."""
    return duckdb.connect(config={**EXACT, "threads": 1})


def _merging_cursor():
    # a connection refuses what comes while it does something else
    with _merging_lock:
        return contextlib.closing(_merging().cursor())


class Cluster:
    """Opened by `Cluster.open`. Its methods may be called from several threads.

    Each call ends within its `timeout`: with an answer, or with an error that names the shards. An actor that dies is started again,
    reads its file with all that was committed, and is asked again, within that time.
    """

    @classmethod
    def open(cls, directory, *, replicas=1, cpus=1, memory_limit=None, settings=None, timeout=60.0, check=True, ray_options=None):
        """Starts an actor for each shard, and waits until each has opened its file and read its index.

        replicas:     actors that answer for a shard. With several the files are open for reading only: append, delete and
                      replace_shard are refused.
        cpus:         of each actor, and its threads: Ray places as many as it has processors for. Fractions are allowed.
        memory_limit: of each actor's DuckDB ("8GB"); without it the machine's memory, by the actor's part of its processors.
        settings:     of each shard's DuckDB: {"hnsw_ef_search": 200}.
        timeout:      seconds for this, and for each call that gives none.
        check:        False does not wait: what is wrong with a file is then an error of the calls, and replace_shard repairs it.
        ray_options:  more options of the actors: {"resources": …}.

        Raises FileNotFoundError, ValueError, or ShardError for files that are missing, damaged or of other shards.
        """
        _check_timeout(timeout)
        if not isinstance(replicas, int) or isinstance(replicas, bool) or replicas < 1:
            raise ValueError(f"replicas = {replicas!r}: give a number of actors for each shard, from 1 on")
        check_cpus(cpus)
        check_memory_limit(memory_limit)
        for name in settings or {}:
            if str(name).lower() in _ORDERS:
                raise ValueError(f"settings: {name} would not be that of the merge: write the order into the statement")
        self = cls.__new__(cls)
        self._directory = str(pathlib.Path(directory).resolve())
        self.manifest = Manifest.read(self._directory)
        self._timeout, self._replicas, self._cpus = timeout, replicas, cpus
        self._turn = itertools.count()
        self._locks = [threading.Lock() for _ in range(self.manifest.count)]
        self._planning = threading.Lock()
        self._statements = {}
        self._closed = False
        try:
            self._planner = connect(settings=settings)
            statement.prepare(self._planner)
        except duckdb.Error as error:
            raise ValueError(f"settings: {error}") from None
        self._planner.execute(self.manifest.create_table())
        self._own_functions = statement.own_functions(self._planner)
        self._options = {"read_only": replicas > 1, "cpus": cpus, "memory_limit": memory_limit, "settings": settings}
        self._remote = ray.remote(Shard).options(
            **{"num_cpus": cpus, "scheduling_strategy": "SPREAD", **(ray_options or {})}, max_restarts=-1, max_concurrency=CALLS
        )
        self._actors = [[self._start(shard) for _ in range(replicas)] for shard in range(self.manifest.count)]
        try:
            if check:
                self.status()
        except Late as error:
            self._kill()
            has = f"{ray.cluster_resources().get('CPU', 0):g} processors, and {self.manifest.count * replicas} actors want {cpus:g} each"
            raise Late(f"{error}. Ray has {has}: start it with more, or give fewer by cpus", error.shards) from None
        except BaseException:
            self._kill()
            raise
        return self

    def __enter__(self):
        return self

    def __exit__(self, *_):
        self.close()

    def close(self):
        """Closes the files, with a checkpoint, and ends the actors. Other calls are a ValueError from then on."""
        with self._planning:
            if self._closed:
                return
            self._closed = True
        closing = [actor.close.remote() for replicas in self._actors for actor in replicas]
        ray.wait(closing, num_returns=len(closing), timeout=self._timeout)
        self._kill()

    def _kill(self):
        for replicas in self._actors:
            for actor in replicas:
                ray.kill(actor)
        self._planner.close()

    # Reading

    def search(self, query, k=10, *, where=None, values=None, columns=(), offset=None, timeout=None, partial=False):
        """The k nearest rows: an Answer with the key, the columns, and the distance; ties are ordered by the key.

        query:    a vector; or many, as a list or an array [queries, dimensions]: then the first column is the query's number, from 0.
        where:    a condition in SQL over the table's columns, with `values` for its $names.
        offset:   how many of the nearest to leave out: give it for every page, 0 for the first, and the pages fit together.
        timeout:  seconds. A shard that has not answered by then is an error, Late; or, with partial=True, `missing` in the answer.
        """
        end = self._end(timeout)
        manifest, values = self.manifest, _named(values)
        queries, many = self._vectors(query)
        _check_number("k", k, 1)
        if offset is not None:
            _check_number("offset", offset, 0)
        manifest.check_columns(columns, "columns")
        names = list(dict.fromkeys([manifest.key, *columns]))
        listed = ", ".join(map(quoted, names))
        condition = f" WHERE ({where}\n)" if where else ""
        page = f" LIMIT {k}" + (f" OFFSET {offset}" if offset is not None else "")
        distance = manifest.distance(f"$query::FLOAT[{manifest.dimensions}]")
        # by places: a column of the table may be called distance, too
        order = f"ORDER BY {len(names) + 1}, 1"
        one = f"SELECT {listed}, {distance} AS distance FROM {quoted(manifest.table)}{condition} {order}{page}"
        if "query" in values:
            raise ValueError("values: $query is the query vector's name; choose another")
        values["query"] = queries[0].tobytes()
        if not many:
            return self._select(one, values, end, partial)

        self._parse(one, values, end)  # what it refuses for one query is refused for many
        del values["query"]
        width = f"LIMIT {min(k + (offset or 0), statement.MOST)}" + (" OFFSET 0" if offset is not None else "")
        request = (self._for_each(f"{listed}, ", condition, order, width), values, self._numbered(queries))
        answers, missing = self._ask("select", {shard: request for shard in range(manifest.count)}, end, partial)
        names = ["query", *names, "distance"]
        return self._answer(answers, missing, names, self._merge_of_many(names, k, offset or 0))

    def sql(self, sql, values=None, *, timeout=None, partial=False):
        """The rows of a SELECT over the table, sent to every shard and merged by its ORDER BY, LIMIT and OFFSET.

        `values`: for its parameters, which have names: {"category": "boats"} for $category; bytes for a vector. Raises NotMergeable
        where shards cannot answer for the whole table: aggregates, windows, DISTINCT, joins, subqueries, random(). now() is each
        shard's own.
        """
        return self._select(sql, _named(values), self._end(timeout), partial)

    def recall(self, k=10, queries=100, *, where=None, values=None, timeout=None):
        """The Recall of searches for k rows, judged by the tables' own vectors.

        queries: vectors; or how many rows of the shards to take for it.
        """
        end = self._end(timeout)
        _check_number("k", k, 1)
        if isinstance(queries, int):
            _check_number("queries", queries, 1)
            queries = self._sample(queries, end)
            if not len(queries):
                return Recall(1.0, {shard: 1.0 for shard in range(self.manifest.count)})
        queries, _ = self._vectors(queries)
        manifest, values = self.manifest, _named(values)
        self.search(queries[0], 1, where=where, values=values, timeout=max(0.001, end.left()))  # refuses what it should
        sql = self._for_each("", f" WHERE ({where}\n)" if where else "", "ORDER BY 1", f"LIMIT {k}")
        found = []
        for settings in ({}, {"hnsw_strategy": "exact"}):
            request = (sql, values, self._numbered(queries), settings)
            answers, _ = self._ask("select", {shard: request for shard in range(manifest.count)}, end, False)
            found.append(answers)
        return Recall(_found(found, k), {shard: _found([{shard: side[shard]} for side in found], k) for shard in range(manifest.count)})

    def status(self, *, timeout=None):
        """A dictionary for each actor: shard, file, rows, rows in the index, its memory and status, process."""
        end = self._end(timeout)
        found = []
        for replica in range(self._replicas):
            requests = {shard: () for shard in range(self.manifest.count)}
            answers, _ = self._ask("status", requests, end, False, replica)
            found += answers.values()
        return sorted(found, key=lambda status: status["shard"])

    # Writing

    def append(self, rows, *, id=None, timeout=None):
        """Inserts rows where they belong; returns how many. They are in every answer that begins after it has returned.

        rows:  an Arrow table, a DataFrame, or a list of dictionaries, with the table's columns in any order; a column that is left out
               is NULL.
        id:    a UUID that names this append. Called again with the same id and the same rows, it inserts what is missing and nothing
               twice: so an WriteError, whose `id` it is, is answered by another call.

        Each shard has its rows together or not at all, on disk, when this returns; there is no transaction over several shards. Raises
        ValueError for rows that do not fit, and for keys that are there already: then nothing is inserted.
        """
        end = self._end(timeout)
        self._check_writable()
        manifest = self.manifest
        id = _uuid(id)
        parts = self._placed(rows, manifest, twice=False)
        key = manifest.key
        with self._locked(parts, end):
            keys = {shard: (id, part.select([key])) for shard, part in parts.items()}
            taken = {shard: found for shard, found in self._ask("taken", keys, end, False)[0].items() if found}
            if taken:
                where = "; ".join(f"shard {shard}: {', '.join(map(str, found))}" for shard, found in taken.items())
                raise ValueError(f"rows with this {key} are in the table already ({where}), so nothing was inserted: delete these first")
            return self._write("append", id, parts, end)

    def delete(self, keys, *, id=None, timeout=None):
        """Deletes the rows with these keys; returns how many there were. `id`, errors: as for `append`."""
        end = self._end(timeout)
        self._check_writable()
        manifest, id = self.manifest, _uuid(id)
        type = manifest.columns[manifest.key]
        try:
            given = pa.table({manifest.key: pa.array(list(keys))})
        except (pa.ArrowException, TypeError, OverflowError) as error:
            raise ValueError(f"keys: a list of {type} is expected: {error}") from None
        one = dataclasses.replace(manifest, columns={manifest.key: type})
        if manifest.placed_by == manifest.key:
            parts = self._placed(given, one, twice=True)
        else:
            table = self._cast(given, one, None)
            parts = {shard: table for shard in range(manifest.count)} if len(table) else {}
        with self._locked(parts, end):
            return self._write("delete", id, parts, end)

    def replace_shard(self, number, files, *, cpus=None, memory_limit=None, timeout=None):
        """Builds a shard anew from Parquet files, beside the old one, then puts it in its place; the others, and the old, answer on.

        Of the rows of the files those are taken that are placed in this shard: to repair a shard, give all files that it was built
        from. What had been appended since is gone unless it is in the files. Writes to the shard wait; its file may be missing or
        damaged, but not open in another process, whose writes would be lost: a ShardError. The build takes as long as it takes;
        `timeout` is for the change. Returns the manifest's entry.
        """
        end = self._end(timeout)
        self._check_writable()
        self.manifest.check_number(number)
        sources = sources_of(files)
        check_memory_limit(memory_limit)
        limits = {"cpus": cpus or self._cpus, "memory_limit": memory_limit or self._options["memory_limit"]}
        task = ray.remote(replacement).options(num_cpus=0 if cpus is None else cpus, max_retries=2)
        with self._locked([number], end):
            try:
                self._ask("status", {number: ()}, end, False)
            except ShardError as error:
                if isinstance(error, Late) or IN_USE in str(error):
                    raise
            try:
                file = ray.get(task.remote(self.manifest, self._directory, number, sources, limits))
            except ray.exceptions.RayTaskError as error:
                raise error.cause from None
            except ray.exceptions.RayError as error:
                raise ShardError(f"the task that built shard {number} anew was lost, and the old shard stays: {error}", [number]) from None
            old = self.manifest.path(self._directory, number)
            with self._planning:
                self.manifest = self.manifest.with_shard(number, file)
                self.manifest.write(self._directory)
            # whoever is asked for the new file opens it
            self._ask("status", {number: ()}, self._end(timeout), False)
            remove(old)
        return file

    # The calls of actors

    def _end(self, timeout):
        """The deadline of a call."""
        if self._closed:
            raise ValueError(_CLOSED)
        timeout = self._timeout if timeout is None else timeout
        _check_timeout(timeout)
        return _Deadline(timeout)

    def _start(self, shard):
        return self._remote.remote(self._directory, shard, **self._options)

    def _start_again(self, shard, actor):
        """Another actor in the place of one that Ray does not start again; once, whoever notices."""
        with self._planning:
            if self._closed:
                raise ValueError(_CLOSED)
            if actor in self._actors[shard]:
                self._actors[shard][self._actors[shard].index(actor)] = self._start(shard)

    def _ask(self, method, requests, end, partial, replica=None):
        """Sends a call to shards, {number: arguments}; returns their answers, and the numbers of those that are late.

        A shard whose actor was lost is asked again until the time is over: whatever is sent here may be sent twice.
        """
        waiting, answers, lost, failed = {}, {}, {}, {}
        turns = dict.fromkeys(requests, next(self._turn) if replica is None else replica)

        def send(shard):
            replicas = self._actors[shard]
            actor = replicas[turns[shard] % self._replicas]
            limits = {"seconds": max(0.001, end.left()), "made": self.manifest.shards[shard].made}
            waiting[actor.answer.remote(method, *requests[shard], **limits)] = (shard, actor)

        for shard in requests:
            send(shard)
        while waiting:
            ready, _ = ray.wait(list(waiting), timeout=end.left())
            if not ready:
                break
            shard, actor = waiting.pop(ready[0])
            try:
                answer = ray.get(ready[0])
                if isinstance(answer, Late):
                    lost[shard] = "it was too slow"
                elif isinstance(answer, ShardError):
                    failed[shard] = answer
                else:
                    answers[shard] = answer
            except _LOST as error:
                lost[shard] = f"its process was lost ({type(error).__name__})"
                if end.left():
                    if isinstance(error, ray.exceptions.ActorDiedError):
                        self._start_again(shard, actor)
                    turns[shard] += replica is None
                    time.sleep(0.05)
                    send(shard)
        if failed:
            said = "; ".join(str(error) for error in list(failed.values())[:3])
            more = f"; and {len(failed) - 3} more shards" if len(failed) > 3 else ""
            raise ShardError(said + more, sorted(failed))
        missing = tuple(sorted(set(requests) - set(answers)))
        if missing and not partial:
            names = "; ".join(f"{self.manifest.name(self._directory, shard)}: {lost.get(shard, 'no answer')}" for shard in missing)
            what = f"not answered within {end.seconds:g} s"
            raise Late(f"{what}: {names}. Raise the timeout, or allow a partial answer to a search", missing)
        return answers, missing

    def _write(self, method, id, parts, end):
        requests = {shard: (id, part) for shard, part in parts.items()}
        try:
            return sum(self._ask(method, requests, end, False)[0].values())
        except ShardError as error:
            again = f"Call {method} again with this id: it does what is missing"
            raise WriteError(f"{method} {id}: {error}. {again}", error.shards, id) from None

    @contextlib.contextmanager
    def _locked(self, shards, end):
        """One write to a shard at a time, and none while it is replaced."""
        with contextlib.ExitStack() as stack:
            for shard in sorted(shards):
                if not self._locks[shard].acquire(timeout=end.left()):
                    raise Late(f"shard {shard} is being written to, or replaced: try again", [shard])
                stack.callback(self._locks[shard].release)
            yield

    # What goes in, and what comes out

    def _select(self, sql, values, end, partial):
        plan = self._parse(sql, values, end)
        request = (plan.shard, plan.shard_values(values))
        answers, missing = self._ask("select", {shard: request for shard in range(self.manifest.count)}, end, partial)
        return self._answer(answers, missing, plan.names, plan.merge(values, "answers"))

    def _for_each(self, listed, condition, order, width):
        """The statement that a shard executes for the vectors of the Arrow table `queries`."""
        distance = self.manifest.distance("shards_vector")
        nearest = f"SELECT {listed}{distance} AS distance FROM {quoted(self.manifest.table)}{condition} {order} {width}"
        return f"SELECT shards_query, nearest.* FROM queries, LATERAL ({nearest}) nearest"

    def _parse(self, sql, values, end):
        key = (sql, tuple(sorted(values)))
        plan = self._statements.get(key)
        if plan is not None:
            return plan
        with self._planning_cursor() as cursor:
            try:
                with ended(cursor, end.left()):
                    plan = statement.parse(cursor, self.manifest, self._own_functions, sql, values)
            except duckdb.InterruptException:
                raise Late(f"not planned within {end.seconds:g} s, so no shard was asked: {sql}") from None
        with self._planning:
            if len(self._statements) >= 1000:
                self._statements.clear()
            self._statements[key] = plan
        return plan

    def _planning_cursor(self):
        with self._planning:
            if self._closed:
                raise ValueError(_CLOSED)
            return contextlib.closing(self._planner.cursor())

    def _answer(self, answers, missing, names, merge):
        if not answers:
            return Answer(pa.Table.from_arrays([pa.nulls(0)] * len(names), list(names)), missing)
        together = pa.concat_tables(answers.values())
        types = json.loads(together.schema.metadata[b"types"])[: len(names)]
        with _merging_cursor() as cursor:
            table = arrow(cursor.register("answers", together), merge)
        return Answer(table.rename_columns(list(names)).replace_schema_metadata(None), missing, tuple(types))

    def _merge_of_many(self, names, k, offset):
        columns = [f"c{place}" for place in range(len(names))]
        order = f"{columns[-1]}, c1"
        ranked = f"SELECT *, row_number() OVER (PARTITION BY c0 ORDER BY {order}) AS place FROM answers"
        return f"SELECT {', '.join(columns)} FROM ({ranked}) WHERE place > {offset} AND place <= {offset + k} ORDER BY c0, place"

    def _vectors(self, query):
        """Query vectors as an array [queries, dimensions] of float32, and whether there are many."""
        try:
            with np.errstate(over="ignore"):
                vectors = np.asarray(query, dtype="<f4")
        except (TypeError, ValueError) as error:
            raise ValueError(f"query: a vector of numbers is expected, or a list of vectors of one length: {error}") from None
        many = vectors.ndim == 2
        if vectors.ndim not in (1, 2) or vectors.shape[-1] != self.manifest.dimensions or not vectors.size:
            raise ValueError(f"query: its shape is {vectors.shape}; the vectors of the table have {self.manifest.dimensions} elements")
        if not np.isfinite(vectors).all():
            raise ValueError("query: an element is NaN, infinite, or beyond 32-bit floats")
        return vectors.reshape(-1, self.manifest.dimensions), many

    def _numbered(self, queries):
        vectors = pa.FixedSizeListArray.from_arrays(pa.array(queries.ravel()), queries.shape[1])
        return pa.table({"shards_query": pa.array(range(len(queries)), pa.int64()), "shards_vector": vectors})

    def _sample(self, queries, end):
        column = quoted(self.manifest.column)
        each = -(-queries // self.manifest.count)
        sample = f"(FROM {quoted(self.manifest.table)} WHERE {column} IS NOT NULL) USING SAMPLE reservoir({each} ROWS) REPEATABLE (1)"
        request = (f"SELECT {column} FROM {sample}",)
        answers, _ = self._ask("select", {shard: request for shard in range(self.manifest.count)}, end, False)
        vectors = [row for table in answers.values() for row in table["c0"].to_pylist()]
        return np.array(vectors[:queries], dtype="<f4").reshape(-1, self.manifest.dimensions)

    def _cast(self, rows, manifest, numbered):
        """Rows as the table's columns and types, and the number of their shard if that is wanted."""
        for name in {manifest.key, manifest.placed_by} & set(manifest.columns):
            given = rows[name]
            # a cast would round it to another row's
            if manifest.columns[name] in INTEGERS and (pa.types.is_floating(given.type) or pa.types.is_decimal(given.type)):
                broken = given.filter(pc.not_equal(pc.floor(given), given))
                if len(broken):
                    raise ValueError(f"rows: {name} = {broken[0].as_py()}: give whole numbers, it is of type {manifest.columns[name]}")
        try:
            with self._planning_cursor() as cursor:
                given = cursor.register("given", rows).sql(f"SELECT {manifest.casts()} FROM given")
                number = f", {numbered} AS shards_number" if numbered else ""
                return given.project(f"*{number}").to_arrow_table()
        except duckdb.Error as error:
            raise ValueError(f"rows: {error}") from None

    def _placed(self, rows, manifest, *, twice):
        """Rows by shard: {number: Arrow table with the table's columns and types}. `twice`: whether a key may occur twice."""
        try:
            rows = pa.Table.from_pylist(rows) if isinstance(rows, list) else pa.table(rows)
        except (pa.ArrowException, TypeError, ValueError, AttributeError, OverflowError) as error:
            raise ValueError(f"rows: an Arrow table, a DataFrame or a list of dictionaries is expected: {error}") from None
        if not len(rows):
            return {}
        manifest.check_columns(rows.column_names, "rows")
        for needed in {manifest.key, manifest.placed_by} - set(rows.column_names):
            raise ValueError(f"rows: the column {needed!r} is missing, which says where a row belongs")
        for absent in set(manifest.columns) - set(rows.column_names):
            rows = rows.append_column(absent, pa.nulls(len(rows)))
        table = self._cast(rows, manifest, manifest.shard_of())
        if table[manifest.key].null_count:
            raise ValueError(f"rows: {table[manifest.key].null_count} have no {manifest.key}: a key is never NULL")
        counts = table[manifest.key].value_counts()
        if not twice and len(counts) != len(table):
            key = counts.field("values").filter(pc.greater(counts.field("counts"), 1))[0]
            raise ValueError(f"rows: {manifest.key} = {key} occurs twice: a key is of one row")
        numbers = table["shards_number"]
        plain = table.drop_columns(["shards_number"])
        return {shard: plain.filter(pc.equal(numbers, shard)) for shard in sorted(numbers.unique().to_pylist())}

    def _check_writable(self):
        if self._replicas > 1:
            raise ValueError(f"this cluster was opened with {self._replicas} replicas, which only read: open it with one to write")


def _found(sides, k):
    """Which part of the exact distances was found: sides are the answers of shards, by the index and exactly."""
    found, exact = ({} for _ in sides)
    for side, answers in zip((found, exact), sides, strict=True):
        for table in answers.values():
            for query, distance in zip(table["c0"].to_pylist(), table["c1"].to_pylist(), strict=True):
                side.setdefault(query, []).append(float("inf") if distance is None else distance)
    hits = wanted = 0
    for query, distances in exact.items():
        nearest = sorted(distances)[:k]
        wanted += len(nearest)
        hits += min(len(nearest), sum(distance <= nearest[-1] for distance in sorted(found.get(query, []))[:k]))
    return hits / wanted if wanted else 1.0


def _check_number(name, value, least):
    if not isinstance(value, (int, np.integer)) or isinstance(value, bool) or not least <= value <= statement.MOST:
        raise ValueError(f"{name} = {value!r}: give a whole number, from {least} on, below 2^63")


def _named(values):
    """The values of a statement, as a dictionary of the call's own."""
    if values is not None and not (isinstance(values, dict) and all(isinstance(name, str) for name in values)):
        raise ValueError(f"values = {values!r}: give a dictionary, {{'name': value}} for $name")
    return dict(values or {})


def _check_timeout(timeout):
    if isinstance(timeout, bool) or not isinstance(timeout, (int, float)) or not 0 < timeout < float("inf"):
        raise ValueError(f"timeout = {timeout!r}: give seconds, more than 0")


def _uuid(id):
    try:
        return str(uuid.uuid4() if id is None else uuid.UUID(str(id)))
    except ValueError:
        raise ValueError(f"id = {id!r}: give a UUID, or none") from None
