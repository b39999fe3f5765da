"""usearch, its own index (`index_dense`): of 32-bit floats, or of codes, whose candidates are ranked again here, by the vectors."""

from importlib.metadata import version

import numpy as np
from usearch.index import Index

from peers.peer import Peer, reranked


class System(Peer):
    def version(self):
        return f"usearch {version('usearch')} {self.variant}".rstrip() + (", re-ranked" if self.variant else "")

    def _stored(self, vectors):
        return np.packbits(vectors > 0, axis=-1) if self.variant == "b1" else vectors

    def build(self, threads):
        metric = {"l2sq": "l2sq", "cosine": "cos", "ip": "ip"}[self.metric]
        self.index = Index(
            ndim=self.data.dimensions,
            metric="hamming" if self.variant == "b1" else metric,
            dtype=self.variant or "f32",
            connectivity=self.m,
            expansion_add=self.ef_construction,
        )
        self.index.add(self.data.ids, self._stored(self.data.vectors), threads=threads)

    def drop(self):
        self.index = None

    def width(self, ef):
        self.index.expansion_search = self.ef = ef

    def search(self, argument, k, form, percent):
        return self._search(argument[None], k, 1)[0]

    def batch(self, first, last, k, threads):
        return self._search(self.data.queries[first:last], k, threads)

    def _search(self, queries, k, threads):
        if not self.variant:
            return np.atleast_2d(self.index.search(queries, k, threads=threads).keys)
        # all candidates of bits tell, of bytes the first
        count = max(k, self.ef) if self.variant == "b1" else max(k, min(self.ef, 4 * k))
        found = np.atleast_2d(self.index.search(self._stored(queries), count, threads=threads).keys)
        return [reranked(self.metric, self.data.vectors, query, rows, k) for query, rows in zip(queries, found)]

    def insert(self, row, vector):
        self.index.add(row, self._stored(vector), threads=1)

    def size(self):
        return {"memory": self.index.serialized_length}
