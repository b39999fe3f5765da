"""Random tables with indexes."""

from .values import Vectors, literal

#: Distance functions that rank like each metric: SQL with both arguments, and the direction.
FUNCTIONS = {
    "l2sq": [("array_distance({0}, {1})", "ASC"), ("({0} <-> {1})", "ASC")],
    "cosine": [
        ("array_cosine_distance({0}, {1})", "ASC"),
        ("({0} <=> {1})", "ASC"),
        ("1 - array_cosine_similarity({0}, {1})", "ASC"),
        ("array_cosine_similarity({0}, {1})", "DESC"),
    ],
    "ip": [
        ("array_negative_inner_product({0}, {1})", "ASC"),
        ("array_negative_dot_product({0}, {1})", "ASC"),
        ("-array_inner_product({0}, {1})", "ASC"),
        ("array_inner_product({0}, {1})", "DESC"),
        ("array_dot_product({0}, {1})", "DESC"),
    ],
}
#: Columns beside the vector: type, SQL of a random value by row number, and filters on them.
OTHERS = {
    "n": ("INTEGER", "({0}) % 10", ["n = 3", "n < 2", "n IN (1, 4, 7, 8)", "n <> 5", "n + id % 3 = 4"]),
    "tag": (
        "VARCHAR",
        "CASE ({0}) % 9 WHEN 0 THEN NULL ELSE 'tag' || (({0}) % 5) END",
        ["tag = 'tag1'", "tag LIKE '%2'", "tag IS NULL", "tag IN ('tag0', 'tag3')", "tag > 'tag2'", "length(tag) = 4"],
    ),
    "f": ("DOUBLE", "({0}) / 7.0", ["f BETWEEN 1 AND 50", "f > 10.5", "round(f) % 2 = 0"]),
    "flag": ("BOOLEAN", "({0}) % 3 = 0", ["flag", "NOT flag"]),
    "day": ("TIMESTAMP", "TIMESTAMP '2026-01-01' + INTERVAL 1 HOUR * (({0}) % 1000)", ["day < '2026-01-05'"]),
    "pair": ("STRUCT(a INTEGER, b VARCHAR)", "{{'a': (({0}) % 4)::INTEGER, 'b': 'x'}}", ["pair.a = 2"]),
    "parts": ("INTEGER[]", "[({0}) % 3, ({0}) % 5]", ["list_contains(parts, 1)", "parts[2] = 0"]),
    "price": ("DECIMAL(10, 2)", "(({0}) % 100) / 4", ["price <= 5.25"]),
}


