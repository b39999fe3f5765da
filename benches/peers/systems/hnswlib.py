"""hnswlib, the reference implementation."""

from importlib.metadata import version

import hnswlib

from peers.peer import Peer

#: Room for the rows that are inserted after the build.
SPARE = 2_000


class System(Peer):
    def version(self):
        return f"hnswlib {version('hnswlib')}"

    def build(self, threads):
        space = {"l2sq": "l2", "cosine": "cosine", "ip": "ip"}[self.metric]
        self.index = hnswlib.Index(space, self.data.dimensions)
        self.index.init_index(len(self.data.vectors) + SPARE, M=self.m, ef_construction=self.ef_construction)
        self.index.add_items(self.data.vectors, self.data.ids, num_threads=threads)

    def drop(self):
        self.index = None

    def width(self, ef):
        self.index.set_ef(ef)

    def search(self, argument, k, form, percent):
        return self.index.knn_query(argument, k, num_threads=1)[0][0]

    def batch(self, first, last, k, threads):
        return self.index.knn_query(self.data.queries[first:last], k, num_threads=threads)[0]

    def insert(self, row, vector):
        self.index.add_items(vector, row, num_threads=1)

    def size(self):
        return {"memory": self.index.index_file_size()}
