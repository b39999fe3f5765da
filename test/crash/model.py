"""What a table must hold after a number of transactions, and the SQL that brings it there.

A row is (id, version, v); its vector follows from id and version, so a model needs no vectors.
"""

import dataclasses

DIMENSIONS = 8
# uniform in [-0.5, 0.5); every eleventh version has none
VECTOR = (
    f"CASE WHEN version % 11 = 5 THEN NULL ELSE list_transform(range({DIMENSIONS}), "
    f"lambda j: hash((id::BIGINT * 1000 + version) * {DIMENSIONS} + j) / 18446744073709551616.0 - 0.5) "
    f"END::FLOAT[{DIMENSIONS}]"
)
FUNCTIONS = {
    "l2sq": ("array_distance", "ASC"),
    "cosine": ("array_cosine_distance", "ASC"),
    "ip": ("array_inner_product", "DESC"),
}


@dataclasses.dataclass
class Model:
    """The committed state: versions by id, and the metric of the index if there is one."""

    rows: dict
    metric: str | None = None

    def after(self, changes):
        """The state after the changes of one transaction."""
        rows, metric = dict(self.rows), self.metric
        for kind, *arguments in changes:
            if kind == "index":
                metric, _ = arguments
            elif kind == "insert":
                first, count = arguments
                rows.update((id, 1) for id in range(first, first + 2 * count, 2))
            else:
                first, last = arguments
                for id in range(first, last + 1, 2):
                    if id not in rows:
                        continue
                    if kind == "update":
                        rows[id] += 1
                    else:
                        del rows[id]
        return Model(rows, metric)

    def possible(self, in_flight):
        """The states in which a table may be if each of these transactions has or has not been committed."""
        states = [self]
        for changes in in_flight:
            states += [state.after(changes) for state in states]
        return states


def sql(change):
    """The statement that makes a change. Writers have every second id each: their changes commute."""
    kind, *arguments = change
    if kind == "index":
        metric, quantization = arguments
        create = f"CREATE INDEX i ON t USING HNSW (v) WITH (metric = '{metric}', quantization = '{quantization}')"
        return create if metric else "DROP INDEX i"
    if kind == "insert":
        first, count = arguments
        rows = f"(SELECT {first} + 2 * i AS id, 1 AS version FROM range({count}) r(i))"
        return f"INSERT INTO t (id, version, v) SELECT id, version, {VECTOR} FROM {rows}"
    first, last = arguments
    condition = f"id BETWEEN {first} AND {last} AND id % 2 = {first % 2}"
    if kind == "delete":
        return f"DELETE FROM t WHERE {condition}"
    vector = VECTOR.replace("version", "(version + 1)")
    return f"UPDATE t SET version = version + 1, v = {vector} WHERE {condition}"
