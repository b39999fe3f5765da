"""FAISS, its HNSW index: over flat vectors, or over codes, whose candidates it ranks again by the vectors."""

import faiss
import numpy as np

from peers.peer import Peer

#: A variant → how many of the candidates, for each row wanted, are ranked again at most.
RANKED_AGAIN = {"sq8": 4, "sq4": 8, "rabitq": 8}


class System(Peer):
    def version(self):
        kind = {"": "HNSW", "sq8": "HNSW SQ8", "sq4": "HNSW SQ4", "rabitq": "HNSW RaBitQ"}[self.variant]
        return f"FAISS {faiss.__version__} {kind}" + (", re-ranked" if self.variant else "")

    def _stored(self, vectors):
        """FAISS has no cosine: the inner product of normalised vectors ranks like it."""
        if self.metric != "cosine":
            return vectors
        vectors = np.array(vectors)
        faiss.normalize_L2(vectors)
        return vectors

    def _graph(self):
        metric = faiss.METRIC_L2 if self.metric == "l2sq" else faiss.METRIC_INNER_PRODUCT
        dimensions = self.data.dimensions
        if not self.variant:
            return faiss.IndexHNSWFlat(dimensions, self.m, metric)
        if self.variant == "rabitq":
            if self.metric == "ip":
                raise NotImplementedError("its graph over RaBitQ's codes ranks by the Euclidean distance alone")
            # of normalised vectors it ranks like cosine; a bit an element
            return faiss.IndexHNSWRaBitQ(dimensions, self.m, 1, faiss.METRIC_L2)
        bits = {"sq8": faiss.ScalarQuantizer.QT_8bit, "sq4": faiss.ScalarQuantizer.QT_4bit}[self.variant]
        return faiss.IndexHNSWSQ(dimensions, bits, self.m, metric)

    def build(self, threads):
        faiss.omp_set_num_threads(threads)
        self.graph = self._graph()
        self.graph.hnsw.efConstruction = self.ef_construction
        stored = self._stored(self.data.vectors)
        self.index = self.graph
        if self.variant:
            self.graph.train(stored)
            self.index = faiss.IndexRefineFlat(self.graph)
        self.index.add(stored)

    def drop(self):
        self.index = self.graph = None

    def width(self, ef):
        self.graph.hnsw.efSearch = ef
        self.ef = ef
        faiss.omp_set_num_threads(1)

    def search(self, argument, k, form, percent):
        return self._search(argument[None], k)[0]

    def batch(self, first, last, k, threads):
        faiss.omp_set_num_threads(threads)
        return self._search(self.data.queries[first:last], k)

    def _search(self, queries, k):
        if self.variant:
            self.index.k_factor = min(self.ef / k, RANKED_AGAIN[self.variant])
        return self.index.search(self._stored(queries), k)[1]

    def insert(self, row, vector):
        self.index.add(self._stored(vector[None]))

    def size(self):
        # that of codes and links: the vectors belong to whoever has the table
        return {"memory": len(faiss.serialize_index(self.graph))}
