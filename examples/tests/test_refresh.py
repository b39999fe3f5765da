"""Datasets that are refreshed while they are searched."""

import copy
import pathlib
import subprocess
import sys
import threading

import engine
import model
import numpy as np
import pyarrow as pa
import pytest

DATASETS = pathlib.Path(engine.__file__).with_name("datasets.yaml")
OF_AN_ENGINE = pathlib.Path(engine.__file__).with_name("datasets_of_an_engine.yaml")
METRICS = {
    "cosine": ["cosine", "cos"],
    "ip": ["ip", "dot", "dot_product", "inner_product", "max_inner_product"],
    "l2sq": ["l2sq", "l2", "l2_norm", "euclidean"],
}
SIMILARITY = {
    "cosine": "1 - array_cosine_distance(embedding, $q::FLOAT[384])",
    "ip": "array_inner_product(embedding, $q::FLOAT[384])",
    "l2sq": "1 / (1 + array_distance(embedding, $q::FLOAT[384]))",
}


@pytest.fixture
def one(dataset):
    """An engine with one dataset, `words`, and changes to its description."""

    def one(database=":memory:", **changes):
        described = {
            "name": "words",
            "source": f"(FROM '{dataset}/words.parquet' LIMIT 1000)",
            "primary_key": "id",
            "columns": ["definition", "category"],
        }
        return engine.Engine([engine.Dataset(**described | changes)], database)

    return one


def vector(n):
    """A vector that only it is near to."""
    return [1000.0 if i == n else 0.0 for i in range(384)]


def rows(*changes):
    """A batch of a change feed of (op, id, n): the row `id` shall have the vector `n`."""
    ops, ids, numbers = zip(*changes)
    return pa.table(
        {
            "op": ops,
            "id": ids,
            "definition": [f"number {n}" for n in numbers],
            "category": ["changed"] * len(ids),
            "embedding": [vector(n) for n in numbers],
        }
    )


def served(engine):
    """Whether searches use the index."""
    plan = "FROM hnsw_explain('FROM vector_search(words, [0.5 for i in range(384)]::FLOAT[384], 5, metric := ''{}'')')"
    answer = engine.connection.execute(plan.format(engine.datasets["words"].distance_metric)).fetchall()
    return [used for _, _, used, _, _ in answer] == [True]


@pytest.mark.parametrize(("metric", "alias"), [(m, alias) for m, aliases in METRICS.items() for alias in aliases])
def test_every_name_of_a_metric(one, vectors, metric, alias):
    words = one(distance_metric=alias)
    words.refresh("words")
    assert served(words)
    found = words.search("words", vectors[0], 10)
    assert list(found[0]) == ["id", "definition", "category", "score"]
    score = f"round({SIMILARITY[metric]}, 4)"
    exact = words.connection.execute(
        f"SELECT id, {score} FROM words__1 ORDER BY {SIMILARITY[metric]} DESC LIMIT 10", {"q": vectors[0]}
    ).fetchall()
    scores = [row["score"] for row in found]
    assert scores == sorted(scores, reverse=True)
    assert len({row["id"] for row in found} & {key for key, _ in exact}) >= 9
    assert scores[0] == pytest.approx(exact[0][1], abs=1e-3)


def test_options_reach_the_index(one):
    words = one(hnsw_m=8, hnsw_ef_construction=64, hnsw_ef_search=32)
    words.refresh("words")
    options = words.connection.execute("SELECT m, ef_construction, ef_search FROM pragma_hnsw_index_info()").fetchall()
    assert options == [(8, 64, 32)]


def test_described_by_yaml(dataset):
    described = engine.read(DATASETS, dataset)
    assert [d.name for d in described] == ["definitions", "log"]
    assert described[0].source == f"read_parquet('{dataset}/words.parquet')"
    definitions = engine.Engine(described[:1])
    definitions.refresh("definitions")
    assert definitions.connection.execute("SELECT table_name FROM pragma_hnsw_index_info()").fetchall() == [
        ("definitions__1",)
    ]


def test_unknown_refresh_mode():
    with pytest.raises(ValueError, match="'sometimes'; use 'full' or 'append'"):
        engine.Dataset("words", "t", "id", refresh="sometimes")


