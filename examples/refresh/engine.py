"""An acceleration engine's view: datasets described by a YAML file, kept searchable while they change.

    python engine.py datasets.yaml <directory of the data>

A dataset is a view over a table of the current *generation*. A full refresh builds the next generation beside it, index included,
and then points the view at it and drops the old table in one transaction: a search sees the old rows or the new ones, never none, and never
a table without its index. (An ALTER TABLE … RENAME cannot do this: DuckDB renames no table that has an index.) Appended rows, updates
and deletes go to the current table; its index follows by itself.
"""

import os
import sys
import threading
from dataclasses import dataclass, field

import duckdb
import yaml


@dataclass
class Dataset:
    name: str
    source: str
    primary_key: str
    columns: list = field(default_factory=list)
    embedding: str = "embedding"
    dimensions: int = 384
    distance_metric: str = "cosine"
    hnsw_m: int = 16
    hnsw_ef_construction: int = 128
    hnsw_ef_search: int = 64
    refresh: str = "full"

    def __post_init__(self):
        if self.refresh not in ("full", "append"):
            raise ValueError(f"{self.name}: refresh is '{self.refresh}'; use 'full' or 'append'")
        self.lock = threading.Lock()

    @property
    def rows(self):
        """The query for the rows of the source, in the form in which they are kept."""
        columns = ", ".join([self.primary_key, *self.columns])
        return f"SELECT {columns}, {self.embedding}::FLOAT[{self.dimensions}] AS {self.embedding} FROM {self.source}"


def read(path, data):
    """The datasets of a YAML file."""
    with open(path) as file:
        described = yaml.safe_load(file)["datasets"]
    return [Dataset(**{**d, "source": d["source"].replace("{data}", str(data))}) for d in described]


class Engine:
    """Datasets in a database. `search` may be called by any thread at any time; changes of one dataset wait for each other."""

    def __init__(self, datasets, database=":memory:"):
        self.datasets = {dataset.name: dataset for dataset in datasets}
        self.connection = duckdb.connect(database, config={"allow_unsigned_extensions": "true"})
        self.connection.load_extension(os.environ.get("VSS_EXTENSION", "vss"))
        # for an index in a database file
        self.connection.execute("SET GLOBAL hnsw_enable_experimental_persistence = true")
        self.connection.execute("CREATE TABLE IF NOT EXISTS generations (name VARCHAR PRIMARY KEY, generation INTEGER)")

    def refresh(self, name):
        """Brings a dataset up to date with its source, in the way that it asks for."""
        dataset = self.datasets[name]
        with dataset.lock, self.connection.cursor() as cursor:
            generation = generation_of(cursor, name)
            if dataset.refresh == "append" and generation > 0:
                table, key = f"{name}__{generation}", dataset.primary_key
                cursor.execute(f"INSERT INTO {table} FROM ({dataset.rows}) WHERE {key} NOT IN (SELECT {key} FROM {table})")
            else:
                rebuild(cursor, dataset, generation + 1)

    def apply(self, name, changes):
        """A batch of a change feed: `changes` is a relation with the columns of the source and `op`, 'upsert' or 'delete'."""
        dataset = self.datasets[name]
        columns = [*dataset.columns, dataset.embedding]
        with dataset.lock, self.connection.cursor() as cursor:
            cursor.register("changes", changes)
            key = dataset.primary_key
            cursor.execute(
                f"""
                MERGE INTO {name}__{generation_of(cursor, name)} AS t USING changes AS c ON t.{key} = c.{key}
                WHEN MATCHED AND c.op = 'delete' THEN DELETE
                WHEN MATCHED THEN UPDATE SET {", ".join(f"{column} = c.{column}" for column in columns)}
                WHEN NOT MATCHED AND c.op = 'upsert'
                    THEN INSERT ({key}, {", ".join(columns)}) VALUES (c.{key}, {", ".join(f"c.{c}" for c in columns)})
                """
            )

    def search(self, name, query, k=10):
        """The k rows nearest to a vector: primary key, columns, score; the best first. As dictionaries."""
        dataset = self.datasets[name]
        with self.connection.cursor() as cursor:
            cursor.execute(
                f"""
                SELECT {", ".join([dataset.primary_key, *dataset.columns, "score"])}
                FROM vector_search($name, $query::FLOAT[{dataset.dimensions}], $k,
                                   col := '{dataset.embedding}', metric := '{dataset.distance_metric}')
                """,
                {"name": name, "query": query, "k": k},
            )
            names = [column[0] for column in cursor.description]
            return [dict(zip(names, row)) for row in cursor.fetchall()]


def generation_of(cursor, name):
    """The number of the current generation; 0 before the first refresh."""
    found = cursor.execute("SELECT generation FROM generations WHERE name = $1", [name]).fetchone()
    return found[0] if found else 0


def rebuild(cursor, dataset, generation):
    """Builds the generation and swaps."""
    table = f"{dataset.name}__{generation}"
    # OR REPLACE: a process that died may have left a part of it
    cursor.execute(f"CREATE OR REPLACE TABLE {table} AS {dataset.rows}")
    cursor.execute(
        f"""
        CREATE INDEX {table}_index ON {table} USING HNSW ({dataset.embedding}) WITH (
            metric = '{dataset.distance_metric}', m = {dataset.hnsw_m},
            ef_construction = {dataset.hnsw_ef_construction}, ef_search = {dataset.hnsw_ef_search})
        """
    )
    cursor.begin()
    cursor.execute(f"CREATE OR REPLACE VIEW {dataset.name} AS FROM {table}")
    cursor.execute("INSERT OR REPLACE INTO generations VALUES ($1, $2)", [dataset.name, generation])
    cursor.execute(f"DROP TABLE IF EXISTS {dataset.name}__{generation - 1}")
    cursor.commit()


if __name__ == "__main__":
    if len(sys.argv) != 3:
        sys.exit(__doc__)
    engine = Engine(read(*sys.argv[1:]))
    for name, dataset in engine.datasets.items():
        engine.refresh(name)
        vector = engine.connection.execute(f"SELECT {dataset.embedding} FROM {name} LIMIT 1").fetchone()[0]
        print(name)
        for row in engine.search(name, vector, 3):
            print("  ", row)
