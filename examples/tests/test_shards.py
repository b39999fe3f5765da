"""duckdb_vss.shards, from the wheel, with Ray on this machine: against one table with the same rows, and with what goes wrong."""

import concurrent.futures
import contextlib
import datetime
import json
import os
import pathlib
import random
import shutil
import signal
import subprocess
import sys
import textwrap
import threading
import time
import uuid

import duckdb
import numpy as np
import pyarrow as pa
import pytest

ray = pytest.importorskip("ray", reason="Ray cannot be installed here: the tests of examples/shards do not run")

# pytest puts aside what the package has said of this warning
pytestmark = pytest.mark.filterwarnings("ignore:Arrow output on a DB-API result")

ROOT = pathlib.Path(__file__).resolve().parents[2]
DIMENSIONS = 6
ROWS = 3000
#: Processors of an actor here: Ray has two, whatever the machine has.
CPUS = 0.1


@pytest.fixture(scope="module")
def package(request, extension, tmp_path_factory):
    """The wheel, unpacked, in the place of an environment of its own; and what a session with Ray needs in its environment."""
    folder = tmp_path_factory.mktemp("package")
    dist = [request.config.getoption("--dist-python"), ROOT / "tools/dist.py", "--in-host", "--out", folder / "dist", extension]
    subprocess.run(dist, check=True, stdout=subprocess.DEVNULL)
    (wheel,) = folder.glob("dist/*.whl")
    install = [sys.executable, "-m", "pip", "install", "--quiet", "--no-index", "--no-deps", "--target", folder / "site", wheel]
    subprocess.run(install, check=True)
    (folder / "home").mkdir()
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("HOME", str(folder / "home"))
        patch.setenv("PYTHONPATH", str(folder / "site"))
        patch.setenv("RAY_AUTH_MODE", "disabled")
        patch.setenv("RAY_USAGE_STATS_ENABLED", "0")
        patch.setenv("RAY_worker_niceness", "0")  # else they give way to all other work of the machine
        patch.syspath_prepend(str(folder / "site"))
        patch.delitem(sys.modules, "duckdb_vss", raising=False)
        yield folder / "site"
        for name in [name for name in sys.modules if name.split(".")[0] == "duckdb_vss"]:
            del sys.modules[name]


@pytest.fixture(scope="module")
def shards(package):
    """The module, with Ray running."""
    ray.init(num_cpus=2, include_dashboard=False, object_store_memory=100 << 20, log_to_driver=False)
    import duckdb_vss.shards

    yield duckdb_vss.shards
    ray.shutdown()


@pytest.fixture(scope="module")
def source(tmp_path_factory):
    """Parquet files with rows of many kinds: ties, NULL vectors, NULLs in all columns but the key."""
    folder = tmp_path_factory.mktemp("source")
    con = duckdb.connect()
    con.execute(
        f"""
        CREATE TABLE items AS
        SELECT (i * 7919) % 1000003 AS id,
               CASE WHEN i % 97 > 0 THEN list_transform(range({DIMENSIONS}), lambda j: round(sin(i // 3 * 0.7 + j * i // 3), 2)) END
                   AS embedding,
               CASE WHEN i % 11 = 0 THEN NULL ELSE 'kind ' || i % 5 END AS kind,
               DATE '2026-01-01' + (i % 50)::INTEGER AS day,
               CASE WHEN i % 13 = 0 THEN NULL WHEN i % 17 = 0 THEN 'nan'::DOUBLE ELSE i % 9 / 2 END AS price,
               [i % 3, NULL] AS tags, {{a: i % 2, b: 'x' || i}} AS pair, i / 7 AS ratio
        FROM range({ROWS}) r(i)
        """
    )
    for part in range(3):
        con.execute(f"COPY (FROM items WHERE id % 3 = {part}) TO '{folder}/{part}.parquet'")
    return folder


@pytest.fixture(scope="module")
def single(source):
    """One table with the same rows, asked without an index."""
    with duckdb.connect() as con:
        con.execute(f"CREATE TABLE items AS SELECT * REPLACE (embedding::FLOAT[{DIMENSIONS}] AS embedding) FROM '{source}/*.parquet'")
        con.execute("SET disabled_optimizers = 'extension,late_materialization,top_n_window_elimination'")
        yield con


def build(shards, source, directory, count=3, **options):
    return shards.build(f"{source}/*.parquet", directory, count, **{"cpus": CPUS, "memory_limit": "500MB", **options})


@pytest.fixture(scope="module")
def built(shards, source, tmp_path_factory):
    directory = tmp_path_factory.mktemp("built") / "shards"
    build(shards, source, directory)
    return directory


def opened(shards, directory, **options):
    return shards.Cluster.open(directory, **{"cpus": CPUS, "memory_limit": "500MB", "timeout": 120, **options})


@pytest.fixture(scope="module")
def cluster(shards, built):
    with opened(shards, built) as cluster:
        yield cluster


@pytest.fixture
def copy(built, tmp_path):
    """The shards, to do with as a test likes."""
    return shutil.copytree(built, tmp_path / "copy")


QUERIES = np.random.default_rng(5).uniform(-1, 1, (20, DIMENSIONS)).astype("<f4")


def same(found, expected):
    """Whether rows are the same, NaN being itself."""
    assert [tuple(map(repr, row)) for row in found] == [tuple(map(repr, row)) for row in expected]


def row(id, **columns):
    return {"id": id, "embedding": [0.5] * DIMENSIONS, **columns}


def process(cluster, shard):
    return next(status["process"] for status in cluster.status() if status["shard"] == shard)


