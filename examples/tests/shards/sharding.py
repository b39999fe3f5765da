"""What the tests of duckdb_vss.shards have in common."""

import pathlib

import numpy as np

ROOT = pathlib.Path(__file__).resolve().parents[3]
DIMENSIONS = 6
ROWS = 3000
QUERIES = np.random.default_rng(5).uniform(-1, 1, (20, DIMENSIONS)).astype("<f4")
#: Processors of an actor here: Ray has two, whatever the machine has.
CPUS = 0.1
#: Each file of tests says so.
WITHOUT_RAY = "Ray cannot be installed here: the tests of examples/shards do not run"


def build(shards, source, directory, count=3, **options):
    return shards.build(f"{source}/*.parquet", directory, count, **{"cpus": CPUS, "memory_limit": "500MB", **options})


def opened(shards, directory, **options):
    return shards.Cluster.open(directory, **{"cpus": CPUS, "memory_limit": "500MB", "timeout": 120, **options})


def same(found, expected):
    """Whether rows are the same, NaN being itself."""
    assert [tuple(map(repr, row)) for row in found] == [tuple(map(repr, row)) for row in expected]


def row(id, **columns):
    return {"id": id, "embedding": [0.5] * DIMENSIONS, **columns}


def process(cluster, shard):
    return next(status["process"] for status in cluster.status() if status["shard"] == shard)
