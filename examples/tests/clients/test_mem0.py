"""The store for mem0: each of its operations, each filter, and mem0's own memory on top of it."""

import uuid

import pytest

pytest.importorskip("mem0", reason="mem0 is not here (make examples installs it beside the newest DuckDB): its store is not tested")


@pytest.fixture
def store(extension, rows, tmp_path):
    import mem0_duckdb

    made = mem0_duckdb.DuckDB("notes", str(tmp_path / "memories.db"), len(rows[0]["embedding"]))
    made.insert(
        [row["embedding"] for row in rows],
        [{"data": row["text"], "user_id": f"user {row['id'] % 3}", "age": row["id"], "category": row["category"]} for row in rows],
        [str(row["id"]) for row in rows],
    )
    yield made
    made.con.close()


def texts(found):
    return [memory.payload["data"] for memory in found]


def test_search_is_exact_and_served(store, rows, query, nearest):
    found = store.search("", query["embedding"], 10)
    assert texts(found) == nearest(query, 10)
    assert found[0].score == pytest.approx(1, abs=1e-5) and [m.score for m in found] == sorted((m.score for m in found), reverse=True)
    plans = []
    run = store._run

    def explained(sql, values=None):
        plans.append(run("EXPLAIN " + sql, values)[0][1])
        return run(sql, values)

    store._run = explained
    store.search("", query["embedding"], 10)
    store.search("", query["embedding"], 10, {"category": "noun.animal"})
    assert all("Hnsw Index Scan" in plan for plan in plans) and len(plans) == 2


@pytest.mark.parametrize(
    ("filters", "kept"),
    [
        ({"user_id": "user 1"}, lambda row: row["id"] % 3 == 1),
        ({"user_id": "user 1", "category": "noun.animal"}, lambda row: row["id"] % 3 == 1 and row["category"] == "noun.animal"),
        ({"age": 7}, lambda row: row["id"] == 7),
        ({"age": {"gte": 100, "lt": 900}}, lambda row: 100 <= row["id"] < 900),
        ({"age": {"in": [5, 6, 7]}}, lambda row: row["id"] in (5, 6, 7)),
        ({"category": {"nin": ["noun.animal"]}}, lambda row: row["category"] != "noun.animal"),
        ({"category": {"ne": "noun.animal"}}, lambda row: row["category"] != "noun.animal"),
        ({"category": {"contains": "animal"}}, lambda row: "animal" in row["category"]),
        ({"data": {"icontains": "100%_"}}, lambda row: "100%_" in row["text"].lower()),
        ({"$or": [{"age": 7}, {"user_id": "user 2"}]}, lambda row: row["id"] == 7 or row["id"] % 3 == 2),
        ({"$not": [{"user_id": "user 2"}, {"age": {"gt": 500}}]}, lambda row: not (row["id"] % 3 == 2 or row["id"] > 500)),
        ({"age": "*"}, lambda row: True),
        ({"nothing": "*"}, lambda row: False),
        ({'a "strange" key': "x"}, lambda row: False),
    ],
)
def test_filters(store, rows, query, nearest, filters, kept):
    expected = {row["text"] for row in rows if kept(row)}
    (listed,) = store.list(filters, top_k=None)
    assert set(texts(listed)) == expected
    found = store.search("", query["embedding"], 10, filters)
    assert texts(found) == [text for text in nearest(query, len(rows)) if text in expected][:10]


def test_an_unknown_operator_is_named(store, query):
    with pytest.raises(ValueError, match="unknown operator 'near': eq, ne"):
        store.search("", query["embedding"], 10, {"age": {"near": 3}})


def test_changes(store, rows, query, nearest):
    store.delete(str(query["id"]))
    assert store.get(str(query["id"])) is None
    assert texts(store.search("", query["embedding"], 3)) == nearest(query, 4)[1:]
    other = rows[50]
    store.update(str(other["id"]), vector=query["embedding"], payload={"data": "moved here"})
    assert texts(store.search("", query["embedding"], 1)) == ["moved here"]
    store.insert([query["embedding"]], [{"data": "replaced"}], [str(other["id"])])
    assert texts(store.search("", query["embedding"], 1)) == ["replaced"]
    assert store.col_info() == {"name": "notes", "rows": len(rows) - 1, "dimensions": 384, "metric": "cosine"}
    assert store.list_cols() == ["notes"]
    store.reset()
    assert store.search("", query["embedding"], 1) == [] and store.list() == [[]]


def test_a_file_is_found_again(extension, rows, query, nearest, tmp_path):
    import mem0_duckdb

    path = str(tmp_path / "again.db")
    made = mem0_duckdb.DuckDB("notes", path, 384)
    made.insert([row["embedding"] for row in rows], [{"data": row["text"]} for row in rows])
    made.con.close()
    made = mem0_duckdb.DuckDB("notes", path, 384)
    assert texts(made.search("", query["embedding"], 10)) == nearest(query, 10)
    made.con.close()


def test_memory(extension, rows, query, nearest, tmp_path, monkeypatch):
    """mem0's `Memory`, without a language model: what it is told, it remembers as it is."""
    monkeypatch.setenv("MEM0_TELEMETRY", "False")
    monkeypatch.setenv("MEM0_DIR", str(tmp_path))
    import mem0_duckdb
    from mem0 import Memory

    mem0_duckdb.register()
    embeddings = {row["text"]: row["embedding"] for row in rows}
    memory = Memory.from_config(
        {
            "vector_store": {"provider": "duckdb", "config": {"collection_name": f"m{uuid.uuid4().hex}", "embedding_model_dims": 384}},
            "embedder": {"provider": "openai", "config": {"api_key": "none"}},
            "llm": {"provider": "openai", "config": {"api_key": "none"}},
            "history_db_path": str(tmp_path / "history.db"),
        }
    )
    # instead of a model's
    monkeypatch.setattr(memory.embedding_model, "embed", lambda text, *_: embeddings[text])
    monkeypatch.setattr(memory.embedding_model, "embed_batch", lambda texts, *_: [embeddings[text] for text in texts])
    some = rows[:40]
    for row in some:
        memory.add(row["text"], user_id="ann" if row["id"] % 2 else "bob", infer=False)
    found = memory.search(query["text"], filters={"user_id": "ann"}, top_k=3)["results"]
    theirs = {row["text"] for row in some if row["id"] % 2}
    expected = [text for text in nearest(query, len(rows)) if text in theirs][:3]
    assert {each["memory"] for each in found} <= theirs and found[0]["memory"] == expected[0]
    memory.delete_all(user_id="ann")
    assert memory.get_all(filters={"user_id": "ann"})["results"] == []
    assert len(memory.get_all(filters={"user_id": "bob"}, top_k=100)["results"]) == len(some) - len(theirs)