# What is built


def test_a_row_is_in_the_shard_of_its_key(shards, built, source, single):
    manifest = shards.Manifest.read(built)
    assert sorted(os.listdir(built)) == ["manifest.json", "shard-0000.duckdb", "shard-0001.duckdb", "shard-0002.duckdb"]
    assert sum(shard.rows for shard in manifest.shards) == ROWS and min(shard.rows for shard in manifest.shards) > ROWS // 5
    assert (manifest.key, manifest.column, manifest.placed_by, manifest.dimensions) == ("id", "embedding", "id", DIMENSIONS)
    assert manifest.columns["embedding"] == f"FLOAT[{DIMENSIONS}]" and manifest.versions["duckdb"] == duckdb.__version__
    import duckdb_vss

    for number in range(3):
        with duckdb_vss.connect(manifest.path(built, number), read_only=True) as con:
            assert con.execute(f"SELECT DISTINCT {manifest.shard_of()} FROM items").fetchall() == [(number,)]
            assert con.execute("SELECT status, count FROM pragma_hnsw_index_info()").fetchone()[0] == "ready"


def test_a_column_places_the_rows(shards, source, single, tmp_path):
    build(shards, source, tmp_path / "x", 2, placed_by="kind", metric="cosine", options={"quantization": "sq8"})
    with opened(shards, tmp_path / "x") as cluster:
        kinds = [{kind for (kind,) in rows} for rows in kinds_of(cluster)]
        assert not kinds[0] & kinds[1] and len(kinds[0] | kinds[1]) == 6
        expected = single.execute("SELECT id FROM items WHERE kind = 'kind 1' ORDER BY id LIMIT 3").fetchall()
        assert cluster.delete([id for (id,) in expected] + [-1]) == 3
        same(
            cluster.sql("SELECT id FROM items WHERE kind = 'kind 1' ORDER BY id LIMIT 1").rows(),
            [single.execute("SELECT id FROM items WHERE kind = 'kind 1' ORDER BY id LIMIT 1 OFFSET 3").fetchone()],
        )
        with pytest.raises(ValueError, match="'kind' is missing"):
            cluster.append([row(1)])
        assert cluster.append([row(1, kind="kind 1"), row(2, kind=None)]) == 2


def kinds_of(cluster):
    """The kinds of each shard."""
    answers, _ = cluster._ask("select", {shard: ("SELECT kind FROM items",) for shard in range(2)}, time.monotonic() + 60, False)
    return [[(kind,) for kind in table["c0"].to_pylist()] for _, table in sorted(answers.items())]


def test_a_build_that_was_killed_goes_on(shards, package, source, tmp_path):
    directory = tmp_path / "shards"
    script = f"""
    import ray, duckdb_vss.shards as shards
    from duckdb_vss.shards import build, shard
    ray.init(num_cpus=2, include_dashboard=False, object_store_memory=100 << 20)
    shards.build("{source}/*.parquet", "{directory}", 8, cpus=1)
    """
    process = subprocess.Popen([sys.executable, "-c", textwrap.dedent(script)], start_new_session=True, stderr=subprocess.DEVNULL)
    patience = time.monotonic() + 600
    while len(list(directory.glob("*.duckdb"))) < 2:
        assert time.monotonic() < patience and process.poll() is None
        time.sleep(0.01)
    process.kill()
    process.wait()
    time.sleep(1)  # what it had begun ends with it
    before = {file: (file.stat().st_ino, file.stat().st_mtime_ns) for file in directory.glob("*.duckdb")}
    assert not (directory / "manifest.json").exists() and 2 <= len(before) <= 8
    with pytest.raises(FileNotFoundError, match="not to the end; call build again"):
        opened(shards, directory)
    with pytest.raises(ValueError, match="unfinished build with metric = 'l2sq', not 'ip'"):
        build(shards, source, directory, 8, metric="ip")
    with pytest.raises(ValueError, match="unfinished build from other files"):
        shards.build(f"{source}/0.parquet", directory, 8)
    manifest = build(shards, source, directory, 8)
    assert {file: (file.stat().st_ino, file.stat().st_mtime_ns) for file in before} == before
    assert sum(shard.rows for shard in manifest.shards) == ROWS
    assert sorted(file.name for file in directory.iterdir()) == ["manifest.json", *(f"shard-{number:04d}.duckdb" for number in range(8))]
    # what is complete is not built again
    assert build(shards, source, directory, 8) == manifest
    with pytest.raises(ValueError, match="holds shards already, with count = 8, not 7"):
        build(shards, source, directory, 7)


@pytest.mark.parametrize(
    ("options", "reason"),
    [
        ({"count": 0}, "shards = 0: give a number from 1"),
        ({"count": -2}, "shards = -2"),
        ({"count": 2.5}, "shards = 2.5"),
        ({"key": "nope"}, "key = 'nope' is no column of the files, which have id, embedding"),
        ({"column": "nope"}, "column = 'nope' is no column"),
        ({"placed_by": "nope"}, "placed_by = 'nope' is no column"),
        ({"key": "price"}, "key = 'price' is of type DOUBLE: it takes an integer"),
        ({"metric": "hamming"}, "metric = 'hamming': choose one of l2sq, cosine, ip"),
        ({"options": {"m": 1}}, "m"),
        ({"options": {"nope": 1}}, "nope"),
        ({"column": "day"}, "day|len"),
        ({"cpus": -1}, "cpus = -1: give processors"),
        ({"dimensions": 5}, "cast|array"),
        ({"key": "kind"}, "NOT NULL|same kind"),
    ],
)
def test_bad_arguments_of_a_build(shards, source, tmp_path, options, reason):
    with pytest.raises((ValueError, shards.ShardError), match=reason):
        build(shards, source, tmp_path / "x", **options)
    assert not (tmp_path / "x" / "manifest.json").exists()


