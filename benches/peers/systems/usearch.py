"""usearch, its own index (`index_dense`) of 32-bit floats."""

from importlib.metadata import version

from usearch.index import Index

from peers.peer import Peer


class System(Peer):
    def version(self):
        return f"usearch {version('usearch')}"

    def build(self, threads):
        metric = {"l2sq": "l2sq", "cosine": "cos", "ip": "ip"}[self.metric]
        self.index = Index(
            ndim=self.data.dimensions,
            metric=metric,
            dtype="f32",
            connectivity=self.m,
            expansion_add=self.ef_construction,
        )
        self.index.add(self.data.ids, self.data.vectors, threads=threads)

    def drop(self):
        self.index = None

    def width(self, ef):
        self.index.expansion_search = ef

    def search(self, argument, k, form, percent):
        return self.index.search(argument, k, threads=1).keys

    def batch(self, first, last, k, threads):
        return self.index.search(self.data.queries[first:last], k, threads=threads).keys

    def insert(self, row, vector):
        self.index.add(row, vector, threads=1)

    def size(self):
        return {"memory": self.index.serialized_length}
