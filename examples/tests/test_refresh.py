"""Datasets that are refreshed while they are searched."""

import pathlib
import threading

import engine
import pyarrow as pa
import pytest

DATASETS = pathlib.Path(engine.__file__).with_name("datasets.yaml")
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