def test_bad_files_of_a_build(shards, source, tmp_path):
    with pytest.raises(ValueError, match="none.parquet: there is no such file"):
        shards.build([f"{source}/0.parquet", f"{tmp_path}/none.parquet"], tmp_path / "x", 2)
    with pytest.raises(ValueError, match="name at least one"):
        shards.build([], tmp_path / "x", 2)
    (tmp_path / "bad.parquet").write_bytes(b"not Parquet at all")
    with pytest.raises(ValueError, match="bad.parquet"):
        shards.build(tmp_path / "bad.parquet", tmp_path / "x", 2)
    with pytest.raises(ValueError, match="is not empty, and holds no shards"):
        shards.build(f"{source}/0.parquet", tmp_path, 2)
    with pytest.raises(shards.ShardError, match="rows have the same id: 0, "):
        shards.build([f"{source}/0.parquet"] * 2, tmp_path / "x", 1, cpus=CPUS)


# What is found


@pytest.mark.parametrize("k", [1, 10, 700, ROWS + 10])
@pytest.mark.parametrize(
    ("where", "values"),
    [
        (None, {}),
        ("kind = $kind", {"kind": "kind 3"}),
        ("kind IS NULL AND day < DATE '2026-01-20' -- a comment", {}),
        ("price > 2 OR embedding IS NULL", {}),
        ("id = 7919", {}),
        ("false", {}),
    ],
)
def test_search_is_that_of_one_table(cluster, single, k, where, values):
    condition = f"WHERE ({where}\n)" if where else ""
    for query in QUERIES[:4]:
        answer = cluster.search(query, k, where=where, values=values, columns=["kind", "day", "price"])
        expected = single.execute(
            f"SELECT id, kind, day, price, array_distance(embedding, $query::FLOAT[{DIMENSIONS}]) AS distance FROM items {condition} "
            f"ORDER BY distance, id LIMIT {k}",
            {**values, "query": query.tolist()},
        ).fetchall()
        same(answer.rows(), expected)
        assert not answer.partial and answer.table.column_names == ["id", "kind", "day", "price", "distance"]


@pytest.mark.parametrize("where", [None, "kind = $kind"])
def test_many_queries_are_each_that_of_one_table(cluster, single, where):
    values = {"kind": "kind 3"} if where else {}
    for k, offset in [(1, None), (7, 0), (5, 3), (ROWS, None)]:
        answer = cluster.search(QUERIES, k, where=where, values=values, columns=["pair"], offset=offset)
        expected = [
            (number, *row)
            for number, query in enumerate(QUERIES)
            for row in single.execute(
                f"SELECT id, pair, array_distance(embedding, $query::FLOAT[{DIMENSIONS}]) AS distance FROM items "
                f"{'WHERE ' + where if where else ''} ORDER BY distance, id LIMIT {k} OFFSET {offset or 0}",
                {**values, "query": query.tolist()},
            ).fetchall()
        ]
        same(answer.rows(), expected)
    assert answer.table.column_names == ["query", "id", "pair", "distance"]


def test_pages_are_parts_of_one_order(cluster, single):
    expected = single.execute(
        f"SELECT id FROM items ORDER BY array_distance(embedding, $1::FLOAT[{DIMENSIONS}]), id LIMIT 100", [QUERIES[0].tolist()]
    ).fetchall()
    pages = [cluster.search(QUERIES[0], 9, offset=offset).rows() for offset in range(0, 100, 9)]
    assert [row[:1] for page in pages for row in page][:100] == expected
    assert cluster.search(QUERIES[0], 9, offset=ROWS).rows() == []


NEAR = f"array_distance(embedding, $q::FLOAT[{DIMENSIONS}])"


@pytest.mark.parametrize(
    "sql",
    [
        "SELECT id, kind, price FROM items ORDER BY price, id LIMIT 30",
        "SELECT id, price FROM items ORDER BY price DESC NULLS FIRST, kind ASC NULLS LAST, id DESC LIMIT 40 OFFSET 200",
        "SELECT kind, -id AS id FROM items ORDER BY id LIMIT 5",
        "SELECT id AS kind FROM items ORDER BY kind LIMIT 5",
        "FROM items ORDER BY id LIMIT 20",
        "SELECT * EXCLUDE (embedding) FROM items ORDER BY day, 1 DESC LIMIT 20 OFFSET 7",
        "SELECT id FROM items AS t WHERE t.kind LIKE '%3' ORDER BY t.price + t.id, id LIMIT 5",
        "SELECT pair.a, tags, ratio, id FROM items ORDER BY ALL DESC LIMIT 11",
        "SELECT id, (id::HUGEINT - 500000) * 9223372036854775807 AS h, md5(kind)::BLOB FROM items ORDER BY 2 DESC, id LIMIT 11",
        f"SELECT id, {NEAR} AS d FROM items WHERE kind = 'kind 2' ORDER BY d, id LIMIT 12 OFFSET 3",
        f"SELECT id FROM items ORDER BY {NEAR}, id LIMIT 12",
        f"SELECT id, round({NEAR}, 1) AS d FROM items ORDER BY d NULLS FIRST, day DESC, id LIMIT 12 OFFSET 30",
        f"SELECT id FROM items WHERE {NEAR} < 0.8 ORDER BY id",
        "SELECT id, unnest([1, 2, id]) AS part FROM items ORDER BY part DESC, id LIMIT 12",
        "SELECT d, count FROM (SELECT id AS d, price AS count FROM items WHERE day > DATE '2026-02-01') ORDER BY d LIMIT 5",
        "SELECT id, id AS id FROM items ORDER BY 2 LIMIT 5",
        "SELECT id FROM items ORDER BY id LIMIT $n OFFSET $skip",
        "SELECT id, $n AS n FROM items ORDER BY id LIMIT $n",
        "SELECT id FROM items ORDER BY id LIMIT 0",
        "SELECT id FROM items ORDER BY id LIMIT 9223372036854775807 OFFSET 2990",
        "SELECT id AS shards_order_1, kind FROM items ORDER BY id % 11 DESC, id + 1 LIMIT 9",
        "SELECT id FROM items WHERE kind IN ('kind 1', 'kind 2') AND CASE WHEN price > 2 THEN true ELSE id % 2 = 0 END ORDER BY id LIMIT 9",
    ],
)
def test_sql_is_that_of_one_table(cluster, single, sql):
    values = {name: value for name, value in {"q": QUERIES[1].tolist(), "n": 6, "skip": 4}.items() if "$" + name in sql}
    same(cluster.sql(sql, values).rows(), single.execute(sql, values or None).fetchall())
    assert cluster.sql(sql, values).table.column_names == [column[0] for column in single.execute(sql, values or None).description]


