"""LangChain's DuckDB store with an index: `langchain_words.py WORD…` finds words by their definitions.

The store keeps a `FLOAT[]` column without an index. One statement adds it, and `similarity_search` is served by it, unchanged.
"""

import sys

import connecting
import definitions
from langchain_community.vectorstores import DuckDB
from langchain_core.embeddings import Embeddings


class Known(Embeddings):
    """The embeddings of texts that are in the data already; a model would compute them."""

    def __init__(self, vectors):
        self.vectors = vectors

    def embed_documents(self, texts):
        return [self.vectors[text] for text in texts]

    def embed_query(self, text):
        return self.vectors[text]


def store(con, rows):
    """A store with these rows, and its index. `rows`: dictionaries as of `definitions.rows`."""
    embedding = Known({row["text"]: row["embedding"] for row in rows})
    made = DuckDB(connection=con, embedding=embedding, table_name="definitions")
    made.add_texts([row["text"] for row in rows], metadatas=[{"category": row["category"]} for row in rows])
    con.execute("CREATE INDEX by_meaning ON definitions USING HNSW (embedding) WITH (metric = 'cosine')")
    return made


def main():
    rows = definitions.rows()
    with connecting.connect() as con:
        made = store(con, rows)
        for word in sys.argv[1:]:
            for document in made.similarity_search(definitions.definition(rows, word), k=5):
                print(f"{document.metadata['_similarity_score']:.3f}  {document.page_content}")


if __name__ == "__main__":
    main()
