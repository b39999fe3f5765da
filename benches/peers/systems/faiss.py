"""FAISS, its HNSW index over flat vectors."""

import faiss
import numpy as np

from peers.peer import Peer


class System(Peer):
    def version(self):
        return f"FAISS {faiss.__version__} HNSW"

    def _stored(self, vectors):
        """FAISS has no cosine: the inner product of normalised vectors ranks like it."""
        if self.metric != "cosine":
            return vectors
        vectors = np.array(vectors)
        faiss.normalize_L2(vectors)
        return vectors

    def build(self, threads):
        faiss.omp_set_num_threads(threads)
        metric = faiss.METRIC_L2 if self.metric == "l2sq" else faiss.METRIC_INNER_PRODUCT
        self.index = faiss.IndexHNSWFlat(self.data.dimensions, self.m, metric)
        self.index.hnsw.efConstruction = self.ef_construction
        self.index.add(self._stored(self.data.vectors))

    def drop(self):
        self.index = None

    def width(self, ef):
        self.index.hnsw.efSearch = ef
        faiss.omp_set_num_threads(1)

    def search(self, argument, k, form, percent):
        return self.index.search(self._stored(argument[None]), k)[1][0]

    def batch(self, first, last, k, threads):
        faiss.omp_set_num_threads(threads)
        return self.index.search(self._stored(self.data.queries[first:last]), k)[1]

    def insert(self, row, vector):
        self.index.add(self._stored(vector[None]))

    def size(self):
        return {"memory": len(faiss.serialize_index(self.index))}