def test_sql_without_an_order_has_the_rows(cluster, single):
    found = cluster.sql("SELECT id, embedding FROM items WHERE kind = 'kind 1'").rows()
    same(sorted(found), sorted(single.execute("SELECT id, embedding FROM items WHERE kind = 'kind 1'").fetchall()))
    assert len(cluster.sql("FROM items LIMIT 10").table) == 10


@pytest.mark.parametrize(
    ("sql", "reason"),
    [
        ("SELECT count(*) FROM items", "an aggregate of all rows"),
        ("SELECT kind, max(price) FROM items GROUP BY kind", "an aggregate"),
        ("SELECT geomean(price) FROM items", "an aggregate"),
        ("SELECT id FROM items GROUP BY ALL HAVING id > 1", "an aggregate"),
        ("SELECT DISTINCT kind FROM items", "distinct"),
        ("SELECT DISTINCT ON (kind) id FROM items ORDER BY id LIMIT 1", "distinct"),
        ("SELECT row_number() OVER (ORDER BY id) FROM items", "a window"),
        ("SELECT id FROM items QUALIFY row_number() OVER (PARTITION BY kind ORDER BY id) = 1", "a window"),
        ("FROM items USING SAMPLE 10", "samples"),
        ("SELECT a.id FROM items a JOIN items b USING (kind)", "joins and subqueries"),
        ("FROM items WHERE id = (SELECT max(id) FROM items)", "joins and subqueries"),
        ("FROM items WHERE kind IN (SELECT kind FROM items LIMIT 1)", "joins and subqueries"),
        ("FROM items UNION ALL FROM items", "set operation"),
        ("FROM (FROM items ORDER BY id LIMIT 5) WHERE kind = 'kind 1'", "inside|already"),
        ("FROM (FROM items ORDER BY id LIMIT 5) ORDER BY kind LIMIT 2", "inside"),
        ("FROM items ORDER BY id LIMIT 10%", "percent"),
        ("FROM items ORDER BY id OFFSET 3", "without a LIMIT"),
        ("FROM items ORDER BY id LIMIT 2 + 3", "numbers or parameters"),
        ("SELECT rowid FROM items", "rowid counts the rows of one shard"),
        ("SELECT id FROM items ORDER BY kind COLLATE nocase LIMIT 3", "COLLATE"),
        ("SELECT id, -price AS price FROM items ORDER BY price + 1 LIMIT 3", "ORDER BY computes with price"),
        ("SELECT id FROM items ORDER BY kind::ENUM('kind 2', 'kind 1') LIMIT 3", "ENUM"),
        ("SELECT 1", "FROM items, the table of the shards"),
        ("FROM range(5)", "FROM items, the table of the shards"),
        ("FROM duckdb_vss.about", "about"),
        ("DELETE FROM items", "only a SELECT"),
        ("SELECT 1; SELECT 2", "one statement at a time"),
        ("SELECT id FROM items WHERE nope = 1", 'Referenced column "nope" not found'),
        ("SELEC id", "syntax error"),
        ("SELECT id FROM items WHERE id = $x", "parameters \\['x'\\], and values were given for \\[\\]"),
        ("SELECT id FROM items WHERE id = ?", "values have names here"),
        ("SELECT id FROM items WHERE id = $shards_limit", "\\$shards_limit is the name of the rows"),
        ("SELECT id FROM items LIMIT 9223372036854775808", "LIMIT 9223372036854775808: give a whole number"),
    ],
)
def test_what_cannot_be_merged_is_refused(cluster, shards, sql, reason):
    with pytest.raises(ValueError, match=reason):
        cluster.sql(sql)


