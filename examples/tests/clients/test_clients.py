"""Clients of DuckDB that store and search vectors, each with its own calls: served by the index, with the rows of an exact search.

Those whose packages are not here are skipped aloud.
"""

import pytest

SERVED = {"HNSW_INDEX_SCAN", "HNSW_INDEX_JOIN"}


def client(*modules):
    for module in modules:
        reason = f"{module} is not here (make examples installs it beside the newest DuckDB): its example does not run"
        pytest.importorskip(module, reason=reason)


@pytest.mark.filterwarnings("ignore:.*langchain-community")
def test_langchain(extension, rows, query, nearest, operators):
    client("langchain_community")
    import connecting
    import langchain_words

    with connecting.connect() as con:
        store = langchain_words.store(con, rows)
        found = store.similarity_search(query["text"], k=10)
        assert [document.page_content for document in found] == nearest(query, 10)
        assert [document.metadata["category"] for document in found][0] == query["category"]
        assert SERVED & set(operators(con.execute, lambda: store.similarity_search(query["text"], k=10)))


def test_haystack(extension, rows, query, nearest, operators):
    client("haystack", "haystack_integrations.document_stores.duckdb")
    import haystack_words

    store = haystack_words.store(rows)
    ask = {"query_embedding": query["embedding"], "top_k": 10}
    assert [document.content for document in store.embedding_retrieval(**ask)] == nearest(query, 10)
    assert SERVED & set(operators(store._db.execute, lambda: store.embedding_retrieval(**ask)))
    filters = {"field": "meta.category", "operator": "==", "value": "noun.animal"}
    expected = nearest(query, 10, "noun.animal")
    assert [document.content for document in store.embedding_retrieval(**ask, filters=filters)] == expected
    store.delete_documents([str(query["id"])])
    assert query["text"] not in [document.content for document in store.embedding_retrieval(**ask)]


def test_raghilda(extension, rows, query, nearest, operators):
    client("raghilda")
    import raghilda_words

    some = rows[:300]
    store = raghilda_words.store(some)
    among = [text for text in nearest(query, len(rows)) if text in {row["text"] for row in some}][:5]
    assert [chunk.text.strip() for chunk in store.retrieve_vss(query["text"], 5)] == [text.strip() for text in among]
    assert SERVED & set(operators(store.con.execute, lambda: store.retrieve_vss(query["text"], 5)))
    kept = store.retrieve_vss(query["text"], 5, attributes_filter=f"category = '{query['category']}'")
    texts = [text for text in nearest(query, len(rows), query["category"]) if text in {row["text"] for row in some}][:5]
    assert [chunk.text.strip() for chunk in kept] == [text.strip() for text in texts]


def test_sqlalchemy(extension, rows, query, nearest, operators):
    client("sqlalchemy", "duckdb_engine")
    import sqlalchemy
    import sqlalchemy_words

    engine = sqlalchemy_words.engine()
    sqlalchemy_words.fill(engine, rows)
    with engine.connect() as con:

        def texts(category=None):
            return [row.text for row in con.execute(sqlalchemy_words.nearest(query["embedding"], 10, category))]

        assert texts() == nearest(query, 10)
        assert texts("noun.animal") == nearest(query, 10, "noun.animal")
        assert SERVED & set(operators(con.exec_driver_sql, texts))
        con.execute(sqlalchemy.delete(sqlalchemy_words.DEFINITIONS).where(sqlalchemy_words.DEFINITIONS.c.id == query["id"]))
        assert texts() == nearest(query, 11)[1:]


def test_ibis(extension, rows, query, nearest, operators):
    client("ibis")
    import connecting
    import ibis_words

    with connecting.connect() as con:
        table = ibis_words.table(con, rows)

        def texts(table=table):
            return ibis_words.nearest(table, query["embedding"], 10).to_pyarrow()["text"].to_pylist()

        assert texts() == nearest(query, 10)
        assert texts(table.filter(table.category == "noun.animal")) == nearest(query, 10, "noun.animal")
        assert SERVED & set(operators(con.execute, texts))


def test_adbc(extension, rows, query, nearest, operators):
    client("adbc_driver_manager")
    import adbc_words

    with adbc_words.connect() as con:

        def run(sql):
            with con.cursor() as cursor:
                cursor.execute(sql)

        def texts():
            return adbc_words.nearest(con, query["embedding"], 10)["text"].to_pylist()

        adbc_words.fill(con, rows)
        assert texts() == nearest(query, 10)
        assert SERVED & set(operators(run, texts))
        run(f"DELETE FROM definitions WHERE id = {query['id']}")
        assert texts() == nearest(query, 11)[1:]
