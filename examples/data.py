"""The data of the examples: dictionary definitions with sentence embeddings, as two Parquet files.

    python data.py [directory]

`words.parquet`: id, synset, part_of_speech, category, words, definition, embedding (384 half floats).
`queries.parquet`: id, sentence, source_id (the row that the sentence belongs to), embedding.

The real set, 60,000 definitions from WordNet with their MiniLM embeddings, is looked for in the directory that the environment
variable DATA names (`../shared/data` without). Where it is missing, a set of the same schema is made: the same one each time.
Its words mean nothing, but its vectors lie in clusters as those of real text do, and filters correlate with them.
"""

import os
import pathlib
import sys

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq

ROOT = pathlib.Path(__file__).resolve().parents[1]
DIMENSIONS = 384
SYLLABLES = ["ba", "ce", "di", "fo", "gu", "la", "me", "ni", "po", "ru", "sa", "te"]
PARTS_OF_SPEECH = ["noun", "verb", "adj", "adv"]
CATEGORIES = 45


def find(made=ROOT / "build/examples-data"):
    """Paths of the two files; made in the directory `made` if there are no real ones."""
    real = pathlib.Path(os.environ.get("DATA", ROOT / "../shared/data"))
    words, queries = real / "wordnet.parquet", real / "wordnet_queries.parquet"
    if not words.exists() or not queries.exists():
        words, queries = made / "words.parquet", made / "queries.parquet"
        if not words.exists() or not queries.exists():
            make(words, queries)
    return str(words.resolve()), str(queries.resolve())


def make(words_path, queries_path, rows=10_000, queries=200):
    """Writes the made set: the same bytes each time for the same number of rows and queries."""
    random = np.random.default_rng(1)
    category = random.choice(CATEGORIES, rows, p=shares(CATEGORIES))
    # text lies near a surface of few dimensions: clusters there, then a little of everything
    surface = random.standard_normal((24, DIMENSIONS)) / 24
    centres = random.standard_normal((CATEGORIES, 24))
    place = centres[category] + 0.7 * random.standard_normal((rows, 24))
    embedding = place @ surface + 0.02 * random.standard_normal((rows, DIMENSIONS))
    words = [[word(random) for _ in range(random.integers(1, 4))] for _ in range(rows)]
    definition = [" ".join(word(random) for _ in range(random.integers(4, 12))) for _ in range(rows)]
    part = [PARTS_OF_SPEECH[c % len(PARTS_OF_SPEECH)] for c in category]
    words_path.parent.mkdir(parents=True, exist_ok=True)
    pq.write_table(
        pa.table(
            {
                "id": pa.array(range(rows), pa.int32()),
                "synset": [f"{i:08}-{p[0]}" for i, p in enumerate(part)],
                "part_of_speech": part,
                "category": [f"{p}.{c:02}" for c, p in zip(category, part)],
                "words": words,
                "definition": definition,
                "embedding": vectors(embedding),
            }
        ),
        words_path,
    )
    source = random.choice(rows, queries, replace=False)
    pq.write_table(
        pa.table(
            {
                "id": pa.array(range(queries), pa.int32()),
                "sentence": [f"{words[s][0]} {definition[s]}" for s in source],
                "source_id": pa.array(source, pa.int32()),
                "embedding": vectors(embedding[source] + 0.01 * random.standard_normal((queries, DIMENSIONS))),
            }
        ),
        queries_path,
    )


def shares(count):
    """The share of each of `count` categories: the largest has some hundred times the rows of the smallest."""
    weight = 1 / np.arange(1, count + 1) ** 1.3
    return weight / weight.sum()


def word(random):
    return "".join(random.choice(SYLLABLES, random.integers(2, 4)))


def vectors(matrix):
    """A matrix as an Arrow column of lists of half floats, the schema of the real set."""
    flat = pa.array(matrix.astype(np.float16).ravel())
    return pa.ListArray.from_arrays(pa.array(range(0, len(flat) + 1, matrix.shape[1]), pa.int32()), flat)


if __name__ == "__main__":
    print(*find(*map(pathlib.Path, sys.argv[1:2])), sep="\n")
