"""A vector store for mem0 in DuckDB, which mem0 has none of: `register()`, then `{"provider": "duckdb", "config": {...}}`.

A collection is a table with an HNSW index: `id VARCHAR`, `vector FLOAT[n]`, `payload JSON`. Searches with and without filters are served
by the index, and rank by DuckDB's own distances. The store is a file if `path` is one; its index is then stored at checkpoints.
"""

import json
import sys
import uuid
from typing import Any

import connecting
from mem0.utils.factory import VectorStoreFactory
from mem0.vector_stores.base import VectorStoreBase
from mem0.vector_stores.configs import VectorStoreConfig
from pydantic import BaseModel, ConfigDict, Field

#: A metric → its distance, and the similarity that mem0 wants, the more the nearer.
METRICS = {
    "cosine": ("array_cosine_distance", "1 - distance"),
    "l2sq": ("array_distance", "1 / (1 + distance)"),
    "ip": ("array_negative_inner_product", "-distance"),
}
COMPARED = {"gt": ">", "gte": ">=", "lt": "<", "lte": "<="}


class DuckDBConfig(BaseModel):
    """What mem0's configuration may say of this store."""

    model_config = ConfigDict(extra="forbid")

    collection_name: str = "mem0"
    path: str = Field(":memory:", description="a database file, or :memory:")
    embedding_model_dims: int = 1536
    metric: str = Field("cosine", pattern="^(cosine|l2sq|ip)$")


class Memory(BaseModel):
    """A row as mem0 reads it."""

    id: str
    score: float | None = None
    payload: dict[str, Any]


class DuckDB(VectorStoreBase):
    """One connection and the tables in it; each call takes a cursor of its own, so threads may call at once."""

    def __init__(self, collection_name="mem0", path=":memory:", embedding_model_dims=1536, metric="cosine"):
        self.collection_name, self.dimensions, self.metric = collection_name, embedding_model_dims, metric
        self.con = connecting.connect(path, config={"hnsw_enable_experimental_persistence": True})
        self.create_col(collection_name, embedding_model_dims, metric)

    def _run(self, sql, values=None):
        with self.con.cursor() as cursor:
            return cursor.execute(sql, values or {}).fetchall()

    def create_col(self, name, vector_size, distance):
        table, index = _quoted(name), _quoted(f"{name}_by_vector")
        with self.con.cursor() as cursor:
            cursor.execute(f"CREATE TABLE IF NOT EXISTS {table} (id VARCHAR PRIMARY KEY, vector FLOAT[{vector_size}], payload JSON)")
            cursor.execute(f"CREATE INDEX IF NOT EXISTS {index} ON {table} USING HNSW (vector) WITH (metric = '{distance}')")

    def insert(self, vectors, payloads=None, ids=None):
        ids = ids or [str(uuid.uuid4()) for _ in vectors]
        rows = {"ids": ids, "vectors": vectors, "payloads": [json.dumps(payload) for payload in payloads or [{}] * len(vectors)]}
        self._run(
            f"INSERT OR REPLACE INTO {self._table} "
            f"SELECT unnest($ids::VARCHAR[]), unnest($vectors::FLOAT[{self.dimensions}][]), unnest($payloads::JSON[])",
            rows,
        )

    def search(self, query, vectors, top_k=5, filters=None):
        values = {"vector": vectors, "k": top_k}
        where = _condition(filters or {}, values)
        function, score = METRICS[self.metric]
        found = self._run(
            f"SELECT id, {score}, payload FROM (SELECT id, payload, {function}(vector, $vector::FLOAT[{self.dimensions}]) AS distance "
            f"FROM {self._table} WHERE {where} ORDER BY distance LIMIT $k)",
            values,
        )
        return [Memory(id=id, score=score, payload=json.loads(payload)) for id, score, payload in found]

    def list(self, filters=None, top_k=100):
        values = {"k": 1_000_000_000 if top_k is None else top_k}
        where = _condition(filters or {}, values)
        found = self._run(f"SELECT id, payload FROM {self._table} WHERE {where} ORDER BY id LIMIT $k", values)
        return [[Memory(id=id, payload=json.loads(payload)) for id, payload in found]]

    def get(self, vector_id):
        found = self._run(f"SELECT id, payload FROM {self._table} WHERE id = $id", {"id": vector_id})
        return Memory(id=found[0][0], payload=json.loads(found[0][1])) if found else None

    def update(self, vector_id, vector=None, payload=None):
        if vector is not None:
            sql = f"UPDATE {self._table} SET vector = $vector::FLOAT[{self.dimensions}] WHERE id = $id"
            self._run(sql, {"id": vector_id, "vector": vector})
        if payload is not None:
            self._run(f"UPDATE {self._table} SET payload = $payload WHERE id = $id", {"id": vector_id, "payload": json.dumps(payload)})

    def delete(self, vector_id):
        self._run(f"DELETE FROM {self._table} WHERE id = $id", {"id": vector_id})

    def list_cols(self):
        return [name for (name,) in self._run("SELECT table_name FROM duckdb_tables() ORDER BY table_name")]

    def delete_col(self):
        self._run(f"DROP TABLE IF EXISTS {self._table}")

    def col_info(self):
        (rows,) = self._run(f"SELECT count(*) FROM {self._table}")[0]
        return {"name": self.collection_name, "rows": rows, "dimensions": self.dimensions, "metric": self.metric}

    def reset(self):
        self.delete_col()
        self.create_col(self.collection_name, self.dimensions, self.metric)

    @property
    def _table(self):
        return _quoted(self.collection_name)


