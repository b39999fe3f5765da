"""An acceleration engine's view: datasets described by a YAML file, kept searchable while they change.

    python engine.py datasets.yaml <directory of the data> [<folder of a model that embeds text>]

A dataset is a view over a table of the current *generation*. A full refresh builds the next generation beside it, index included,
and then points the view at it and drops the old table in one transaction: a search sees the old rows or the new ones, never none, and never
a table without its index. (An ALTER TABLE … RENAME cannot do this: DuckDB renames no table that has an index.) Appended rows, updates
and deletes go to the current table; its index follows by itself.

With an embedder, a function that makes vectors of a list of texts, columns are embedded when they are read, and searches take text:
`engine.search("products", "headphones")`, and in SQL `FROM vector_search(products, 'headphones')`.
"""

import os
import sys
import threading

import duckdb
import numpy as np
import pyarrow as pa
from description import Dataset, described, identifier, literal, read

__all__ = ["Dataset", "Engine", "described", "read"]

#: What `vector_search` becomes where there is an embedder: text is embedded, vectors go through as they are.
SEARCH = """
    CREATE OR REPLACE MACRO vector_search
    (table_name, query VARCHAR, k := 10, col := {col}, metric := {metric}) AS TABLE
        (FROM system.main.vector_search(table_name, embed(query), k, col := col, metric := metric)),
    (table_name, query FLOAT[], k := 10, col := {col}, metric := {metric}) AS TABLE
        (FROM system.main.vector_search(table_name, query, k, col := col, metric := metric))
"""


class Engine:
    """Datasets in a database. `search` may be called by any thread at any time; changes of one dataset wait for each other.

    `embed`: a function from a list of texts to an array of [texts, dimensions].
    """

    def __init__(self, datasets, database=":memory:", embed=None):
        self.datasets = {dataset.name: dataset for dataset in datasets}
        self.locks = {dataset.name: threading.Lock() for dataset in datasets}
        self.embed = embed
        self.connection = duckdb.connect(database, config={"allow_unsigned_extensions": "true"})
        self.connection.load_extension(os.environ.get("VSS_EXTENSION", "vss"))
        # for an index in a database file
        self.connection.execute("SET GLOBAL hnsw_enable_experimental_persistence = true")
        self.connection.execute("CREATE TABLE IF NOT EXISTS generations (name VARCHAR PRIMARY KEY, generation INTEGER)")
        if embed:
            self.take_text()
        else:
            self.take_vectors()

    def take_text(self):
        """Gives SQL the function `embed`, and a `vector_search` that uses it."""
        dimensions = len(self.embed(["text"])[0])

        def embed_all(texts):
            vectors = np.asarray(self.embed(texts.to_pylist()), dtype="<f4")
            return pa.FixedSizeListArray.from_arrays(vectors.ravel(), dimensions)

        self.connection.create_function("embed", embed_all, ["VARCHAR"], f"FLOAT[{dimensions}]", type="arrow")
        # What all datasets have in common need not be said in each search.
        col = {dataset.embedding for dataset in self.datasets.values()}
        metric = {dataset.distance_metric for dataset in self.datasets.values()}
        col = literal(col.pop() if len(col) == 1 else "embedding")
        metric = literal(metric.pop() if len(metric) == 1 else "cosine")
        self.connection.execute(SEARCH.format(col=col, metric=metric))

    def take_vectors(self):
        """Takes out the `vector_search` that a file has from an embedder it was opened with before."""
        own = "function_name = 'vector_search' AND database_name = current_database()"
        if self.connection.execute(f"SELECT 1 FROM duckdb_functions() WHERE {own} LIMIT 1").fetchall():
            (database,) = self.connection.execute("SELECT current_database()").fetchall()[0]
            self.connection.execute(f"DROP MACRO TABLE {identifier(database)}.main.vector_search")

    def refresh(self, name):
        """Brings a dataset up to date with its source, in the way that it asks for."""
        dataset = self.datasets[name]
        with self.locks[name], self.connection.cursor() as cursor:
            self.find_dimensions(cursor, dataset)
            generation = generation_of(cursor, name)
            if dataset.refresh == "append" and generation > 0:
                table, key = table_of(name, generation), identifier(dataset.primary_key)
                # what is known is taken out before the rest is embedded
                new = f"(SELECT * FROM {dataset.source} WHERE {key} NOT IN (SELECT {key} FROM {table}))"
                cursor.execute(f"INSERT INTO {table} {rows(dataset, new)}")
            else:
                rebuild(cursor, dataset, generation + 1)

    def find_dimensions(self, cursor, dataset):
        if dataset.text and not self.embed:
            columns = [row[0] for row in cursor.execute(f"DESCRIBE FROM {dataset.source}").fetchall()]
            if dataset.embedding not in columns:
                raise ValueError(
                    f"{dataset.name}: column '{dataset.text}' is to be embedded: give Engine a function `embed`, "
                    f"or the source a column '{dataset.embedding}'"
                )
            dataset.text = None
        if dataset.dimensions is None and dataset.text:
            dataset.dimensions = len(self.embed(["text"])[0])
        elif dataset.dimensions is None:
            column = identifier(dataset.embedding)
            found = cursor.execute(f"SELECT len({column}) FROM {dataset.source} WHERE {column} IS NOT NULL LIMIT 1").fetchone()
            if not found:
                raise ValueError(f"{dataset.name}: the source has no vector yet: say how many dimensions they will have")
            dataset.dimensions = found[0]

    def apply(self, name, changes):
        """A batch of a change feed: `changes` is a relation with the columns of the source and `op`, 'upsert' or 'delete'."""
        dataset = self.datasets[name]
        columns = [identifier(column) for column in [*dataset.columns, dataset.embedding]]
        with self.locks[name], self.connection.cursor() as cursor:
            self.find_dimensions(cursor, dataset)
            cursor.register("changes", changes)
            key = identifier(dataset.primary_key)
            cursor.execute(
                f"""
                MERGE INTO {table_of(name, generation_of(cursor, name))} AS t
                USING ({rows(dataset, "changes", "op")}) AS c ON t.{key} = c.{key}
                WHEN MATCHED AND c.op = 'delete' THEN DELETE
                WHEN MATCHED THEN UPDATE SET {", ".join(f"{column} = c.{column}" for column in columns)}
                WHEN NOT MATCHED AND c.op = 'upsert'
                    THEN INSERT ({key}, {", ".join(columns)}) VALUES (c.{key}, {", ".join(f"c.{c}" for c in columns)})
                """
            )

    def search(self, name, query, k=10):
        """The k rows nearest to a vector or, with an embedder, to a text: primary key, columns, score; the best first. As dictionaries."""
        dataset = self.datasets[name]
        if isinstance(query, str):
            if not self.embed:
                raise ValueError("a text is no vector: give Engine a function `embed`")
            query = np.asarray(self.embed([query])[0], dtype="<f4")
        columns = ", ".join(map(identifier, [dataset.primary_key, *dataset.columns, "score"]))
        with self.connection.cursor() as cursor:
            cursor.execute(
                f"""
                SELECT {columns}
                FROM system.main.vector_search($name, $query::FLOAT[{len(query)}], $k,
                                               col := {literal(dataset.embedding)}, metric := {literal(dataset.distance_metric)})
                """,
                {"name": identifier(name), "query": query, "k": k},
            )
            names = [column[0] for column in cursor.description]
            return [dict(zip(names, row)) for row in cursor.fetchall()]


