"""Writes the sets and answers them exactly, once; measures recall against that."""

from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet

from peers.peer import DataSet, parts

#: A distance in `float64` and one of the same pair in another order of additions may differ by this much.
TOLERANCE = 1e-9
#: Rows ranked again in `float64` for each query.
CANDIDATES = 200


@dataclass
class Truth:
    """Exact distances: of the k-th nearest row of each query (the last, if there are fewer), and of any row."""

    data: DataSet
    metric: str
    #: `[queries]`
    kth: np.ndarray
    #: Rows that may be found.
    rows: int

    def recall(self, first, found, k):
        """Mean share of the `k` nearest rows in `found`, the ids for the queries from `first` on. A row as near as the
        last of them counts, whichever of those it is."""
        total, k = 0.0, min(k, self.rows)
        for query, ids in enumerate(found, first):
            ids = [row for row in dict.fromkeys(ids) if 0 <= row < len(self.data.vectors)][:k]
            near = distances(self.metric, self.data.vectors[ids], self.data.queries[query])
            total += (near <= self.kth[query] + TOLERANCE * max(1, abs(self.kth[query]))).sum() / k
        return float(total / len(found))


def distances(metric, vectors, query):
    """`float64`; l2sq is squared, ip negative."""
    vectors, query = vectors.astype(np.float64), query.astype(np.float64)
    if metric == "l2sq":
        return ((vectors - query) ** 2).sum(axis=1)
    products = vectors @ query
    if metric == "ip":
        return -products
    return 1 - products / (np.linalg.norm(vectors, axis=1) * np.linalg.norm(query))


def truth(data, metric, k, percent=None, queries=None):
    """From the cache beside the set, or computed. `percent`: only among the rows that the filter keeps."""
    count = len(data.queries) if queries is None else min(queries, len(data.queries))
    cache = data.directory / f"truth-{metric}-{k}-{percent or 100}-{count}.npy"
    kept = data.ids if percent is None else data.ids[parts(data.ids) < round(100 * percent)]
    if not cache.exists():
        np.save(cache, _kth(metric, data.vectors[kept], data.queries[:count], k))
    return Truth(data, metric, np.load(cache), len(kept))


def _kth(metric, vectors, queries, k):
    norms = np.linalg.norm(vectors, axis=1)
    scale = 1 / np.maximum(norms, 1e-30) if metric == "cosine" else 1.0
    result = []
    for block in np.array_split(queries, max(1, len(queries) // 100)):
        rough = -(block @ vectors.T) * scale
        if metric == "l2sq":
            rough = 2 * rough + norms**2
        some = min(CANDIDATES, len(vectors))
        for query, row in zip(block, np.argpartition(rough, some - 1, axis=1)[:, :some]):
            result.append(np.sort(distances(metric, vectors[row], query))[min(k, len(vectors)) - 1])
    return np.array(result)


def words(root, source, rows, queries):
    """The first rows of the sentence embeddings, `wordnet.parquet` and `wordnet_queries.parquet` in `source`."""

    def read(name, count):
        column = pyarrow.parquet.read_table(Path(source) / name, columns=["embedding"])["embedding"].slice(0, count)
        flat = column.combine_chunks().flatten().to_numpy(zero_copy_only=False)
        return flat.reshape(len(column), -1).astype(np.float32)

    make = lambda: (read("wordnet.parquet", rows), read("wordnet_queries.parquet", queries))  # noqa: E731
    return _set(root, f"words-{rows}-{queries}", make)


def clustered(root, rows, dimensions, queries):
    """Rows and queries from the same clusters; like embeddings they vary along few directions, and less along each."""

    def make():
        random = np.random.default_rng(42)
        directions = min(64, dimensions)
        axes = random.normal(size=(directions, dimensions)) / np.sqrt(np.arange(1, directions + 1))[:, None]
        clusters = max(10, rows // 500)
        centres = random.normal(size=(clusters, directions))
        count = rows + queries
        points = centres[random.integers(clusters, size=count)] + 0.5 * random.normal(size=(count, directions))
        vectors = points @ axes + 0.05 * random.normal(size=(count, dimensions))
        vectors = vectors.astype(np.float32)
        return vectors[:rows], vectors[rows:]

    return _set(root, f"clustered-{rows}-{dimensions}-{queries}", make)


def _set(root, name, make):
    directory = Path(root) / name
    if not (directory / "items.parquet").exists():
        directory.mkdir(parents=True, exist_ok=True)
        vectors, queries = make()
        (directory / "dimensions").write_text(str(vectors.shape[1]))
        vectors.tofile(directory / "vectors.f32")
        queries.tofile(directory / "queries.f32")
        # the last to be written: without it the set is made anew
        for file, rows in [("queries.parquet", queries), ("items.parquet", vectors)]:
            pyarrow.parquet.write_table(_table(rows), directory / file)
    return DataSet(directory)


def _table(vectors):
    ids = np.arange(len(vectors), dtype=np.int32)
    offsets = np.arange(len(vectors) + 1, dtype=np.int32) * vectors.shape[1]
    lists = pa.ListArray.from_arrays(pa.array(offsets), pa.array(vectors.ravel()))
    return pa.table({"id": ids, "part": parts(ids), "v": lists})
