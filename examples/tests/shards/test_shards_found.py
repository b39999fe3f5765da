"""What is found: against one table with the same rows; what cannot be merged is refused."""

import duckdb
import pytest
from sharding import DIMENSIONS, QUERIES, ROWS, WITHOUT_RAY, opened, same

pytest.importorskip("ray", reason=WITHOUT_RAY)
# pytest puts aside what the package has said of this warning
pytestmark = pytest.mark.filterwarnings("ignore:Arrow output on a DB-API result")


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
        "SELECT id, x FROM (SELECT id, kind COLLATE nocase AS x FROM items) WHERE x = 'KIND 2' ORDER BY id LIMIT 9",
        "SELECT id FROM items WHERE kind COLLATE nocase = 'KIND 2' ORDER BY tags, price DESC, id LIMIT 9",
        "SELECT id, to_days(id::INTEGER % 40) + to_months(id::INTEGER % 2) AS i FROM items ORDER BY i DESC, id LIMIT 90",
        "WITH p AS (FROM items WHERE kind = 'kind 1') SELECT id, price FROM p ORDER BY price DESC, id LIMIT 12 OFFSET 3",
        "WITH p AS MATERIALIZED (FROM items), q AS (FROM p WHERE id < 90000) SELECT id FROM q ORDER BY id LIMIT 12",
        "SELECT id FROM (WITH p AS (FROM items) SELECT id FROM p) WHERE id > 10 ORDER BY id LIMIT 5",
        "WITH none AS (SELECT 1) SELECT id FROM items ORDER BY id LIMIT 5",
        "SELECT id FROM items WHERE kind = 'kind 1' ORDER BY id LIMIT ALL",
        "SELECT id FROM items ORDER BY id LIMIT NULL",
        "SELECT id FROM items WHERE id = ANY([7919, 15838, 5]) OR kind <> ALL(['kind 1', 'kind 2']) ORDER BY id LIMIT 9",
        "SELECT id FROM items WHERE id IN (SELECT 7919) ORDER BY id",
        "SELECT id, row(id, kind) AS r, [row(id)] FROM items ORDER BY r LIMIT 5",
        "SELECT id FROM items WHERE day < current_date + 100000 ORDER BY id LIMIT 3",
        "SELECT id FROM items WHERE kind IN ('kind 1', 'kind 2') AND CASE WHEN price > 2 THEN true ELSE id % 2 = 0 END ORDER BY id LIMIT 9",
    ],
)
def test_sql_is_that_of_one_table(cluster, single, sql):
    values = {name: value for name, value in {"q": QUERIES[1].tolist(), "n": 6, "skip": 4}.items() if "$" + name in sql}
    same(cluster.sql(sql, values).rows(), single.execute(sql, values or None).fetchall())
    assert cluster.sql(sql, values).table.column_names == [column[0] for column in single.execute(sql, values or None).description]


def test_a_tuple_is_one_whatever_the_values(cluster, single):
    sql = "SELECT row(id, $x), [row($x)], {'element1': $x} FROM items ORDER BY id LIMIT 2"
    for value in (1, 2**40, "x", None):
        same(cluster.sql(sql, {"x": value}).rows(), single.execute(sql, {"x": value}).fetchall())


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
        ("SELECT id FROM (SELECT id FROM items ORDER BY id LIMIT 5)", "inside"),
        ("SELECT id FROM (SELECT id FROM items LIMIT 5 OFFSET 2)", "inside"),
        ("SELECT id FROM (SELECT id FROM items LIMIT 10%)", "inside"),
        ("SELECT id FROM (SELECT id FROM items ORDER BY id)", "inside"),
        ("SELECT id FROM (SELECT id FROM items ORDER BY id) LIMIT 5", "inside"),
        ("SELECT id FROM (SELECT id FROM items LIMIT 5) ORDER BY id", "inside"),
        ("SELECT id FROM (SELECT id FROM items LIMIT 5) ORDER BY id LIMIT 2", "inside"),
        ("WITH p AS (FROM items ORDER BY id LIMIT 5) SELECT id FROM p", "inside"),
        (f"SELECT id FROM (FROM items ORDER BY array_distance(embedding, {[1.0] * 6}::FLOAT[6]) LIMIT 3)", "inside"),
        ("WITH p AS (FROM items) SELECT a.id FROM p a JOIN p b USING (id)", "joins and subqueries"),
        ("WITH RECURSIVE r AS (SELECT id FROM items UNION ALL SELECT id + 1 FROM r WHERE id < 3) FROM r", "joins and subqueries"),
        ("WITH items AS (FROM range(5)) FROM items", "FROM items, the table of the shards"),
        ("FROM items WHERE 1 = ANY(tags)", "write list_contains\\(list, x\\) for x = ANY"),
        ("FROM items ORDER BY id LIMIT NULL OFFSET 3", "without a LIMIT"),
        ("SELECT id FROM items ORDER BY random() LIMIT 3", "random\\(\\) is another in each shard"),
        ("SELECT uuid() FROM items LIMIT 3", "uuid\\(\\) is another in each shard"),
        ("WITH p AS (SELECT Current_Database() FROM items) FROM p LIMIT 1", "current_database\\(\\) is another in each shard"),
        ("SELECT id FROM items WHERE CURRENT_CATALOG = 'shard-0000' ORDER BY id LIMIT 1", "current_catalog is another in each shard"),
        ("SELECT current_catalog() FROM items LIMIT 1", "current_catalog\\(\\) is another in each shard"),
        ("FROM items ORDER BY id LIMIT 10%", "percent"),
        ("FROM items ORDER BY id OFFSET 3", "without a LIMIT"),
        ("FROM items ORDER BY id LIMIT 2 + 3", "numbers or parameters"),
        ("SELECT rowid FROM items", "rowid counts the rows of one shard"),
        ("SELECT id FROM items ORDER BY kind COLLATE nocase LIMIT 3", "COLLATE"),
        ("SELECT id, x FROM (SELECT id, kind COLLATE nocase AS x FROM items) ORDER BY x DESC LIMIT 3", "COLLATE"),
        ("SELECT id, kind COLLATE nocase AS x FROM items ORDER BY ALL LIMIT 3", "COLLATE"),
        ("SELECT id, [kind COLLATE nocase] AS x FROM items ORDER BY x LIMIT 3", "COLLATE"),
        ("WITH p AS (SELECT id, {'a': kind COLLATE nocase} AS x FROM items) FROM p ORDER BY x.a || 'y' LIMIT 3", "COLLATE"),
        ("SELECT id, -price AS price FROM items ORDER BY price + 1 LIMIT 3", "ORDER BY computes with price"),
        ("SELECT id FROM items ORDER BY kind::ENUM('kind 2', 'kind 1') LIMIT 3", "ENUM"),
        ("SELECT id FROM items ORDER BY [kind::ENUM('kind 2', 'kind 1')] LIMIT 3", "ENUM"),
        ("SELECT id FROM items ORDER BY {'a': kind::ENUM('kind 2', 'kind 1')} LIMIT 3", "ENUM"),
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
        ({"values": [1]}, "values = \\[1\\]: give a dictionary, {'name': value} for \\$name"),
        ({"values": {1: 2}}, "values = {1: 2}: give a dictionary"),
        ({"columns": "kind"}, "columns = 'kind': give a list of names, \\['kind'\\]"),
        ({"where": "random() < 0.5"}, "random\\(\\) is another in each shard"),
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
