"""raghilda's DuckDB store: `raghilda_words.py WORD…` finds words by their definitions.

Its `build_index` creates three indexes, one a metric; the first would serve all three where all vectors have one length, as here.
"""

import sys

import connecting
import definitions
from raghilda.chunker import MarkdownChunker
from raghilda.document import MarkdownDocument
from raghilda.embedding import EmbeddingProvider
from raghilda.store import DuckDBStore


class Known(EmbeddingProvider):
    """The embeddings of texts that are in the data already; a model would compute them."""

    def __init__(self, vectors):
        self.vectors = vectors

    def embed(self, x, input_type=None):
        # raghilda asks for the length of an embedding with a text of its own
        unknown = next(iter(self.vectors.values()))
        return [self.vectors.get(text.strip(), unknown) for text in x]

    def get_config(self):
        return {"type": "Known"}

    @classmethod
    def from_config(cls, config):
        return cls({})


def store(rows, location=":memory:"):
    """A store with these rows, those of `definitions.rows`, a document each, and its indexes."""
    known = Known({row["text"].strip(): row["embedding"] for row in rows})
    with connecting.installed():
        made = DuckDBStore.create(location, known, attributes={"category": str})
    chunker = MarkdownChunker()
    for row in rows:
        document = MarkdownDocument(content=row["text"], origin=str(row["id"]), attributes={"category": row["category"]})
        made.upsert(chunker.chunk(document))
    made.build_index("hnsw")
    return made


def main():
    # an insert a document: some thousand take a while
    rows = definitions.rows(2000)
    made = store(rows)
    for word in sys.argv[1:]:
        for chunk in made.retrieve_vss(definitions.definition(rows, word), 5):
            print(chunk.text)


if __name__ == "__main__":
    main()