def rows(dataset, source, *more):
    """The query for the rows of a source, in the form in which they are kept."""
    columns = ", ".join([*more, *map(identifier, [dataset.primary_key, *dataset.columns])])
    vector = f"embed({identifier(dataset.text)})" if dataset.text else identifier(dataset.embedding)
    return f"SELECT {columns}, {vector}::FLOAT[{dataset.dimensions}] AS {identifier(dataset.embedding)} FROM {source}"


def table_of(name, generation):
    """The table of a generation, as SQL."""
    return identifier(f"{name}__{generation}")


def generation_of(cursor, name):
    """The number of the current generation; 0 before the first refresh."""
    found = cursor.execute("SELECT generation FROM generations WHERE name = $1", [name]).fetchone()
    return found[0] if found else 0


def rebuild(cursor, dataset, generation):
    """Builds the generation and swaps."""
    table = table_of(dataset.name, generation)
    # OR REPLACE: a process that died may have left a part of it
    cursor.execute(f"CREATE OR REPLACE TABLE {table} AS {rows(dataset, dataset.source)}")
    if dataset.indexed:
        index = identifier(f"{dataset.name}__{generation}_index")
        cursor.execute(f"CREATE INDEX {index} ON {table} USING HNSW ({identifier(dataset.embedding)}) WITH ({dataset.options})")
    cursor.begin()
    cursor.execute(f"CREATE OR REPLACE VIEW {identifier(dataset.name)} AS FROM {table}")
    cursor.execute("INSERT OR REPLACE INTO generations VALUES ($1, $2)", [dataset.name, generation])
    cursor.execute(f"DROP TABLE IF EXISTS {table_of(dataset.name, generation - 1)}")
    cursor.commit()


def main(datasets, data, model=None):
    embed = None
    if model:
        sys.path.append(os.path.dirname(os.path.dirname(os.path.abspath(__file__))))
        from model import Model

        embed = Model(model).embed
    engine = Engine(read(datasets, data), embed=embed)
    for name, dataset in engine.datasets.items():
        engine.refresh(name)
        query = "a small boat for fishing"
        if not dataset.text:
            some = f"SELECT {identifier(dataset.embedding)} FROM {identifier(name)} LIMIT 1"
            query = engine.connection.sql(some).fetchall()[0][0]
        print(name)
        for row in engine.search(name, query, 3):
            print("  ", row)


if __name__ == "__main__":
    if len(sys.argv) not in (3, 4):
        sys.exit(__doc__)
    main(*sys.argv[1:])
