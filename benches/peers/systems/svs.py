"""Intel's SVS: a Vamana graph over its own codes (LVQ), with a residual that ranks again in the second variant."""

from importlib.metadata import version

import svs

from peers.peer import Peer

BITS = {"lvq8": (8, 0), "lvq4x8": (4, 8)}


class System(Peer):
    def version(self):
        first, residual = BITS[self.variant]
        return f"SVS {version('scalable-vs')} Vamana LVQ{first}" + (f"x{residual}" if residual else "")

    def prepare(self):
        self.source = str(self.directory / "vectors.fvecs")
        svs.write_vecs(self.data.vectors, self.source)

    def build(self, threads):
        first, residual = BITS[self.variant]
        vectors = svs.VectorDataLoader(self.source, svs.DataType.float32, dims=self.data.dimensions)
        self.distance = {"l2sq": svs.DistanceType.L2, "cosine": svs.DistanceType.Cosine, "ip": svs.DistanceType.MIP}[self.metric]
        # as many links as the lowest layer of the others has
        parameters = svs.VamanaBuildParameters(
            alpha=1.2 if self.metric == "l2sq" else 0.95, graph_max_degree=2 * self.m, window_size=self.ef_construction
        )
        loader = svs.LVQLoader(vectors, primary=first, residual=residual)
        self.index = svs.Vamana.build(parameters, loader, self.distance, num_threads=threads)

    def drop(self):
        self.index = None

    def width(self, ef):
        self.index.search_window_size = ef

    def search(self, argument, k, form, percent):
        self.index.num_threads = 1
        return self.index.search(argument, k)[0][0]

    def batch(self, first, last, k, threads):
        self.index.num_threads = threads
        return self.index.search(self.data.queries[first:last], k)[0]