class Schema:
    """A table `name` with a unique `id`, a vector behind the SQL `key`, other columns, and up to two indexes."""

    def __init__(self, rng, in_file):
        self.rng = rng
        self.temporary = rng.random() < 0.1 and not in_file
        self.name = "t" if self.temporary else rng.choice(["t", "t", "t", "s.t", '"The Table"'])
        self.primary = rng.random() < 0.35
        self.dimensions = rng.choice([1, 2, 2, 3, 3, 3, 4, 7, 8, 16, 17, 20])
        self.kind = rng.choice(["array"] * 7 + ["list", "double", "scalars", "bare list", "bare double"])
        if self.kind == "scalars":
            self.dimensions = 2
        #: Some lists are longer than the index has them.
        self.ragged = self.kind == "bare list" and rng.random() < 0.5
        # DuckDB casts what lies under a NULL array, and may refuse it
        nulls = rng.choice([0, 0.08, 0.08, 0.5]) if self.kind in ("array", "list", "bare list") else 0
        odd = rng.choice([0, 0, 0.05, 0.3])
        self.vectors = Vectors(rng, self.dimensions, nulls, odd)
        self.others = rng.sample(list(OTHERS), rng.randrange(4))
        self.before = rng.randrange(len(self.others) + 1)
        self.generated = rng.random() < 0.25
        self.indexes = {}
        for number in range(rng.choice([1, 1, 1, 1, 2])):
            self.indexes[f"i{number}"] = self.index_options()
        self.in_file = in_file

    @property
    def key(self):
        return {
            "array": "v",
            "list": f"v::FLOAT[{self.dimensions}]",
            "double": f"v::FLOAT[{self.dimensions}]",
            "scalars": "array_value(x, y)",
        }.get(self.kind, "v")

    @property
    def key_columns(self):
        return ["x", "y"] if self.kind == "scalars" else ["v"]

    @property
    def columns(self):
        """Columns that can be inserted, in the order of `row`."""
        return ["id", *self.others, *self.key_columns]

    def index_options(self):
        rng = self.rng
        options = {"metric": rng.choice(list(FUNCTIONS))}
        if rng.random() < 0.4:
            options["m"] = rng.choice([2, 4, 16, 40])
        if rng.random() < 0.3:
            options["ef_construction"] = rng.choice([8, 64, 200])
        if rng.random() < 0.3:
            options["ef_search"] = rng.choice([1, 4, 64, 500])
        if rng.random() < 0.4:
            options["quantization"] = rng.choice(["sq8", "sq4"])
        return options

    def create_table(self):
        kind = self.kind.removeprefix("bare ")
        types = {"array": f"v FLOAT[{self.dimensions}]", "list": "v FLOAT[]", "double": f"v DOUBLE[{self.dimensions}]"}
        columns = ["id BIGINT PRIMARY KEY" if self.primary else "id BIGINT"]
        others = [f"{name} {OTHERS[name][0]}" for name in self.others]
        if self.generated:
            others.insert(0, "twice BIGINT AS (id * 2)")
        columns += others[: self.before] + [types.get(kind, "x FLOAT, y FLOAT")] + others[self.before :]
        return f"CREATE {'TEMP ' if self.temporary else ''}TABLE {self.name} ({', '.join(columns)})"

    def create_index(self, name):
        options = ", ".join(
            f"{option} = '{value}'" if isinstance(value, str) else f"{option} = {value}"
            for option, value in self.indexes[name].items()
        )
        key = self.key if self.key == "v" else f"({self.key})"
        if self.kind == "bare list":
            options += f", dimensions = {self.dimensions}"
        return f"CREATE INDEX IF NOT EXISTS {name} ON {self.name} USING HNSW ({key}) WITH ({options})"

    def qualified(self, name):
        """An index of the table, as the pragmas and DROP INDEX want it."""
        return f"s.{name}" if self.name.startswith("s.") else name

    def key_values(self, vector):
        """SQL of the key columns for the elements of a vector, or None."""
        if self.kind == "scalars":
            return [f"({element})::FLOAT" for element in vector]
        if self.ragged and vector and self.rng.random() < 0.1:
            vector = [*vector, "1"]
        return [literal(vector)]

    def key_batch(self, row):
        """SQL of the key columns for the row with the number `row` (SQL)."""
        if self.kind == "scalars":
            return [f"({self.vectors.element(row, x)})::FLOAT" for x in range(2)]
        dimensions = f"{self.dimensions} + (({row}) % 10 = 4)::INTEGER" if self.ragged else self.dimensions
        vector = f"list_transform(range({dimensions}), lambda x: ({self.vectors.element(row, 'x')})::FLOAT)"
        if self.vectors.nulls:
            some = f"hash({row} + {self.vectors.salt}) % 100 < {self.vectors.nulls * 100}"
            return [f"CASE WHEN {some} THEN NULL ELSE {vector} END"]
        return [vector]

    def other_values(self, row):
        return [OTHERS[name][1].format(row) for name in self.others]

    def key_probe(self):
        """A query vector as a bare list."""
        return literal(self.vectors.query())

    def row(self, row_id):
        """SQL of a VALUES row."""
        return f"({', '.join([str(row_id), *self.other_values(row_id), *self.key_values(self.vectors.vector())])})"

    def batch(self, first, count):
        """SQL of a SELECT of `count` rows with ids from `first` on."""
        columns = ["i", *self.other_values("i"), *self.key_batch("i")]
        return f"SELECT {', '.join(columns)} FROM range({first}, {first + count}) r(i)"

    def function(self, metric=None):
        """A distance function that ranks like one of the indexes, nearly always: SQL format and direction."""
        metrics = [options["metric"] for options in self.indexes.values()] * 4 + list(FUNCTIONS)
        functions = FUNCTIONS[metric or self.rng.choice(metrics)]
        while True:
            chosen = self.rng.choice(functions)
            # DuckDB defines the operators over lists, and refuses them where a vector is NULL.
            if not self.vectors.nulls or "<" not in chosen[0]:
                return chosen