def test_full_refresh_is_never_without_an_answer(one, dataset, vectors):
    words = one(source="source")
    words.connection.execute(f"CREATE TABLE source AS FROM '{dataset}/words.parquet' LIMIT 2000")

    def refresh(version):
        words.connection.execute("UPDATE source SET category = $1", [f"version {version}"])
        words.refresh("words")

    refresh(0)
    answers, failures, done = [], [], threading.Event()

    def reader(start):
        turn = start
        while not done.is_set():
            try:
                answers.append([row["category"] for row in words.search("words", vectors[turn % len(vectors)], 10)])
            except Exception as error:
                failures.append(error)
                return
            turn += 1

    readers = [threading.Thread(target=reader, args=(n,)) for n in range(3)]
    for thread in readers:
        thread.start()
    for version in range(1, 5):
        refresh(version)
        assert served(words)
    done.set()
    for thread in readers:
        thread.join()
    assert not failures
    assert all(len(answer) == 10 for answer in answers)
    assert all(len(set(answer)) == 1 for answer in answers), "an answer mixes two versions"
    assert len({answer[0] for answer in answers}) > 1


def test_append_reads_only_new_rows(one, dataset):
    words = one(refresh="append", source="source")
    words.connection.execute(f"CREATE TABLE source AS SELECT id, definition, category, embedding FROM '{dataset}/words.parquet' LIMIT 1000")
    words.refresh("words")
    before = words.connection.execute("SELECT count(*) FROM words").fetchone()[0]
    words.connection.execute("UPDATE source SET definition = 'changed'")
    words.connection.execute("INSERT INTO source VALUES (1000000, 'new', 'new', $1)", [vector(3)])
    words.refresh("words")
    found = words.search("words", vector(3), 1)[0]
    assert (found["id"], found["definition"], found["score"]) == (1000000, "new", 1)
    changed = words.connection.execute("SELECT count(*), count(*) FILTER (definition = 'changed') FROM words").fetchone()
    assert changed == (before + 1, 0)
    assert words.connection.execute("SELECT table_name, count FROM pragma_hnsw_index_info()").fetchall() == [
        ("words__1", before + 1)
    ]


def test_change_feed(one):
    words = one()
    words.refresh("words")
    count = words.connection.execute("SELECT count(*) FROM words").fetchone()[0]
    first, second = [row for (row,) in words.connection.execute("SELECT id FROM words ORDER BY id LIMIT 2").fetchall()]
    words.apply("words", rows(("upsert", -1, 1), ("upsert", -2, 2), ("upsert", first, 3), ("delete", second, 0)))
    assert [words.search("words", vector(n), 1)[0]["id"] for n in (1, 2, 3)] == [-1, -2, first]
    assert words.connection.execute("SELECT count FROM pragma_hnsw_index_info()").fetchone()[0] == count + 1
    words.apply("words", rows(("upsert", -1, 2), ("delete", -2, 0), ("delete", -3, 0)))
    assert [row["id"] for row in words.search("words", vector(2), 1)] == [-1]
    assert words.connection.execute("SELECT count FROM pragma_hnsw_index_info()").fetchone()[0] == count
    assert served(words)


def test_goes_on_in_the_same_file(one, tmp_path, vectors):
    words = one(tmp_path / "words.db")
    words.refresh("words")
    answer = words.search("words", vectors[0])
    words.connection.close()
    again = one(tmp_path / "words.db")
    assert served(again)
    assert again.search("words", vectors[0]) == answer
    again.refresh("words")
    tables = again.connection.execute("SELECT table_name FROM duckdb_tables() WHERE table_name LIKE 'words%'").fetchall()
    assert tables == [("words__2",)]
    again.connection.close()


#: As an acceleration engine's file says it, with everything in its place.
ENGINES_OWN = {
    "name": "words",
    "from": "file:words.parquet",
    "acceleration": {"enabled": True, "engine": "duckdb", "refresh_mode": "append", "params": {"duckdb_file": "x.db"}},
    "vectors": {
        "enabled": True,
        "engine": "duckdb",
        "params": {
            "duckdb_distance_metric": "l2",
            "duckdb_hnsw_m": "8",
            "duckdb_hnsw_ef_construction": "64",
            "duckdb_hnsw_ef_search": "32",
        },
    },
    "columns": [{"name": "category"}, {"name": "definition", "embeddings": [{"from": "a_model", "row_id": "id"}]}],
}


def changed(**changes):
    """The engine's form with `block__key=value`; None takes it away."""
    given = copy.deepcopy(ENGINES_OWN)
    for path, value in changes.items():
        *blocks, key = path.split("__")
        at = given
        for block in blocks:
            at = at.setdefault(block, {})
        if value is None:
            del at[key]
        else:
            at[key] = value
    return given


def test_an_engines_own_names_and_nesting():
    words = engine.described(ENGINES_OWN)
    assert (words.source, words.primary_key, words.refresh) == ("'words.parquet'", "id", "append")
    assert (words.columns, words.text, words.embedding) == (["category", "definition"], "definition", "definition_embedding")
    assert words.options == "metric = 'l2', m = 8, ef_construction = 64, ef_search = 32"