@pytest.mark.parametrize(
    ("changes", "reason"),
    [
        ({"query": [1.0] * 5}, "query: its shape is \\(5,\\); the vectors of the table have 6 elements"),
        ({"query": [[1.0] * 7] * 2}, "its shape is \\(2, 7\\)"),
        ({"query": [[1.0] * 6, [1.0] * 5]}, "a list of vectors of one length"),
        ({"query": "boat"}, "a vector of numbers"),
        ({"query": []}, "its shape is \\(0,\\)"),
        ({"query": [float("nan")] + [1.0] * 5}, "NaN"),
        ({"query": [1e300] + [1.0] * 5}, "beyond 32-bit"),
        ({"k": 0}, "k = 0: give a whole number, from 1 on"),
        ({"k": -1}, "k = -1"),
        ({"k": 1.5}, "k = 1.5"),
        ({"k": 2**63}, "k = 9223372036854775808: give a whole number, from 1 on, below"),
        ({"offset": -1}, "offset = -1"),
        ({"timeout": 0}, "timeout = 0: give seconds"),
        ({"columns": ["kind", "nope"]}, "columns: 'nope' is no column; the table has id, embedding"),
        ({"where": "nope = 1"}, 'Referenced column "nope"'),
        ({"where": "kind = $kind"}, "parameters \\['kind', 'query'\\]"),
        ({"where": "id IN (SELECT max(id) FROM items)"}, "joins and subqueries"),
        ({"where": "id IN (SELECT max(id) FROM items)", "query": [[1.0] * 6]}, "joins and subqueries"),
        ({"where": "row_number() OVER () = 1"}, "WHERE|window"),
        ({"values": {"query": 1}}, "\\$query is the query vector's name"),
    ],
)
def test_bad_arguments_of_a_search(cluster, changes, reason):
    arguments = {"query": [1.0] * 6, **changes}
    with pytest.raises(ValueError, match=reason):
        cluster.search(**arguments)


def test_an_error_of_a_shard_names_it(cluster, shards):
    with pytest.raises(shards.ShardError, match="shard 0 .*shard-0000.duckdb.*Could not convert string") as raised:
        cluster.search([1.0] * 6, 1, where="kind::INTEGER = 1")
    assert raised.value.shards == (0, 1, 2)
    assert cluster.search([1.0] * 6, 1).rows()


def test_real_words(shards, dataset, vectors, tmp_path):
    """5,000 words over two shards, with codes: each has an index that it searches."""
    shards.build(dataset / "words.parquet", tmp_path / "x", 2, metric="cosine", options={"quantization": "sq8"}, cpus=1)
    with opened(shards, tmp_path / "x", settings={"hnsw_ef_search": 100}) as cluster, duckdb.connect() as con:
        exact = (
            f"SELECT id FROM '{dataset}/words.parquet' ORDER BY array_cosine_distance(embedding::FLOAT[384], $1::FLOAT[384]), id LIMIT 10"
        )
        hits = 0
        for vector in vectors[:20]:
            expected = {id for (id,) in con.execute(exact, [vector]).fetchall()}
            found = cluster.search(vector, 10, columns=["definition"]).rows()
            assert found == [row[1:] for row in cluster.search([vector] * 2, 10, columns=["definition"]).rows() if row[0] == 1]
            hits += len(expected & {row[0] for row in found})
        assert hits >= 195
        recall = cluster.recall(10, 50)
        assert recall.recall > 0.95 and set(recall.shards) == {0, 1} and min(recall.shards.values()) > 0.9
        assert cluster.recall(10, vectors[:10], where="part_of_speech = $p", values={"p": "verb"}).recall > 0.95
        assert [status["index_status"] for status in cluster.status()] == ["ready", "ready"]


# What changes


def test_rows_come_and_go(shards, copy, single):
    with opened(shards, copy) as cluster:
        day = datetime.date(2030, 1, 1)
        given = [
            row(-i, kind=f"new {i % 2}", day=day, price=float(i), tags=[i], pair={"a": i, "b": "y"}, ratio=float(i)) for i in range(1, 41)
        ]
        assert cluster.append(given) == 40
        found = cluster.search([0.5] * 6, 40, columns=list(given[0])[2:], where="day = DATE '2030-01-01'").rows()
        assert [entry[:1] + entry[1:-1] for entry in sorted(found, reverse=True)] == [
            (entry["id"], entry["kind"], day, entry["price"], entry["tags"], entry["pair"], entry["ratio"]) for entry in given
        ]
        frame = duckdb.sql("SELECT 500000000 + i AS id, [i, 0, 0, 0, 0, 0]::DOUBLE[] AS embedding FROM range(2000) r(i)")
        assert cluster.append(frame.to_arrow_table()) == 2000
        assert cluster.append(pa.table({"id": pa.array([600000000]), "embedding": pa.array([None], pa.list_(pa.float32()))})) == 1
        assert cluster.search([1500.0, 0, 0, 0, 0, 0], 1).rows() == [(500001500, 0.0)]
        assert cluster.delete([-1, -2, 500001500, 123456789012]) == 3
        assert cluster.search([1500.0, 0, 0, 0, 0, 0], 1).rows() == [(500001499, 1.0)]
        assert cluster.delete([]) == 0 and cluster.append([]) == 0
        assert sum(status["rows"] for status in cluster.status()) == ROWS + 40 + 2000 + 1 - 3
    with opened(shards, copy) as cluster:
        assert sum(status["rows"] for status in cluster.status()) == ROWS + 40 + 2000 + 1 - 3
        assert cluster.search([0.5] * 6, 1).rows() == [(-40, 0.0)]


