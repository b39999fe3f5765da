"""LanceDB with its graph over vectors in 8 bits, its usual index; or (`rq`) with RaBitQ's codes in partitions, re-ranked."""

from importlib.metadata import version

import lancedb
import pyarrow as pa
import pyarrow.parquet
from lancedb.index import HnswSq, IvfRq

from peers.peer import Peer, folder_bytes

DISTANCE = {"l2sq": "l2", "cosine": "cosine", "ip": "dot"}


class System(Peer):
    filters = True

    def version(self):
        return f"LanceDB {version('lancedb')} {'IVF_RQ' if self.variant == 'rq' else 'IVF_HNSW_SQ'}"

    def prepare(self):
        rows = pyarrow.parquet.read_table(self.data.parquet)
        vectors = pa.FixedSizeListArray.from_arrays(rows["v"].combine_chunks().values, self.data.dimensions)
        rows = rows.set_column(rows.schema.get_field_index("v"), "v", vectors)
        self.table = lancedb.connect(self.directory / "lance").create_table("items", rows)
        self.schema = rows.schema

    def build(self, threads):
        # it decides about threads itself; one partition: a graph over all rows, as everywhere else
        self.before = folder_bytes(self.directory)
        if self.variant == "rq":
            config = IvfRq(DISTANCE[self.metric], num_partitions=round(len(self.data.vectors) ** 0.5))
        else:
            config = HnswSq(DISTANCE[self.metric], num_partitions=1, m=self.m, ef_construction=self.ef_construction)
        self.table.create_index("v", config=config)
        names = [index.name for index in self.table.list_indices()]
        self.table.wait_for_index(names)

    def drop(self):
        for index in self.table.list_indices():
            self.table.drop_index(index.name)

    def width(self, ef):
        self.ef = ef

    def search(self, argument, k, form, percent):
        query = self.table.search(argument).distance_type(DISTANCE[self.metric])
        if self.variant == "rq":
            # the more partitions the more candidates
            query = query.nprobes(max(1, self.ef // 4)).refine_factor(max(1, self.ef // k))
        else:
            query = query.ef(self.ef).nprobes(1)
        if percent is not None:
            query = query.where(f"part < {round(100 * percent)}", prefilter=True)
        return query.select(["id", "_distance"]).limit(k).to_arrow()["id"].to_pylist()

    def insert(self, row, vector):
        columns = [[row], [0], [vector.tolist()]]
        self.table.add(pa.table([pa.array(c, f.type) for c, f in zip(columns, self.schema)], schema=self.schema))

    def size(self):
        return {"disk": folder_bytes(self.directory) - self.before}