@pytest.mark.parametrize(
    ("changes", "options"),
    [
        # the other name of the metric, and which of the two counts
        ({"vectors__params": {"duckdb_metric": "ip"}}, "metric = 'ip'"),
        ({"vectors__params": {"duckdb_metric": "ip", "duckdb_distance_metric": "cos"}}, "metric = 'cos'"),
        ({"vectors__params": {"duckdb_distance_metric": "cos", "duckdb_metric": "ip"}}, "metric = 'cos'"),
        # the same names beside the accelerator's own, and which of the two blocks counts
        ({"vectors": None, "acceleration__params": {"duckdb_hnsw_m": "4", "duckdb_file": "x.db"}}, "metric = 'cosine', m = 4"),
        ({"acceleration__params": {"duckdb_hnsw_ef_search": 9}, "vectors__params": {"duckdb_hnsw_m": 5}}, "metric = 'cosine', m = 5"),
        # without nesting
        ({"vectors": None, "duckdb_hnsw_m": 6, "duckdb_metric": "dot"}, "metric = 'dot', m = 6"),
        ({"vectors": None, "hnsw_m": 7, "distance_metric": "cos"}, "metric = 'cos', m = 7"),
        ({"vectors": None}, "metric = 'cosine'"),
    ],
)
def test_places_of_parameters(changes, options):
    assert engine.described(changed(**changes)).options == options


@pytest.mark.parametrize(
    ("changes", "reason"),
    [
        ({"vectors__params__duckdb_hnsw_m": "large"}, "words: hnsw_m is 'large'; use a whole number"),
        ({"vectors__params__hnsw_m": 8}, "vectors.params has no 'hnsw_m'; the names are duckdb_metric, duckdb_distance_metric"),
        ({"vectors__engine": "faiss"}, "vectors.engine is 'faiss'; here it is 'duckdb'"),
        ({"acceleration__engine": "sqlite"}, "acceleration.engine is 'sqlite'; here it is 'duckdb'"),
        ({"acceleration__refresh_mode": "changes"}, "refresh is 'changes'; use 'full' or 'append'"),
        ({"from": "s3://bucket/words"}, "from is 's3://bucket/words'; here it is file:<path>"),
        ({"replicas": 3}, "there is no 'replicas'; the names are name, source, primary_key"),
        ({"columns": ["definition"]}, "words: primary_key is missing"),
        ({"from": None}, "words: source is missing"),
    ],
)
def test_what_it_cannot_be(changes, reason):
    with pytest.raises(ValueError, match=reason.replace(".", r"\.").replace("(", r"\(")):
        engine.described(changed(**changes))


def test_vectors_may_be_switched_off(one, dataset):
    given = changed(vectors__enabled=False, columns=["definition"], **{"from": f"file:{dataset}/words.parquet"})
    words = engine.Engine([engine.described(given | {"primary_key": "id"})])
    words.refresh("words")
    assert words.connection.execute("SELECT count(*) > 0 FROM words").fetchall() == [(True,)]
    assert words.connection.execute("FROM pragma_hnsw_index_info()").fetchall() == []


@pytest.mark.parametrize("name", ["order", "full", "my-products", 'the "best"', "it's", "a.b", "Grüße"])
def test_names_that_need_quotes(one, dataset, vectors, name):
    source = f"(SELECT id AS \"the id\", definition AS \"select\", embedding AS \"em-bedding\" FROM '{dataset}/words.parquet' LIMIT 1500)"
    words = one(name=name, source=source, primary_key="the id", columns=["select"], embedding="em-bedding", dimensions=None)
    words.refresh(name)
    words.refresh(name)
    found = words.search(name, vectors[0], 3)
    assert [list(row) for row in found] == [["the id", "select", "score"]] * 3
    feed = rows(("upsert", -1, 1)).rename_columns(["op", "the id", "select", "category", "em-bedding"])
    words.apply(name, feed)
    assert words.search(name, vector(1), 1)[0]["the id"] == -1
    tables = words.connection.execute("SELECT table_name FROM pragma_hnsw_index_info()").fetchall()
    assert tables == [(f"{name}__2",)]
    appended = one(name=name, source=source, primary_key="the id", columns=["select"], embedding="em-bedding", refresh="append")
    appended.refresh(name)
    appended.refresh(name)
    assert len(appended.search(name, vectors[0], 3)) == 3


def test_no_dimensions_yet(one):
    words = one(source="(SELECT 1 AS id, 'a' AS definition, 'b' AS category, NULL::FLOAT[] AS embedding)")
    with pytest.raises(ValueError, match="say how many dimensions"):
        words.refresh("words")


@pytest.fixture(scope="module")
def embed(model_folder):
    return model.Model(model_folder).embed


@pytest.fixture
def texts(dataset, embed):
    """An engine that embeds definitions, by the example's own file."""

    def texts(database=":memory:", embed=embed):
        return engine.Engine(engine.read(OF_AN_ENGINE, dataset), database, embed=embed)

    return texts


