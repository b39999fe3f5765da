"""Compares the indexes of a database with their tables while nothing else happens."""

import dataclasses

from chaos.tables import EACH, FUNCTIONS, apart

#: Rows of a table whose own vectors are looked for.
SAMPLE = 600
#: Least share of rows that walks must find.
RECALL = 0.9


@dataclasses.dataclass
class Facts:
    """What an index and its table say. `alone` and `walked`: what a search for the vector of each sampled row found."""

    name: str
    count: int
    vectors: int
    status: str
    foreign: int = 0
    served: bool = True
    #: id of each sampled row -> id of the row that is nearest to its vector
    alone: dict = dataclasses.field(default_factory=dict)
    walked: dict = dataclasses.field(default_factory=dict)
    #: (query, distances found, exact distances)
    answers: list = dataclasses.field(default_factory=list)


def judge(facts):
    """What is wrong with an index, as (kind, text)."""
    name = facts.name
    # ready, or ready again
    if facts.count != facts.vectors or not facts.status.startswith("ready"):
        yield "lost", f"{name} has {facts.count} rows and is '{facts.status}', the table has {facts.vectors} vectors"
    if facts.foreign:
        yield "wrong", f"{facts.foreign} rows of the table of {name} have other vectors than were written"
    if not facts.served:
        yield "wrong", f"{name} does not serve a search"
    missed = [row for row, nearest in facts.alone.items() if nearest != row]
    if missed:
        yield "lost", f"{name}: {len(missed)} of {len(facts.alone)} rows are not nearest to themselves: {missed[:10]}"
    reached = sum(nearest == row for row, nearest in facts.walked.items())
    if reached < RECALL * len(facts.walked):
        yield "recall", f"{name}: walks reach {reached} of {len(facts.walked)} rows"
    for query, found, exact in facts.answers:
        if len(found) != len(exact) or any(map(apart, found, exact)):
            yield "wrong", f"{name}: {found[:20]} instead of {exact[:20]}: {query}"


def beside_themselves(table, metric, ids):
    """SQL that searches for the vector of each of these rows: its id, the id and the distance of what is found, its own distance."""
    rows = f"(SELECT id, v FROM {table} WHERE id IN ({', '.join(map(str, ids))})) AS probe"
    key, function = f"{table_name(table)}.v", FUNCTIONS[metric]
    near = f"SELECT id, {function}({key}, probe.v) AS d FROM {table} WHERE {EACH} ORDER BY d LIMIT 1"
    return f"SELECT probe.id, near.id, near.d, {function}(probe.v, probe.v) FROM {rows}, LATERAL ({near}) AS near"


def own_vectors(con, sql, ids):
    """For each row the row that is nearest to its vector; itself if another is as near."""
    return dict.fromkeys(ids) | {row: nearest if apart(d, own) else row for row, nearest, d, own in con.run(sql)}


def uses_index(con, sql):
    return "hnsw" in con.run(f"EXPLAIN {sql}")[0][1].lower()


def table_name(path):
    return path.rpartition(".")[2]


def sample(con, table, rng):
    """Ids of rows that have vectors: all, or some and the last."""
    ids = sorted(row for (row,) in con.run(f"SELECT id FROM {table} WHERE v IS NOT NULL"))
    if len(ids) <= SAMPLE:
        return ids
    return ids[-SAMPLE // 4 :] + rng.sample(ids[: -SAMPLE // 4], SAMPLE - SAMPLE // 4)


def gather(con, layout, rng):
    """Facts about each HNSW index. `con.run(sql)` returns rows."""
    columns = "catalog_name, index_name, table_name, metric, count, status"
    for catalog, index, table, metric, count, status in con.run(
        f"SELECT {columns} FROM pragma_hnsw_index_info() ORDER BY ALL"
    ):
        path = f"{catalog}.{table}"
        ((vectors,),) = con.run(f"SELECT count(v) FROM {path}")
        facts = Facts(f"{catalog}.{index}", count, vectors, status)
        ((facts.foreign,),) = con.run(f"SELECT count(*) FROM {path} WHERE v IS DISTINCT FROM {layout.vector()}")
        query = layout.query(rng)
        ids = sample(con, path, rng)
        searches = beside_themselves(path, metric, ids or [0])
        near = f"SELECT id FROM {path} ORDER BY {layout.distance(query, metric=metric)} LIMIT 3"
        # else nothing would be said about the index
        facts.served = uses_index(con, near) and uses_index(con, searches)
        con.run("SET hnsw_strategy = 'exact'")
        if ids:
            facts.alone = own_vectors(con, searches, ids)
        # so many that no search is spared, and so few that the table is not scanned instead
        for limit in {min(100, vectors // 2), min(1000, vectors - 1)} - {0, -1}:
            searched = dataclasses.replace(layout, metric=metric)
            exact = con.run(searched.exact(path, query, "true", limit))[0][0] or []
            for shape, sql in searched.searches(path, query, "true", limit).items():
                found = [distance for _, distance in con.run(sql)]
                facts.answers.append((f"LIMIT {limit}, {sql}", sorted(found, key=last), exact))
        con.run("SET hnsw_strategy = 'recheck'")
        con.run("SET hnsw_ef_search = 200")
        if ids:
            facts.walked = own_vectors(con, searches, ids)
        con.run("RESET hnsw_ef_search")
        con.run("RESET hnsw_strategy")
        yield facts


def last(distance):
    """A sort key: NULLs come last."""
    return (distance is None, distance)


def problems(con, layout, rng):
    """What is wrong with the indexes of a database, as (kind, text)."""
    found = []
    names = set()
    for facts in gather(con, layout, rng):
        names.add(facts.name)
        found += judge(facts)
    listed = {f"{catalog}.{index}" for catalog, index in con.run("SELECT database_name, index_name FROM duckdb_indexes()")}
    if listed != names:
        found.append(("lost", f"indexes {sorted(listed)}, but information about {sorted(names)}"))
    return found
