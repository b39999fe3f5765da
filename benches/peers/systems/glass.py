"""pyglass: its HNSW graph searched by codes, ranked again by the vectors."""

from importlib.metadata import version

import glass
import numpy as np

from peers.peer import Peer

CODES = {"": "FP32", "sq8": "SQ8U"}


class System(Peer):
    def version(self):
        return f"pyglass {version('pyglass-portable')} {self.variant}".rstrip() + (", re-ranked" if self.variant else "")

    def _stored(self, vectors):
        """It ranks by the inner product as it comes: that of normalised vectors ranks like cosine."""
        if self.metric != "cosine":
            return vectors
        return vectors / np.linalg.norm(vectors, axis=-1, keepdims=True)

    def build(self, threads):
        glass.set_num_threads(threads)
        metric = "L2" if self.metric == "l2sq" else "IP"
        stored = self._stored(self.data.vectors)
        codes = CODES[self.variant]
        graph = glass.Index("HNSW", metric, codes, R=2 * self.m, L=self.ef_construction).build(stored)
        self.index = glass.Searcher(graph, stored, metric, codes, "FP32" if self.variant else "")
        self.index.optimize(threads)

    def drop(self):
        self.index = None

    def width(self, ef):
        self.index.set_ef(ef)

    def search(self, argument, k, form, percent):
        return self.index.search(self._stored(argument), k)[0]

    def batch(self, first, last, k, threads):
        return self.index.batch_search(self._stored(self.data.queries[first:last]), k, threads)[0]
