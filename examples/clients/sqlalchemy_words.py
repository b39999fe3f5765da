"""SQLAlchemy with `duckdb-engine`: `sqlalchemy_words.py WORD…` finds words by their definitions.

SQLAlchemy has no type for arrays of fixed length: `Vector` is one, as docs/works-with.md describes it.
"""

import os
import sys

import definitions
import sqlalchemy as sa
from sqlalchemy.types import UserDefinedType


class Vector(UserDefinedType):
    """`FLOAT[dimensions]`; values are lists."""

    cache_ok = True

    def __init__(self, dimensions):
        self.dimensions = dimensions

    def get_col_spec(self, **_):
        return f"FLOAT[{self.dimensions}]"


DEFINITIONS = sa.Table(
    "definitions",
    sa.MetaData(),
    sa.Column("id", sa.Integer, primary_key=True, autoincrement=False),
    sa.Column("text", sa.String),
    sa.Column("category", sa.String),
    sa.Column("embedding", Vector(definitions.DIMENSIONS)),
)


def engine():
    """An engine for a database in memory whose connections have the extension."""
    made = sa.create_engine("duckdb:///:memory:", connect_args={"config": {"allow_unsigned_extensions": "true"}})
    extension = os.environ.get("VSS_EXTENSION", "vss")

    @sa.event.listens_for(made, "connect")
    def load(connection, _):
        connection.cursor().execute(f"LOAD '{extension}'")

    return made


def fill(made, rows):
    DEFINITIONS.metadata.create_all(made)
    with made.begin() as con:
        con.execute(sa.insert(DEFINITIONS), [{name: row[name] for name in DEFINITIONS.columns.keys()} for row in rows])
        con.execute(sa.text("CREATE INDEX by_meaning ON definitions USING HNSW (embedding) WITH (metric = 'cosine')"))


def nearest(query, k, category=None):
    """The statement for the `k` rows nearest to `query`, a list; of a category, or of all."""
    distance = sa.func.array_cosine_distance(DEFINITIONS.c.embedding, sa.cast(query, Vector(definitions.DIMENSIONS)), type_=sa.Float)
    statement = sa.select(DEFINITIONS.c.id, DEFINITIONS.c.text, distance.label("distance")).order_by("distance").limit(k)
    return statement if category is None else statement.where(DEFINITIONS.c.category == category)


def main():
    rows = definitions.rows(5000)
    made = engine()
    fill(made, rows)
    embeddings = {row["text"]: row["embedding"] for row in rows}
    with made.connect() as con:
        for word in sys.argv[1:]:
            for _, text, distance in con.execute(nearest(embeddings[definitions.definition(rows, word)], 5)):
                print(f"{distance:.3f}  {text}")


if __name__ == "__main__":
    main()