def test_an_append_that_is_sent_twice_is_done_once(shards, copy):
    with opened(shards, copy) as cluster:
        id = uuid.uuid4()
        given = [row(-i) for i in range(1, 31)]
        assert cluster.append(given, id=id) == 30 and cluster.append(given, id=id) == 30
        assert cluster.sql("SELECT id FROM items WHERE id < 0").table.num_rows == 30
        deleted = uuid.uuid4()
        assert cluster.delete([-1, -2], id=deleted) == 2 and cluster.delete([-1, -2], id=deleted) == 2
        # what has been deleted since does not come back
        assert cluster.append(given, id=id) == 30
        assert cluster.sql("SELECT id FROM items WHERE id < 0").table.num_rows == 28
        # a delete is no append, whatever its id
        assert cluster.delete([-3, -4], id=id) == 2
        assert cluster.sql("SELECT id FROM items WHERE id < 0").table.num_rows == 26


@pytest.mark.parametrize(
    ("rows", "reason"),
    [
        ([row(None)], "1 have no id"),
        ([row(1), row(1)], "rows: a id occurs twice"),
        ([row(7919)], "rows with this id are in the table already \\(shard .: 7919\\), so nothing"),
        ([row(1, nope=2)], "rows: 'nope' is no column"),
        ([{"embedding": [1.0] * 6}], "the column 'id' is missing"),
        ([{"id": 1, "embedding": [1.0] * 5}], "rows: .*[Cc]annot cast"),
        ([row("x")], "rows: .*Could not convert"),
        ([row(2**70)], "too large|too big"),
        ([row(1.5)], "id = 1.5: give whole numbers"),
        ("boat", "an Arrow table, a DataFrame or a list"),
        (5, "an Arrow table, a DataFrame or a list"),
    ],
)
def test_bad_rows(cluster, rows, reason):
    before = [status["rows"] for status in cluster.status()]
    with pytest.raises(ValueError, match=reason):
        cluster.append(rows)
    assert [status["rows"] for status in cluster.status()] == before


def test_bad_arguments_of_changes(cluster, shards, built):
    with pytest.raises(ValueError, match="keys: a list of BIGINT"):
        cluster.delete(5)
    with pytest.raises(ValueError, match="rows: .*Could not convert"):
        cluster.delete(["x"])
    with pytest.raises(ValueError, match="id = 7919.5: give whole numbers"):
        cluster.delete([7919.5])
    with pytest.raises(ValueError, match="give a UUID"):
        cluster.append([row(1)], id="first")
    with pytest.raises(ValueError, match="LIMIT None: give a whole number"):
        cluster.sql("SELECT id FROM items ORDER BY id LIMIT $most", {"most": None})
    with pytest.raises(ValueError, match="shard 3: the shards are 0 to 2"):
        cluster.replace_shard(3, "x.parquet")
    with pytest.raises(ValueError, match="there is no such file"):
        cluster.replace_shard(1, "x.parquet")
    refused = [({"replicas": 0}, "replicas = 0"), ({"timeout": -1}, "timeout = -1")]
    refused += [({"settings": {"default_null_order": "nulls_first"}}, "default_null_order would not be that of the merge")]
    refused += [({"settings": {"NULL_ORDER": "nulls_first"}}, "NULL_ORDER would not be that of the merge")]
    refused += [({"settings": {"Default_Order": "desc"}}, "Default_Order would not be that of the merge")]
    refused += [({"settings": {"lock_configuration": True}}, "settings: .*locked")]
    refused += [({"settings": {"nope": 1}}, "nope"), ({"cpus": 0}, "cpus = 0: give processors")]
    for options, reason in refused:
        with pytest.raises(ValueError, match=reason):
            opened(shards, built, **options)
    with pytest.raises(FileNotFoundError, match="manifest.json is missing"):
        opened(shards, built.parent)


def test_a_shard_is_replaced_while_all_answer(shards, copy, source, single, tmp_path):
    duckdb.execute(f"COPY (SELECT * REPLACE ('new' AS kind) FROM '{source}/*.parquet' WHERE id % 2 = 0) TO '{tmp_path}/new.parquet'")
    with opened(shards, copy) as cluster:
        stopped, counts, failures = threading.Event(), set(), []

        def ask():
            while not stopped.is_set():
                try:
                    counts.add(len(cluster.search(QUERIES[0], ROWS, columns=["kind"]).table))
                except Exception as error:
                    failures.append(error)
                    return

        with concurrent.futures.ThreadPoolExecutor(3) as pool:
            asking = [pool.submit(ask) for _ in range(2)]
            old = cluster.manifest.path(copy, 1)
            held = cluster.manifest.shards[1].rows
            try:
                appended = pool.submit(cluster.append, [row(-i) for i in range(1, 31)])
                file = cluster.replace_shard(1, tmp_path / "new.parquet")
                appended.result()
            finally:
                stopped.set()
            for result in asking:
                result.result()
        assert not failures and ROWS + 30 >= max(counts) and min(counts) >= ROWS - held
        assert not old.exists() and (copy / file.file).exists()
        kinds = {(row[1], row[2]) for row in cluster.search(QUERIES[0], 2 * ROWS, columns=["kind", "day"], where="kind = 'new'").rows()}
        assert {kind for kind, _ in kinds} == {"new"}
        assert len(cluster.search(QUERIES[0], 2 * ROWS, where="kind = 'new'").table) == file.rows
    with opened(shards, copy) as cluster:
        assert cluster.manifest.shards[1] == file
        assert len(cluster.search(QUERIES[0], 2 * ROWS, where="kind = 'new'").table) == file.rows


# What goes wrong


def spoil(path, how):
    if how == "missing":
        path.unlink()
    elif how == "not a database":
        path.write_bytes(b"not a database" * 1000)
    elif how == "cut off":
        os.truncate(path, 5000)
    elif how == "header":
        with path.open("r+b") as file:
            file.seek(4096)
            file.write(os.urandom(8192))
    elif how == "every block":
        with path.open("r+b") as file:
            for block in range(3 * 4096, path.stat().st_size, 1 << 18):
                file.seek(block + 5000)
                file.write(b"damage")
    elif how == "another database":
        path.unlink()
        duckdb.connect(path).close()


