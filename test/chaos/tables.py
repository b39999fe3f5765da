"""The tables of a round, and SQL over them.

A row is (id, version, v); its vector follows from id and version. All vectors have the same length, so each is nearest to
itself by every metric, and no two are equal.
"""

import dataclasses

#: For each metric a function that ranks by it, the smallest first.
FUNCTIONS = {
    "l2sq": "array_distance",
    "cosine": "array_cosine_distance",
    "ip": "array_negative_inner_product",
}
#: A condition that holds for every row, which DuckDB cannot know: the search is one with a filter.
EACH = "id % 2 < 2"
#: Distances of equal rows may differ by so much: the index keeps vectors for cosine with norm 1.
CLOSE = 1e-5


@dataclasses.dataclass(frozen=True)
class Layout:
    """What all tables of a round have in common."""

    dimensions: int
    metric: str
    options: str

    @property
    def type(self):
        return f"FLOAT[{self.dimensions}]"

    def vector(self, id="id", version="version"):
        """SQL of the vector of a row; every eleventh version has none."""
        angle = f"hash((({id})::BIGINT * 1000 + {version}) * {self.dimensions} + j // 2) / 18446744073709551616.0 * 2 * pi()"
        element = f"CASE WHEN j % 2 = 0 THEN cos({angle}) ELSE sin({angle}) END"
        elements = f"list_transform(range({self.dimensions}), lambda j: {element})"
        return f"CASE WHEN ({version}) % 11 = 5 THEN NULL ELSE {elements} END::{self.type}"

    def create(self, table):
        return f"CREATE TABLE IF NOT EXISTS {table} (id INTEGER, version INTEGER, v {self.type})"

    def create_index(self, table, name="i"):
        create = f"CREATE INDEX IF NOT EXISTS {name} ON {table} USING HNSW (v)"
        return f"{create} WITH (metric = '{self.metric}', {self.options})" if self.options else create

    def insert(self, table, first, count):
        rows = f"(SELECT ({first} + i)::INTEGER AS id, 1 AS version FROM range({count}) r(i))"
        return f"INSERT INTO {table} (id, version, v) SELECT id, version, {self.vector()} FROM {rows}"

    def update(self, table, condition):
        vector = self.vector(version="(version + 1)")
        return f"UPDATE {table} SET version = version + 1, v = {vector} WHERE {condition}"

    def query(self, rng):
        """SQL of a random query vector."""
        return f"{[round(rng.uniform(-1, 1), 3) for _ in range(self.dimensions)]}::{self.type}"

    def distance(self, query, key="v", metric=None):
        return f"{FUNCTIONS[metric or self.metric]}({key}, {query})"

    def exact(self, table, query, where, limit):
        """The smallest distances, as a list, by a query that no index can serve."""
        distances = f"list({self.distance(query)}) FILTER ({where})"
        return f"SELECT list_sort({distances}, 'ASC', 'NULLS LAST')[1:{limit}] FROM {table}"

    def searches(self, table, query, where, limit):
        """Queries that an index serves, each in another shape: rows of (id, distance), nearest first."""
        distance = self.distance(query)
        order = f"WHERE {where} ORDER BY d LIMIT {limit}"
        probe = f"(SELECT {query} AS q)"
        joined = self.distance("probe.q")
        return {
            "plain": f"SELECT id, {distance} AS d FROM {table} {order}",
            "lateral": f"SELECT near.id, near.d FROM {probe} AS probe, LATERAL (SELECT id, {joined} AS d FROM {table} {order}) AS near",
            "min_by": f"SELECT unnest(min_by(id, {distance}, {limit})), unnest(min_by({distance}, {distance}, {limit})) "
            f"FROM {table} WHERE {where}",
            "window": f"SELECT id, {distance} AS d FROM {table} WHERE {where} "
            f"QUALIFY row_number() OVER (ORDER BY {distance}) <= {limit} ORDER BY d",
        }


def apart(one, other):
    """Whether two distances, each of which may be NULL, are those of different vectors."""
    return (one is None) != (other is None) or one is not None and abs(one - other) > CLOSE * max(1, abs(one))
