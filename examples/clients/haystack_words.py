"""Haystack's DuckDB store (`duckdb-haystack`): `haystack_words.py WORD…` finds words by their definitions.

It creates its own index. Its constructor fails in DuckDB 2.0 with `duckdb.connect` as it is, see connecting.py.
"""

import sys

import connecting
import definitions
from haystack import Document
from haystack_integrations.document_stores.duckdb import DuckDBDocumentStore


def store(rows):
    """A store in memory with these rows, those of `definitions.rows`."""
    with connecting.installed():
        made = DuckDBDocumentStore(embedding_dim=definitions.DIMENSIONS, write_batch_size=1000)
    documents = [
        Document(id=str(row["id"]), content=row["text"], embedding=row["embedding"], meta={"category": row["category"]}) for row in rows
    ]
    made.write_documents(documents)
    return made


def main():
    rows = definitions.rows()
    made = store(rows)
    embeddings = {row["text"]: row["embedding"] for row in rows}
    for word in sys.argv[1:]:
        query = embeddings[definitions.definition(rows, word)]
        for document in made.embedding_retrieval(query, top_k=5):
            print(f"{document.score:.3f}  {document.content}")


if __name__ == "__main__":
    main()