def test_text_instead_of_a_vector(texts, embed):
    words = texts()
    words.refresh("word-senses")
    con = words.connection
    options = con.execute("SELECT metric, dimensions, m, ef_construction FROM pragma_hnsw_index_info()").fetchall()
    assert options == [("cosine", 256, 16, 128)]

    text = "a small boat for fishing"
    found = words.search("word-senses", text, 5)
    exact = con.execute(
        """SELECT id FROM "word-senses" ORDER BY 1 - array_cosine_distance(definition_embedding, $q::FLOAT[256]) DESC LIMIT 5""",
        {"q": np.asarray(embed([text])[0])},
    ).fetchall()
    assert len({row["id"] for row in found} & {key for (key,) in exact}) >= 4
    assert "fish" in found[0]["definition"]
    assert words.search("word-senses", found[4]["definition"], 1)[0]["score"] == pytest.approx(1, abs=1e-5)

    # in SQL: as the engine's users write it, and with all that `vector_search` takes
    sql = f"SELECT id FROM vector_search('word-senses', '{text}') LIMIT 5"
    assert [key for (key,) in con.execute(sql).fetchall()] == [row["id"] for row in found]
    for query in [
        sql,
        f"""SELECT definition, score FROM vector_search("word-senses", '{text}', 3) ORDER BY score DESC""",
        f"FROM vector_search('word-senses', '{text}', k := 3, metric := 'cosine', col := 'definition_embedding')",
        "FROM vector_search('word-senses', [1 for i in range(256)]::FLOAT[256], 3)",
        f"""FROM "word-senses" ORDER BY array_cosine_distance(definition_embedding, embed('{text}')) LIMIT 3""",
    ]:
        assert con.execute("SELECT used FROM hnsw_explain($1)", [query]).fetchall() == [(True,)], query
        assert con.execute(query).fetchall()
    assert len(con.execute("FROM vector_search('word-senses', $q)", {"q": text}).fetchall()) == 10


def test_embedded_are_only_new_rows(texts, embed, tmp_path):
    seen = []
    words = texts(embed=lambda texts: seen.extend(texts) or embed(texts))
    words.connection.execute("CREATE TABLE source AS SELECT 1 AS id, 'a boat' AS definition, ['boat'] AS words")
    described = words.datasets["word-senses"]
    described.source, described.refresh = "source", "append"
    words.refresh("word-senses")
    words.connection.execute("INSERT INTO source VALUES (2, 'a river', ['river']), (3, NULL, ['nothing'])")
    del seen[:]
    words.refresh("word-senses")
    assert "a river" in seen and "a boat" not in seen
    assert [row["id"] for row in words.search("word-senses", "a river", 3)] == [2, 1, 3]
    feed = {"op": ["upsert", "delete"], "id": [4, 1], "words": [["sea"], None], "definition": ["the sea", None]}
    words.apply("word-senses", pa.table(feed))
    assert [row["id"] for row in words.search("word-senses", "the sea", 9)][0] == 4
    assert words.connection.execute("SELECT count(*) FROM \"word-senses\"").fetchall() == [(3,)]


def test_text_without_an_embedder(texts, tmp_path):
    words = texts(embed=None)
    with pytest.raises(ValueError, match="'definition' is to be embedded: give Engine a function `embed`"):
        words.refresh("word-senses")
    with pytest.raises(ValueError, match="a text is no vector"):
        words.search("word-senses", "a boat")
    words.connection.close()


def test_a_file_of_an_embedder(texts, dataset, embed, tmp_path):
    """Opened again without one: the vectors are there, the function is not."""
    words = texts(tmp_path / "words.db")
    words.refresh("word-senses")
    found = words.search("word-senses", "a boat", 3)
    words.connection.close()
    again = texts(tmp_path / "words.db", embed=None)
    assert again.search("word-senses", embed(["a boat"])[0], 3) == found
    macros = "SELECT DISTINCT database_name FROM duckdb_functions() WHERE function_name = 'vector_search'"
    assert again.connection.execute(macros).fetchall() == [("system",)]
    again.connection.close()
    once_more = texts(tmp_path / "words.db")
    assert len(once_more.connection.execute("FROM vector_search('word-senses', 'a boat')").fetchall()) == 10
    once_more.connection.close()


def test_run_as_the_readme_says(dataset, extension, model_folder):
    command = [sys.executable, engine.__file__, OF_AN_ENGINE, dataset, model_folder]
    printed = subprocess.run(command, check=True, capture_output=True, text=True).stdout
    assert printed.startswith("word-senses\n") and "fish" in printed and len(printed.splitlines()) == 4