def status_of(directory, number):
    """What an actor answers, without one."""
    from duckdb_vss.shards.shard import Shard

    shard = Shard(str(directory), number, cpus=CPUS, memory_limit="500MB")
    try:
        shard.select("FROM items")
        return shard.status()
    finally:
        shard.close()


def test_a_closed_cluster_stays_closed(shards, copy):
    with opened(shards, copy) as cluster:
        cluster.close()
        calls = [lambda: cluster.search(QUERIES[0]), lambda: cluster.sql("FROM items"), lambda: cluster.append([row(1)]), cluster.status]
        for call in calls:
            with pytest.raises(ValueError, match="the cluster is closed: open it again"):
                call()
    for file in copy.glob("*.duckdb"):
        duckdb.connect(str(file), config={"access_mode": "read_only"}).close()  # nobody has it open


def test_a_shard_that_is_open_elsewhere_is_not_replaced(shards, copy, source):
    with opened(shards, copy) as cluster:
        other = opened(shards, copy, check=False)
        with pytest.raises(shards.ShardError, match="Another process has it open: close that one"):
            other.replace_shard(0, f"{source}/*.parquet")
        other.close()
        assert cluster.append([row(-id) for id in range(1, 20)]) == 19
        before = sum(status["rows"] for status in cluster.status())
    with opened(shards, copy) as cluster:
        assert sum(status["rows"] for status in cluster.status()) == before


@pytest.mark.parametrize(
    ("how", "reason"),
    [
        ("missing", "the file is missing"),
        ("not a database", "cannot be opened"),
        ("cut off", "cannot be opened"),
        ("header", "cannot be opened"),
        ("every block", "[Cc]hecksum"),
        ("another database", "is a database, but no shard"),
    ],
)
def test_a_bad_file_is_named(shards, copy, how, reason):
    assert status_of(copy, 1)["index_status"] == "ready"
    spoil(copy / "shard-0001.duckdb", how)
    with pytest.raises(shards.ShardError, match=f"shard 1 .*shard-0001.duckdb.*{reason}") as raised:
        status_of(copy, 1)
    assert raised.value.shards == (1,)


def test_a_bad_file_is_replaced(shards, copy, source, single):
    spoil(copy / "shard-0001.duckdb", "header")
    spoil(copy / "shard-0002.duckdb", "missing")
    with pytest.raises(shards.ShardError, match="shard 1 .*cannot be opened.*shard 2 .*the file is missing") as raised:
        opened(shards, copy)
    assert raised.value.shards == (1, 2)
    with opened(shards, copy, check=False) as cluster:
        with pytest.raises(shards.ShardError, match="shard 1 .*cannot be opened"):
            cluster.search(QUERIES[0])
        for number in (1, 2):
            cluster.replace_shard(number, f"{source}/*.parquet")
        expected = f"SELECT id FROM items ORDER BY array_distance(embedding, $1::FLOAT[{DIMENSIONS}]), id LIMIT 10"
        assert [row[:1] for row in cluster.search(QUERIES[0]).rows()] == single.execute(expected, [QUERIES[0].tolist()]).fetchall()


def test_a_file_of_other_shards_is_refused(shards, copy, source, tmp_path):
    build(shards, source, tmp_path / "other", 2)
    first = copy / "shard-0000.duckdb"
    kept = shutil.copy(first, tmp_path / "kept")
    shutil.copy(tmp_path / "other/shard-0000.duckdb", first)
    with pytest.raises(shards.ShardError, match="shard 0 .* belongs to other shards"):
        status_of(copy, 0)
    shutil.copy(copy / "shard-0001.duckdb", first)
    with pytest.raises(shards.ShardError, match="shard 0 .* holds shard 1: the files were exchanged"):
        status_of(copy, 0)
    shutil.copy(kept, first)
    manifest = json.loads((copy / "manifest.json").read_text())
    manifest["shards"][0]["made"] = str(uuid.uuid4())
    (copy / "manifest.json").write_text(json.dumps(manifest))
    with pytest.raises(shards.ShardError, match="shard 0 .* is another build of this shard"):
        status_of(copy, 0)


@pytest.mark.parametrize(
    ("change", "reason"),
    [
        (lambda manifest: manifest.update(format=2), "format 2, where this version of duckdb-vss reads 1"),
        (lambda manifest: manifest.pop("key"), "is no manifest of shards"),
        (lambda manifest: manifest["shards"].pop(), "names 2 files for 3 shards"),
    ],
)
def test_a_bad_manifest_is_refused(shards, copy, change, reason):
    manifest = json.loads((copy / "manifest.json").read_text())
    change(manifest)
    (copy / "manifest.json").write_text(json.dumps(manifest))
    with pytest.raises(ValueError, match=f"manifest.json .*{reason}"):
        opened(shards, copy)


def test_an_actor_that_is_killed_is_asked_again(shards, copy):
    with opened(shards, copy) as cluster:
        expected = cluster.search(QUERIES[0], 20).rows()
        for shard in (0, 2):
            os.kill(process(cluster, shard), signal.SIGKILL)
            assert cluster.search(QUERIES[0], 20).rows() == expected
        # in the middle of a search
        stopped = threading.Event()
        with concurrent.futures.ThreadPoolExecutor(1) as pool:
            killing = pool.submit(lambda: (stopped.wait(0.2), os.kill(process(cluster, 1), signal.SIGKILL)))
            while not killing.done():
                assert cluster.search(QUERIES[0], 20).rows() == expected
            killing.result()
        assert cluster.search(QUERIES[0], 20).rows() == expected


