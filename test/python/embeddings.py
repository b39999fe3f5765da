"""Real vectors: definitions of words as a model of sentences embeds them (see test/data/wordnet)."""

import pathlib

DATA = pathlib.Path(__file__).resolve().parents[1] / "data/wordnet"
DIMENSIONS = 384
#: Some of the 45 categories, with 7, 973 and 2,554 of the 20,340 rows.
CATEGORIES = {"rare": "noun.motive", "common": "noun.communication", "largest": "adj.all"}


def load(con, queries):
    """Makes the tables `words` (id, category, v), and `queries` (q) of the vectors of at most 500 sentences."""
    vector = f"embedding::FLOAT[{DIMENSIONS}]"
    con.execute(f"CREATE TABLE words AS SELECT id, category, {vector} AS v FROM read_parquet($1)", [str(DATA / "words.parquet")])
    con.execute(
        f"CREATE TABLE queries AS SELECT {vector} AS q FROM read_parquet($1) ORDER BY id LIMIT {queries}",
        [str(DATA / "queries.parquet")],
    )
