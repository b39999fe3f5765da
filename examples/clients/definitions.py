"""Rows of the examples' data as clients want them."""

import pathlib
import sys

import duckdb

sys.path.insert(0, str(pathlib.Path(__file__).resolve().parents[1]))
import data  # noqa: E402

DIMENSIONS = data.DIMENSIONS


def rows(count=None):
    """Dictionaries with `id`, `word`, `text` (the definition), `category` and `embedding`, a list; no text twice."""
    limit = "" if count is None else f"LIMIT {count}"
    relation = duckdb.sql(
        f"SELECT id, words[1] AS word, definition AS text, category, embedding FROM '{data.WORDS}' "
        f"QUALIFY row_number() OVER (PARTITION BY definition ORDER BY id) = 1 ORDER BY id {limit}"
    )
    return [dict(zip(relation.columns, row)) for row in relation.fetchall()]


def definition(rows, word):
    """The first definition of a word."""
    for row in rows:
        if row["word"] == word:
            return row["text"]
    raise SystemExit(f"no definition of '{word}' in the data")