def test_kills_lose_nothing_and_double_nothing(shards, copy):
    """Appends and deletes while actors are killed at any moment: the table has what was acknowledged, once."""
    choose = random.Random(3)
    with opened(shards, copy) as cluster:
        processes = {status["shard"]: status["process"] for status in cluster.status()}
        expected, stopped = set(), threading.Event()

        def kill():
            for _ in range(6):
                if stopped.wait(choose.uniform(0.3, 1.5)):
                    return
                with contextlib.suppress(ProcessLookupError):
                    os.kill(processes[choose.randrange(3)], signal.SIGKILL)
                for status in cluster.status():
                    processes[status["shard"]] = status["process"]

        with concurrent.futures.ThreadPoolExecutor(1) as pool:
            killing = pool.submit(kill)
            turn = 0
            try:
                while not killing.done():
                    turn += 1
                    keys = [-(turn * 100 + i) for i in range(20)]
                    assert cluster.append([row(key) for key in keys]) == 20
                    assert cluster.delete(keys[:5]) == 5
                    expected |= set(keys[5:])
            finally:
                stopped.set()
            killing.result()
        found = [id for (id,) in cluster.sql("SELECT id FROM items WHERE id < 0").rows()]
        assert len(found) == len(set(found)) and set(found) == expected and turn > 5
        assert {id for id, _ in cluster.search([0.5] * 6, len(expected)).rows()} == expected


def test_a_slow_shard_meets_the_deadline(shards, copy):
    with opened(shards, copy) as cluster:
        expected = cluster.search(QUERIES[0], 30, columns=["kind"])
        cluster.search(QUERIES[:2], 30)
        slow = process(cluster, 1)
        os.kill(slow, signal.SIGSTOP)
        try:
            begin = time.monotonic()
            with pytest.raises(shards.Late, match=r"not answered within [\d.]+ s: shard 1 .*shard-0001.duckdb.*no answer") as raised:
                cluster.search(QUERIES[0], 30, timeout=6)
            assert raised.value.shards == (1,)
            answer = cluster.search(QUERIES[0], 30, columns=["kind"], timeout=6, partial=True)
            assert answer.partial and answer.missing == (1,)
            many = cluster.search(QUERIES[:2], 30, timeout=6, partial=True)
            assert many.missing == (1,) and len(many.table) == 60
            id = uuid.uuid4()
            with pytest.raises((shards.WriteError, shards.Late), match="shard 1"):
                cluster.append([row(-i) for i in range(1, 31)], id=id, timeout=6)
            assert time.monotonic() - begin < 100
            held = {id for id, *_ in expected.rows()}
            assert len(answer.table) == 30 and len({id for id, *_ in answer.rows()} & held) < 30
        finally:
            os.kill(slow, signal.SIGCONT)
        assert cluster.append([row(-i) for i in range(1, 31)], id=id) == 30
        assert len(cluster.sql("SELECT id FROM items WHERE id < 0").table) == 30
        assert cluster.delete([-i for i in range(1, 31)]) == 30
        assert not cluster.search(QUERIES[0], 30, partial=True).partial
        assert cluster.search(QUERIES[0], 30, columns=["kind"]).rows() == expected.rows()


def test_a_long_statement_of_a_shard_is_ended(shards, copy):
    """Nobody waits for it: it does not go on."""
    with opened(shards, copy) as cluster:
        slow = "list_sum(list_transform(range(20000), lambda x: sin(x + id))) > 1e9"
        with pytest.raises(shards.Late, match="shard"):
            cluster.search(QUERIES[0], 5, where=slow, timeout=0.5)
        begin = time.monotonic()
        cluster.search(QUERIES[0], 5)
        assert time.monotonic() - begin < 30


def test_replicas_read(shards, copy):
    with opened(shards, copy, replicas=2) as cluster:
        status = cluster.status()
        assert len({entry["process"] for entry in status}) == 6
        expected = cluster.search(QUERIES[0], 20).rows()
        os.kill(status[0]["process"], signal.SIGKILL)
        for _ in range(4):
            assert cluster.search(QUERIES[0], 20).rows() == expected
        for change in [lambda: cluster.append([row(1)]), lambda: cluster.delete([1]), lambda: cluster.replace_shard(0, "x")]:
            with pytest.raises(ValueError, match="2 replicas, which only read: open it with one to write"):
                change()


def test_more_actors_than_processors_are_refused(shards, built):
    with pytest.raises(shards.Late, match="Ray has 2 processors, and 3 actors want 2 each"):
        opened(shards, built, cpus=2, timeout=3)


def test_without_ray_it_says_what_to_install(package):
    script = "import sys; sys.modules['ray'] = None; import duckdb_vss; import duckdb_vss.shards"
    done = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True)
    assert done.returncode == 1 and "pip install 'duckdb-vss[ray]'" in done.stderr


def test_the_walk(package, dataset, tmp_path):
    command = [sys.executable, ROOT / "examples/shards/walk.py", dataset / "words.parquet", dataset / "queries.parquet", tmp_path / "x"]
    done = subprocess.run(command, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    assert "100 questions at once: 1000 rows; recall 0.9" in done.stdout or "recall 1.0" in done.stdout
    assert "now the nearest: [(1000000, 'what was asked', 0.0)]\n  deleted: 1" in done.stdout
    assert done.stdout.count("index ready") == 2
