"""The data of the examples: dictionary definitions and example sentences with their embeddings (test/data/wordnet/README.md)."""

import pathlib

DIRECTORY = pathlib.Path(__file__).resolve().parents[1] / "test/data/wordnet"
WORDS, QUERIES = str(DIRECTORY / "words.parquet"), str(DIRECTORY / "queries.parquet")
DIMENSIONS = 384
