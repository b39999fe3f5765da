"""What a system has to offer to be measured, and the data it is measured on."""

from pathlib import Path

import numpy as np


def parts(ids):
    """A number from 0 to 9,999 for each id, unrelated to the vectors: `part < 100 * p` keeps p % of the rows."""
    return ((np.asarray(ids, np.uint64) * 2654435761 % 2**32 >> 8) % 10_000).astype(np.int32)


class DataSet:
    """`vectors` `[rows, dimensions]` and `queries`, `float32`; the id of a row is its number."""

    def __init__(self, directory):
        self.directory = Path(directory)
        self.dimensions = int((self.directory / "dimensions").read_text())
        self.vectors = self._read("vectors.f32")
        self.queries = self._read("queries.f32")
        self.ids = np.arange(len(self.vectors))
        #: id INTEGER, part INTEGER, v FLOAT[]; beside it the queries, in `queries.parquet`
        self.parquet = self.directory / "items.parquet"

    def _read(self, name):
        return np.fromfile(self.directory / name, np.float32).reshape(-1, self.dimensions)


class Peer:
    """A system in a process of its own. `build`, `search`, `batch` and `insert` are timed, all else is not."""

    #: How a query vector can be passed; the first is what a client would write without thinking.
    forms = ("array",)
    #: False: every answer is exact, and there is nothing to build.
    approximate = True
    #: True: `search` takes a filter.
    filters = False
    #: True: its memory is that of this process.
    in_process = True

    def __init__(self, data, metric, m, ef_construction, directory, variant):
        """`metric`: l2sq, cosine or ip. `directory`: empty, for its files. `variant`: how it keeps vectors, as the system's module calls
        it; empty for floats, or what the system does without being told."""
        self.data, self.metric, self.m, self.ef_construction = data, metric, m, ef_construction
        self.variant = variant
        self.directory = Path(directory)

    def version(self):
        """Name and version, as the table shows them."""
        raise NotImplementedError

    def prepare(self):
        """Puts the rows where `build` finds them."""

    def build(self, threads):
        """Builds the index on that many threads."""

    def drop(self):
        """Undoes `build`."""

    def width(self, ef):
        """How many candidates a search keeps from now on."""

    def argument(self, vector, form):
        """The query vector as the client has it."""
        return vector

    def search(self, argument, k, form, percent):
        """The ids of the `k` nearest rows; with `percent` only of those of that share of the rows."""
        raise NotImplementedError

    def batch(self, first, last, k, threads):
        """The ids for the queries from `first` to before `last`, `[queries, k]`; None: it has no such thing."""
        return None

    def insert(self, row, vector):
        """Adds one row."""
        raise NotImplementedError

    def size(self):
        """Bytes of the index with its vectors: `memory`, `disk`, where known."""
        return {}

    def close(self):
        """Stops what it started."""


def reranked(metric, vectors, query, candidates, k):
    """The `k` of `candidates` whose vectors are nearest to `query`, for systems that rank by their codes and do not look further."""
    candidates = np.asarray(candidates)
    found = vectors[candidates]
    if metric == "l2sq":
        distances = ((found - query) ** 2).sum(axis=1)
    else:
        distances = -(found @ query)
        if metric == "cosine":
            distances /= np.linalg.norm(found, axis=1)
    return candidates[np.argsort(distances, kind="stable")[:k]]


def folder_bytes(directory):
    """Bytes of all files below a directory."""
    return sum(path.stat().st_size for path in Path(directory).rglob("*") if path.is_file())
