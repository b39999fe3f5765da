"""RaBitQ's own library: HNSW over its codes, of as many bits an element as the variant says, around centres that k-means finds."""

from importlib.metadata import version

import numpy as np
import rabitqlib

from peers.peer import Peer

CENTRES = 16
ROUNDS = 8


class System(Peer):
    def version(self):
        return f"RaBitQ library {version('rabitqlib')} HNSW, {self.variant} bits"

    def _stored(self, vectors):
        if self.metric != "cosine":
            return vectors
        return np.ascontiguousarray(vectors / np.linalg.norm(vectors, axis=-1, keepdims=True))

    def build(self, threads):
        stored = self._stored(self.data.vectors)
        centres, nearest = _means(stored)
        self.index = rabitqlib.HnswIndex(
            self.data.dimensions,
            len(stored),
            M=self.m,
            ef_construction=self.ef_construction,
            nbits=int(self.variant),
            metric="l2" if self.metric == "l2sq" else "ip",
        )
        self.index.build(stored, centres, nearest, num_threads=threads)

    def drop(self):
        self.index = None

    def width(self, ef):
        self.ef = ef

    def search(self, argument, k, form, percent):
        return self._search(argument[None], k, 1)[0]

    def batch(self, first, last, k, threads):
        return self._search(self.data.queries[first:last], k, threads)

    def _search(self, queries, k, threads):
        return self.index.search(self._stored(queries), k, ef=self.ef, num_threads=threads)[0]

    def size(self):
        path = self.directory / "index"
        self.index.save(str(path))
        return {"disk": path.stat().st_size}


def _means(vectors):
    """Lloyd's algorithm from rows spread over the set: centres `[CENTRES, dimensions]`, and the number of each row's."""
    centres = vectors[:: len(vectors) // CENTRES][:CENTRES].copy()
    for _ in range(ROUNDS):
        nearest = np.argmin((centres**2).sum(axis=1) - 2 * vectors @ centres.T, axis=1)
        for number in range(CENTRES):
            own = vectors[nearest == number]
            if len(own):
                centres[number] = own.mean(axis=0)
    return centres, nearest.astype(np.uint32)
