"""Random queries: the shapes that an index may serve, and their neighbours."""

from .schema import FUNCTIONS, OTHERS
from .steps import Query
from .values import literal

#: Conditions between a row of the table and one of the probes.
PAIRS = [
    "id <> probe * 7",
    "id % 3 = probe % 3",
    "id >= probe * 40",
    "id BETWEEN probe * 20 AND probe * 60 + 50",
    "(id % 5 = probe OR id < probe * 9)",
    "id % 4 IS NOT DISTINCT FROM NULLIF(probe % 4, 2)",
    "id = probe",
]
LIMITS = [1, 1, 3, 5, 10, 10, 10, 20, 50, 51, 100, 1000, 3000]


def by_index(otherwise):
    """SQL of the distance that macros rank by, if they are not told a metric, as a format of both vectors."""
    return "hnsw_distance({0}, {1}, hnsw_metric({0}, NULL, '%s', 'fuzz'))" % otherwise


class Queries:
    """Queries over the table of `changes`, and over small ones: `probes` (probe, q), `meta` (id, kind, weight) with some
    ids twice, `labels` (id, weight)."""

    def __init__(self, rng, schema, changes):
        self.rng = rng
        self.schema = schema
        self.changes = changes
        self.shapes = {
            "plain": (self.plain, 20),
            "key": (self.further_key, 4),
            "nulls first": (self.nulls_first, 1),
            "subquery": (self.subquery, 6),
            "union": (self.union, 3),
            "parts": (self.parts, 3),
            "cross": (self.cross, 4),
            "prepared": (self.prepared, 4),
            "summary": (self.summary, 3),
            "join above": (self.join_above, 4),
            "join filter": (self.join_filter, 4),
            "range": (self.range, 4),
            "within": (self.within, 6),
            "pairs": (self.pairs_within, 5),
            "window": (self.window, 3),
            "aggregate": (self.aggregate, 6),
            "grouped": (self.grouped, 2),
            "best groups": (self.best_groups, 4),
            "joined groups": (self.joined_groups, 4),
            "lateral": (self.lateral, 5),
            "guarded": (self.guarded, 6),
            "nearest": (self.nearest, 5),
            "correlated": (self.correlated, 3),
            "macro": (self.macro, 3),
        }

    def query(self):
        """A query on a random connection."""
        shapes = list(self.shapes)
        shape = self.rng.choices(shapes, [self.shapes[name][1] for name in shapes])[0]
        self.prelude, self.parameters, self.filtered = [], {}, False
        query = self.shapes[shape][0](self.changes.connection())
        query.shape = shape + (" with filter" if self.filtered else "")
        query.prelude, query.parameters = self.prelude, self.parameters
        return query

    # ---- parts

    def limit(self):
        """LIMIT and perhaps OFFSET."""
        limit = self.rng.choice(LIMITS)
        offset = self.rng.choice([0] * 8 + [1, 7, 10, 100])
        if not self.parameters and self.rng.random() < 0.05:
            self.parameters["k"] = limit
            limit = "$k"
        return f"LIMIT {limit} OFFSET {offset}" if offset else f"LIMIT {limit}"

    def vector(self):
        """SQL of a query vector that does not change from row to row."""
        schema, rng = self.schema, self.rng
        array = f"FLOAT[{schema.dimensions}]"
        elements = schema.vectors.query()
        plain = literal(elements)
        kind = rng.random()
        if kind < 0.55:
            return f"{plain}::{array}"
        lists = 0.62 if not schema.vectors.nulls else 0.56
        if kind < lists:
            return plain
        if kind < 0.69:
            return f"{plain}::DOUBLE[{schema.dimensions}]"
        if kind < 0.75:
            return f"(SELECT {schema.key} FROM {schema.name} WHERE id = {self.changes.some_id()})"
        if kind < 0.8:
            return f"(SELECT q FROM probes WHERE probe = {rng.randrange(6)})"
        if kind < 0.82:
            return self.computed(plain, array)
        if kind < 0.85:
            self.prelude.append(f"SET VARIABLE q = {plain}::{array}")
            return "getvariable('q')"
        if kind < 0.95 and not self.parameters and not any("'" in element for element in elements):
            self.parameters["q"] = [float(element) for element in elements]
            return rng.choice(["$q", f"$q::{array}", f"$q::{array}"])
        if kind > 0.995:
            return f"NULL::{array}"
        return f"array_value({', '.join(f'({element})::FLOAT' for element in elements)})"

    def computed(self, plain, array):
        """SQL of a query vector that is computed from others."""
        schema, some = self.schema, self.changes.some_id()
        average = f"(SELECT avg({schema.key}::{array}) FROM {schema.name} WHERE id BETWEEN {some} AND {some + 5})"
        return self.rng.choice(
            [
                average,
                f"array_normalize({plain}::{array})",
                f"array_add({average}, {plain})",
                f"array_subtract({average}, array_scale((SELECT q FROM probes WHERE probe = 2), 0.3))",
                "(SELECT sum(q) FILTER (probe < 3) FROM probes)",
            ]
        )

    def distance(self, query=None, key=None, metric=None):
        """SQL of a distance to `query`, and the direction in which it ranks."""
        function, direction = self.schema.function(metric)
        arguments = [key or self.schema.key, query or self.vector()]
        if self.rng.random() < 0.25:
            arguments.reverse()
        return function.format(*arguments), direction

    def where(self, share=0.35, key=None):
        """A WHERE clause with its leading blank, or nothing."""
        # DuckDB's functions refuse lists of another length than the query vector
        ragged = self.schema.ragged and self.rng.random() < 0.9
        terms = []
        if self.rng.random() < share:
            self.filtered = True
            terms = [self.term(key or self.schema.key) for _ in range(self.rng.choice([1, 1, 1, 2]))]
        some = self.rng.choice([" AND ", " OR "]).join(f"({term})" for term in terms)
        if ragged:
            some = f"len(v) = {self.schema.dimensions}" + (f" AND ({some})" if some else "")
        return f" WHERE {some}" if some else ""

    def term(self, key):
        rng, some = self.rng, self.changes.some_id()
        terms = [
            f"id < {some}",
            f"id >= {some}",
            f"id = {some}",
            f"id IN ({some}, {some + 1}, {some + 2}, {some + 3}, {some + 70})",
            f"id % {rng.choice([2, 3, 10, 100])} = 0",
            f"id BETWEEN {some} AND {some + 40} OR id % 9 = 1",
            f"{key} IS NOT NULL",
            f"id IN (SELECT id FROM meta WHERE weight < {rng.randrange(100)})",
            f"id NOT IN (SELECT id FROM meta WHERE weight < {rng.randrange(100)})",
            f"EXISTS (SELECT 1 FROM meta WHERE meta.id = {self.schema.name}.id AND kind = {rng.randrange(4)})",
            "id < 0",
            "true",
        ]
        if self.schema.generated:
            terms.append(f"twice < {some * 2}")
        terms += [rng.choice(OTHERS[name][2]) for name in self.schema.others] * 3
        return rng.choice(terms)

    def all_rows(self, distance, where="", source=None):
        return f"SELECT NULL AS g, id, {distance} AS d FROM {source or self.schema.name}{where}"

    # ---- shapes

    def plain(self, connection):
        distance, direction = self.distance()
        where, name = self.where(), self.schema.name
        order = f"FROM {name}{where} ORDER BY {distance} {direction} {self.limit()}"
        aliased = f"FROM {name}{where} ORDER BY d {direction} {self.limit()}"
        sql = self.rng.choice(
            [
                f"SELECT {distance} AS d, id {aliased}",
                f"SELECT id, {distance} AS d {aliased}",
                f"SELECT id {order}",
                f"SELECT * {order}",
                f"SELECT id, 1 - {distance} AS score, {self.schema.key} {order}",
                f"SELECT id, round({distance}::DOUBLE, 3) AS score {order}",
                f"SELECT rowid, id {order}",
            ]
        )
        return Query(connection, "", sql, self.all_rows(distance, where))

    def further_key(self, connection):
        distance, direction = self.distance()
        where, name = self.where(0.2), self.schema.name
        key = self.rng.choice(["id", "id DESC", *(f"{other} DESC NULLS FIRST, id" for other in self.schema.others)])
        sql = f"SELECT id, {distance} AS d FROM {name}{where} ORDER BY d {direction}, {key} {self.limit()}"
        return Query(connection, "", sql, self.all_rows(distance, where), strict=True)

    def nulls_first(self, connection):
        distance, direction = self.distance()
        where, name = self.where(0.2), self.schema.name
        sql = f"SELECT id, {distance} AS d FROM {name}{where} ORDER BY d {direction} NULLS FIRST {self.limit()}"
        return Query(connection, "", sql, self.all_rows(distance, where))

    def subquery(self, connection):
        distance, direction = self.distance(key="key")
        name, key = self.schema.name, self.schema.key
        inner = self.where(0.2)
        limit = self.limit()
        order = f"ORDER BY {distance} {direction} {limit}"
        sql = self.rng.choice(
            [
                f"SELECT id, {distance} AS d FROM (SELECT id, {key} AS key FROM {name}{inner}) {order}",
                f"WITH c AS (SELECT {key} AS key, id FROM {name}{inner}) SELECT id FROM c {order}",
                f"WITH c AS (SELECT {key} AS key, * FROM {name}{inner}) SELECT c.id AS id FROM c {order}",
                f"SELECT id FROM (SELECT id FROM (SELECT {key} AS key, id FROM {name}{inner}) {order})",
            ]
        )
        if not inner and self.schema.kind == "array" and self.rng.random() < 0.3:
            on_view = distance.replace("key", "vector")
            sql = f"SELECT number AS id, {on_view} AS d FROM seen ORDER BY {on_view} {direction} {limit}"
        every = self.all_rows(distance, source=f"(SELECT {key} AS key, id FROM {name}{inner})")
        return Query(connection, "", sql, every)

    def union(self, connection):
        legs, alls = [], []
        for leg in range(2):
            distance, direction = self.distance()
            where = self.where(0.15)
            source = f"FROM {self.schema.name}{where}"
            order = f"ORDER BY {distance} {direction} LIMIT {self.rng.choice(LIMITS)}"
            legs.append(f"(SELECT {leg} AS g, id {source} {order})")
            alls.append(f"SELECT {leg} AS g, id, {distance}::DOUBLE AS d {source}")
        return Query(connection, "", " UNION ALL ".join(legs), " UNION ALL ".join(alls), ordered=False)

    def parts(self, connection):
        """An order over a UNION ALL of parts of the table."""
        distance, direction = self.distance()
        shown = self.rng.choice([distance, distance, f"2 * {distance}", f"round({distance}, 2)"])
        legs = []
        for part in range(self.rng.choice([2, 3])):
            where = self.where(0.15)
            own = f"id % 3 = {part}"
            where = f"{where.replace(' WHERE ', ' WHERE (')}) AND {own}" if where else f" WHERE {own}"
            legs.append(f"SELECT id, {shown} AS d FROM {self.schema.name}{where}")
        every = " UNION ALL ".join(legs)
        sql = f"SELECT id, d FROM ({every}) ORDER BY d {direction} {self.limit()}"
        return Query(connection, "", sql, f"SELECT NULL AS g, id, d FROM ({every})")

    def cross(self, connection):
        distance, direction = self.distance(query="one.q")
        name, vector = self.schema.name, self.vector()
        if self.rng.random() < 0.3:
            one = f"(SELECT q FROM probes WHERE probe = {self.rng.randrange(6)})"
        else:
            one = f"(SELECT {vector} AS q)"
        sides = [name, f"{one} AS one"]
        if self.rng.random() < 0.5:
            sides.reverse()
        source = self.rng.choice([", ".join(sides), " CROSS JOIN ".join(sides)])
        sql = f"SELECT id, {distance} AS d FROM {source} ORDER BY d {direction} {self.limit()}"
        return Query(connection, "", sql, self.all_rows(distance, source=source))

    def prepared(self, connection):
        distance, direction = self.distance(query=f"$1::FLOAT[{self.schema.dimensions}]")
        where = self.where(0.2)
        order = f"SELECT id FROM {self.schema.name}{where} ORDER BY {distance} {direction} LIMIT"
        self.prelude.append(f"PREPARE near AS {order} $2")
        vector = f"{literal(self.schema.vectors.query())}::FLOAT[{self.schema.dimensions}]"
        limit = self.rng.choice(LIMITS)
        here = distance.replace(f"$1::FLOAT[{self.schema.dimensions}]", vector)
        return Query(
            connection,
            "",
            f"EXECUTE near({vector}, {limit})",
            self.all_rows(here, where),
            oracle=f"{order.replace(distance, here)} {limit}",
        )

    def summary(self, connection):
        distance, direction = self.distance()
        where = self.where()
        inner = f"SELECT id, {distance} AS d FROM {self.schema.name}{where} ORDER BY d {direction} {self.limit()}"
        return Query(connection, "", f"SELECT count(*), count(d) FROM ({inner})", "")

    def join_above(self, connection):
        distance, direction = self.distance()
        name, limit = self.schema.name, self.limit()
        if self.rng.random() < 0.4:
            source = f"FROM {name} AS base LEFT JOIN labels ON labels.id = base.id"
            sql = f"SELECT base.id AS id, {distance} AS d {source} ORDER BY d {direction} {limit}"
            return Query(connection, "", sql, self.all_rows(distance))
        where = self.where()
        inner = f"SELECT id, {distance} AS d FROM {name}{where} ORDER BY d {direction} {limit}"
        outer = self.rng.choice(["LEFT JOIN labels USING (id) ORDER BY", "ORDER BY"])
        sql = f"SELECT near.id AS id, d FROM ({inner}) AS near {outer} d {direction}"
        return Query(connection, "", sql, self.all_rows(distance, where))

    def join_filter(self, connection):
        name = self.schema.name
        key = self.schema.key if self.schema.kind == "scalars" else f"base.{self.schema.key}"
        distance, direction = self.distance(key=key)
        kind = self.rng.choice(["", f" AND kind = {self.rng.randrange(4)}", f" AND weight < {self.rng.randrange(100)}"])
        join = self.rng.choice(["JOIN", "JOIN", "LEFT JOIN", "SEMI JOIN", "ANTI JOIN"])
        source = f"{name} AS base {join} meta ON meta.id = base.id{kind}"
        self.filtered = True
        sql = f"SELECT base.id AS id, {distance} AS d FROM {source} ORDER BY d {direction} {self.limit()}"
        return Query(connection, "", sql, f"SELECT NULL AS g, base.id AS id, {distance} AS d FROM {source}")

    def range(self, connection):
        distance, direction = self.distance()
        radius = self.rng.choice([0, 0.5, 1, 2, 3, 10, -1])
        bound = self.rng.choice(
            [f"d < {radius}", f"d <= {radius}", f"d > {radius}", f"d BETWEEN {radius} AND {radius + 2}"]
        )
        source = f"(SELECT id, {distance} AS d FROM {self.schema.name}{self.where(0.2)})"
        self.filtered = True
        sql = f"SELECT id, d FROM {source} WHERE {bound} ORDER BY d {direction} {self.limit()}"
        return Query(connection, "", sql, f"SELECT NULL AS g, id, d FROM {source} WHERE {bound}")

    def within(self, connection):
        """All rows within a distance: none may be missing."""
        distance, direction = self.distance()
        near, far = ("<", ">") if direction == "ASC" else (">", "<")
        radius = self.rng.choice(["0", "0.5", "1", "2", "3", "10", "-1", "'nan'::FLOAT", "'inf'::DOUBLE", "NULL"])
        bound = self.rng.choice(
            [
                f"d {near} {radius}",
                f"d {near}= {radius}",
                f"{radius} {far} d",
                f"NOT d {far}= {radius}",
                f"d BETWEEN {radius} AND {radius} + 2",
                f"d {near} {radius} AND d {far}= {radius} - 1",
                f"d {near}= {radius} AND d IS NOT NULL",
                f"d {near}= {distance.replace(self.schema.key, literal(self.schema.vectors.query()), 1)}",
            ]
        )
        where = self.where(0.4)
        source = f"(SELECT id, {distance} AS d FROM {self.schema.name}{where}) WHERE {bound}"
        order = self.rng.choice(["", "", f" ORDER BY d {direction}"])
        sql = self.rng.choice(
            [f"SELECT id, d FROM {source}{order}", f"SELECT id FROM {source}", f"SELECT count(*) FROM {source}"]
        )
        every = f"SELECT NULL AS g, id, d FROM {source}"
        query = Query(connection, "", sql, every, ordered="ORDER BY" in sql)
        if self.rng.random() < 0.8:
            # also where tables are so small that it does not pay
            self.prelude.append("SET hnsw_strategy = 'exact'")
            query.postlude.append("RESET hnsw_strategy")
        return query

    def pairs_within(self, connection):
        """All pairs of query vectors and rows within a distance: none may be missing."""
        distance, direction = self.distance(query="probes.q")
        near, far = ("<", ">") if direction == "ASC" else (">", "<")
        radius = self.rng.choice(["0", "0.5", "1", "2", "3", "10", "-1", "'inf'::DOUBLE", "NULL"])
        bound = self.rng.choice(
            [
                f"{distance} {near} {radius}",
                f"{radius} {far}= {distance}",
                f"{distance} BETWEEN {radius} AND {radius} + 2",
                f"{distance} {near} {radius} AND base.id <> probe",
                f"base.id > probe * 10 AND {distance} {near}= {radius}",
            ]
        )
        table = f"(FROM {self.schema.name}{self.where(0.4)}) AS base"
        sides = ["probes", table]
        self.rng.shuffle(sides)
        source = self.rng.choice([f"{sides[0]} JOIN {sides[1]} ON {bound}", f"{', '.join(sides)} WHERE {bound}"])
        every = f"SELECT probe AS g, id, {distance} AS d FROM {source}"
        sql = self.rng.choice([every, every, f"SELECT count(*) FROM {source}"])
        query = Query(connection, "", sql, every, ordered=False)
        if self.rng.random() < 0.8:
            # also where tables are so small that it does not pay
            self.prelude.append("SET hnsw_strategy = 'exact'")
            query.postlude.append("RESET hnsw_strategy")
        return query

    def guard(self, distance, key):
        """A predicate that holds for every row with a distance, and often for no other."""
        guards = [
            f"{distance} IS NOT NULL",
            f"isfinite({distance})",
            f"NOT isnan({distance})",
            f"{distance} = {distance}",
            f"{key} IS NOT NULL",
            f"{key} IS NOT NULL AND {distance} IS NOT NULL",
            f"{key} IS NOT NULL AND array_inner_product({key}, {key}) > 0",
        ]
        return self.rng.choice(guards)

    def guarded(self, connection):
        distance, direction = self.distance()
        key, where = self.schema.key, self.where(0.2)
        shown = self.rng.choice(
            [
                distance,
                distance,
                f"CASE WHEN array_inner_product({key}, {key}) = 0 THEN NULL ELSE {distance} END",
                f"CASE WHEN {key} IS NOT NULL THEN {distance} END",
                f"CASE WHEN isfinite({distance}) THEN {distance} END",
                f"CASE WHEN isnan({distance}) THEN NULL ELSE {distance} END",
                f"nullif({distance}, 'nan'::FLOAT)",
                f"round({distance}, {self.rng.choice([-1, 0, 1, 3])})",
            ]
        )
        guard = self.guard(shown, key)
        if where:
            where = f"{where.replace(' WHERE ', ' WHERE (')}) AND {guard}"
        elif shown == distance or self.rng.random() < 0.5:
            where = f" WHERE {guard}"
        first = self.rng.choice(["", "", "", "d IS NULL, ", f"{key} IS NULL, ", "d IS NOT NULL DESC, "])
        sql = f"SELECT id, {shown} AS d FROM {self.schema.name}{where} ORDER BY {first}d {direction} {self.limit()}"
        return Query(connection, "", sql, self.all_rows(shown, where))

    def nearest(self, connection):
        distance, direction = self.distance(query="probes.q")
        where, name = self.where(0.25), self.schema.name
        k = self.rng.choice(["", 1, 3, 10, 60])
        target = self.rng.choice([name, f"(FROM {name}) AS near"]) if not where else f"(FROM {name}{where}) AS near"
        join = self.rng.choice(["JOIN", "LEFT JOIN"])
        kind = self.rng.choice(["APPROX NEAREST", "NEAREST"])
        by = f"{'DISTANCE' if direction == 'ASC' else 'SIMILARITY'} {distance}"
        sql = f"SELECT probe AS g, id, {distance} AS d FROM probes {join} {target} {kind} {k} BY {by}"
        every = self.pairs(distance, where) + " WHERE near.d IS NOT NULL"
        return Query(connection, "", sql, every, ordered=False)

    def window(self, connection):
        distance, direction = self.distance()
        where, k = self.where(0.2), self.rng.choice([1, 3, 10])
        number = f"row_number() OVER (ORDER BY {distance} {direction})"
        sql = f"SELECT id FROM {self.schema.name}{where} QUALIFY {number} <= {k} ORDER BY {distance} {direction}"
        if k == 3:
            order = "n" if where else f"{distance} {direction}"
            sql = f"SELECT id, {number} AS n FROM {self.schema.name}{where} ORDER BY {order} LIMIT {k}"
        return Query(connection, "", sql, self.all_rows(distance, where))

    def aggregate(self, connection):
        distance, direction = self.distance()
        where, k = self.where(0.2), self.rng.choice([1, 3, 10, 100])
        name = self.rng.choice(["min_by", "arg_min"] if direction == "ASC" else ["max_by", "arg_max"])
        condition, restricted = "", where
        # DuckDB computes the distances of rows that do not pass the FILTER, too, a search does not
        if not where and not self.schema.ragged and self.rng.random() < 0.3:
            restricted = self.where(1)
            condition = f" FILTER ({restricted.strip()})"
        choice = self.rng.random()
        if choice < 0.6:
            sql = f"SELECT {name}(id, {distance}, {k}){condition} AS id FROM {self.schema.name}{where}"
        elif choice < 0.8:
            sql = f"SELECT {name}(id, {distance}){condition} AS id FROM {self.schema.name}{where}"
        else:
            sql = (
                f"SELECT unnest({name}(id, {distance}, {k}){condition}) AS id,"
                f" unnest({name}({distance}, {distance}, {k}){condition}) AS d FROM {self.schema.name}{where}"
            )
        return Query(connection, "", sql, self.all_rows(distance, restricted))

    def grouped(self, connection):
        distance, direction = self.distance()
        name = "min_by" if direction == "ASC" else "max_by"
        where = self.where(0.2)
        source = f"FROM {self.schema.name}{where}"
        sql = f"SELECT id % 3 AS g, {name}(id, {distance}, {self.rng.choice([1, 5])}) AS id {source} GROUP BY g"
        return Query(connection, "", sql, f"SELECT id % 3 AS g, id, {distance} AS d {source}")

    def best_groups(self, connection):
        """The nearest row of each of the groups that have the nearest ones; ties leave open which groups these are."""
        distance, direction = self.distance()
        where, group = self.where(0.25), self.rng.choice(["id % 3", "id % 60", "id // 7", "id", "NULLIF(id % 10, 4)"])
        rows = f"SELECT {group} AS part, id, {distance} AS d FROM {self.schema.name}{where}"
        radius = self.rng.choice([0, 0.5, 1, 2, 3])
        nearer = f" WHERE d {'<' if direction == 'ASC' else '>'} {radius}"
        kept = self.rng.choice(["", "", "", " WHERE d IS NOT NULL", " WHERE isfinite(d)", nearer])
        every = f"FROM ({self.all_rows(distance, where)}){kept}"
        return Query(connection, "", self.best_of(rows, direction, kept), every)

    def best_of(self, rows, direction, kept=""):
        """SQL of the nearest row of each of the best groups of `rows`, by their column `part`. `kept`: a WHERE for the groups."""
        nearest = self.rng.choice(
            [
                f"SELECT DISTINCT ON (part) * FROM ({rows}) ORDER BY part, d {direction}",
                f"FROM ({rows}) QUALIFY row_number() OVER (PARTITION BY part ORDER BY d {direction}) = 1",
            ]
        )
        return f"SELECT id, d FROM ({nearest}){kept} ORDER BY d {direction} {self.limit()}"

    def joined_groups(self, connection):
        """The same, by columns of a joined table, with which a row may be in several groups."""
        key = self.schema.key if self.schema.kind == "scalars" else f"base.{self.schema.key}"
        distance, direction = self.distance(key=key)
        join = self.rng.choice(["JOIN meta", "JOIN meta", "LEFT JOIN meta", "LEFT JOIN labels AS meta", "JOIN labels AS meta"])
        source = f"{self.schema.name} AS base {join} ON meta.id = base.id"
        if self.rng.random() < 0.3:
            source += self.rng.choice([" WHERE weight < 60", " WHERE base.id % 3 > 0", f" WHERE {distance} IS NOT NULL"])
        group = self.rng.choice(["weight", "weight % 3", "NULLIF(weight % 10, 4)", "weight % 4 + base.id % 3", "base.id"])
        rows = f"SELECT base.id AS id, {distance} AS d FROM {source}"
        sql = self.best_of(rows.replace("SELECT", f"SELECT {group} AS part,", 1), direction)
        return Query(connection, "", sql, rows.replace("SELECT", "SELECT NULL AS g,", 1))

    def pairs(self, distance, where=""):
        """All rows of the table for each probe."""
        inner = f"SELECT id, {distance} AS d FROM {self.schema.name}{where}"
        return f"SELECT probe AS g, near.id AS id, near.d AS d FROM probes, LATERAL ({inner}) AS near"

    def lateral(self, connection):
        distance, direction = self.distance(query="probes.q")
        where, k = self.where(0.25), self.rng.choice([1, 3, 10, 60])
        offset = self.rng.choice(["", "", "", " OFFSET 2"])
        for _ in range(self.rng.choice([0, 0, 1, 2])):
            where += f"{' AND' if where else ' WHERE'} {self.rng.choice(PAIRS)}"
        order = f"ORDER BY d {direction} LIMIT {k}{offset}"
        inner = f"LATERAL (SELECT id, {distance} AS d FROM {self.schema.name}{where} {order}) AS near"
        some = "(FROM probes WHERE probe < {}) AS probes"
        outer = self.rng.choice(["probes", "probes", some.format(2), some.format(0)])
        join = self.rng.choice([", {}", " JOIN {} ON true", " LEFT JOIN {} ON true"]).format(inner)
        sql = f"SELECT probe AS g, near.id AS id, near.d AS d FROM {outer}{join}"
        return Query(connection, "", sql, self.pairs(distance, where), ordered=False)

    def correlated(self, connection):
        distance, direction = self.distance(query="probes.q")
        where = self.where(0.2)
        inner = f"SELECT id FROM {self.schema.name}{where} ORDER BY {distance} {direction} LIMIT 1"
        return Query(connection, "", f"SELECT probe AS g, ({inner}) AS id FROM probes", self.pairs(distance, where))

    def macro(self, connection):
        metric = self.rng.choice([options["metric"] for options in self.schema.indexes.values()])
        function, told = FUNCTIONS[metric][0][0], f", metric := '{metric}'"
        if self.rng.random() < 0.4:
            # that of the index; without one, or with several, another one
            told = ""
        if self.schema.kind == "array" and self.rng.random() < 0.5:
            return self.table_macro(connection, told, function if told else by_index("cosine"))
        function = function if told else by_index("l2sq")
        arguments = f"{self.schema.key}, {self.rng.choice([1, 3, 10])}{told}"
        name = self.schema.name
        table = name if name == "t" else "'" + name.replace("'", "''") + "'"
        if self.rng.random() < 0.5:
            columns = "left_tbl.probe AS g, right_tbl.id AS id, score AS d"
            sql = f"SELECT {columns} FROM vss_join(probes, {table}, q, {arguments})"
        else:
            ids = "[m.row.id FOR m IN matches]"
            sql = f"SELECT probe AS g, {ids} AS id FROM probes, vss_match({table}, q, {arguments})"
        return Query(connection, "", sql, self.pairs(function.format(self.schema.key, "probes.q")), ordered=False)

    def table_macro(self, connection, told, function):
        """What ranks by one distance: its answer is that of an ORDER BY."""
        rng, name = self.rng, self.schema.name
        table, k = "'" + name.replace("'", "''") + "'", rng.choice([1, 3, 10])
        options = f"col := 'v'{told}"
        if rng.random() < 0.5:
            query = self.vector()
            call = rng.choice(
                [
                    f"vector_search({table}, {query}, {k}, {options})",
                    f"mmr({table}, {query}, {k}, lambda_mult := 1, {options})",
                ]
            )
            return Query(connection, "", f"SELECT id FROM {call}", self.all_rows(function.format("v", query)))
        some = self.changes.some_id()
        strategy = rng.choice(["mean", "best_score"])
        sql = f"SELECT id FROM more_like_this({table}, [{some}], {k}, strategy := '{strategy}', {options})"
        liked = f"(SELECT avg(v) FROM {name} WHERE id = {some})"
        return Query(connection, "", sql, self.all_rows(function.format("v", liked), f" WHERE id <> {some}"))