def register():
    """Makes `duckdb` a provider of mem0, which looks for its configuration in a module of that name."""
    VectorStoreFactory.provider_to_class["duckdb"] = f"{__name__}.DuckDB"
    VectorStoreConfig.__private_attributes__["_provider_configs"].default["duckdb"] = "DuckDBConfig"
    sys.modules["mem0.configs.vector_stores.duckdb"] = sys.modules[__name__]


def _quoted(name):
    return '"' + name.replace('"', '""') + '"'


def _condition(filters, values):
    """The filters as a condition in SQL; what they compare with goes to `values`.

    Errors: `ValueError` for an operator that mem0 does not have.
    """

    def bound(value):
        name = f"v{len(values)}"
        values[name] = value
        return f"${name}"

    def compared(key, operator, value):
        if operator in ("in", "nin"):
            some = " OR ".join(compared(key, "eq", each) for each in value) or "false"
            return f"({some})" if operator == "in" else f"NOT ({some})"
        path = bound("$." + json.dumps(key))
        stored, text = f"json_extract(payload, {path})", f"json_extract_string(payload, {path})"
        if operator in ("eq", "ne"):
            return f"{stored} IS {'NOT ' if operator == 'eq' else ''}DISTINCT FROM {bound(json.dumps(value))}::JSON"
        if operator in COMPARED:
            number = isinstance(value, (int, float))
            return f"{f'TRY_CAST({text} AS DOUBLE)' if number else text} {COMPARED[operator]} {bound(value)}"
        if operator in ("contains", "icontains"):
            like = "LIKE" if operator == "contains" else "ILIKE"
            escaped = "".join("\\" + letter if letter in "%_\\" else letter for letter in value)
            return f"{text} {like} {bound(f'%{escaped}%')} ESCAPE '\\'"
        raise ValueError(f"unknown operator '{operator}': eq, ne, gt, gte, lt, lte, in, nin, contains and icontains are known")

    parts = []
    for key, value in filters.items():
        if key in ("AND", "OR", "NOT", "$and", "$or", "$not"):
            inner = [_condition(each, values) for each in value]
            joined = (" AND " if key.lower().endswith("and") else " OR ").join(inner)
            parts.append(f"NOT ({joined})" if key.lower().endswith("not") else f"({joined})")
        elif value == "*":
            parts.append(f"json_exists(payload, {bound('$.' + json.dumps(key))})")
        else:
            operators = value if isinstance(value, dict) else {"eq": value}
            parts += [compared(key, operator, operand) for operator, operand in operators.items()]
    return " AND ".join(parts) or "true"
