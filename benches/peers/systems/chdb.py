"""chDB: ClickHouse in the process, its vector index is usearch's."""

from importlib.metadata import version

from chdb import session

from peers.peer import Peer

DISTANCE = {"l2sq": "L2Distance", "cosine": "cosineDistance"}


class System(Peer):
    filters = True

    def version(self):
        return f"chDB {version('chdb')} (ClickHouse {self.value('SELECT version()')})"

    def value(self, sql):
        return self.session.query(sql, "TSVRaw").bytes().decode().strip()

    def prepare(self):
        if self.metric not in DISTANCE:
            raise NotImplementedError("its vector index has no inner product")
        self.session = session.Session(str(self.directory / "chdb"))
        self.session.query("CREATE DATABASE IF NOT EXISTS bench")
        self.session.query(
            "CREATE TABLE bench.items (id UInt32, part Int32, v Array(Float32)) ENGINE = MergeTree ORDER BY id"
        )
        self.session.query(f"INSERT INTO bench.items SELECT id, part, v FROM file('{self.data.parquet}', Parquet)")
        self.session.query("OPTIMIZE TABLE bench.items FINAL")

    def build(self, threads):
        # the number of threads is a setting of the server: all cores
        options = f"'hnsw', '{DISTANCE[self.metric]}', {self.data.dimensions}, 'f32', {self.m}, {self.ef_construction}"
        index = f"ADD INDEX by_v v TYPE vector_similarity({options}) GRANULARITY 100000000"
        self.session.query(f"ALTER TABLE bench.items {index}")
        self.session.query("ALTER TABLE bench.items MATERIALIZE INDEX by_v SETTINGS mutations_sync = 2")

    def drop(self):
        self.session.query("ALTER TABLE bench.items DROP INDEX by_v SETTINGS mutations_sync = 2")

    def width(self, ef):
        self.session.query(f"SET hnsw_candidate_list_size_for_search = {ef}")

    def argument(self, vector, form):
        return vector.tolist()

    def search(self, argument, k, form, percent):
        where = "" if percent is None else f"WHERE part < {round(100 * percent)}"
        distance = f"{DISTANCE[self.metric]}(v, {{q:Array(Float32)}})"
        sql = f"SELECT id FROM bench.items {where} ORDER BY {distance} LIMIT {k}"
        found = self.session.query(sql, "TSVRaw", params={"q": argument}).bytes().decode()
        return [int(line) for line in found.split()]

    def insert(self, row, vector):
        self.session.query(f"INSERT INTO bench.items VALUES ({row}, 0, {vector.tolist()})")

    def size(self):
        size = "SELECT sum(data_compressed_bytes) FROM system.data_skipping_indices WHERE table = 'items'"
        return {"disk": int(self.value(size) or 0)}

    def close(self):
        self.session.close()
