"""What of a SELECT each shard does, and how the answers become one.

DuckDB parses the statement (`json_serialize_sql`) and plans it for an empty table (EXPLAIN). Only what is the same on parts of a table
as on the whole is let through: one scan of the table; conditions, expressions and UNNEST above it; an ORDER BY and a LIMIT above these.
A shard gets the statement with LIMIT + OFFSET rows and no OFFSET to skip; the order's expressions are columns of its answer.
"""

import copy
import dataclasses
import json

import duckdb

from .errors import NotMergeable

#: Operators of a plan whose answer on a whole is that on its parts, put together.
_DISTRIBUTIVE = {"PROJECTION", "FILTER", "UNNEST"}
_REASONS = {
    "AGGREGATE": "an aggregate of all rows is not made of those of the shards",
    "WINDOW": "a window sees the rows of one shard only",
    "DISTINCT": "rows that are distinct in each shard may be equal in two",
    "SAMPLE": "samples of parts are no sample of the whole",
}
#: Functions that answer with something of the shard's own, beside those that DuckDB calls volatile.
_OWN = {"current_catalog", "current_database", "current_setting", "txid_current"}
_LIMIT = "shards_limit"
#: DuckDB's greatest LIMIT.
MOST = (1 << 63) - 1


@dataclasses.dataclass(frozen=True)
class Statement:
    """A statement that can be merged."""

    names: tuple  # of the answer's columns
    shard: str  # what each shard executes; its rows have the order's keys behind the answer's columns
    order: str  # ORDER BY of the merge, over columns c0, c1, …; or nothing
    needs: tuple  # names of the values that a shard takes
    limit: object  # None, a number, or the name of a value
    offset: object

    def bounds(self, values):
        """LIMIT and OFFSET of a call: numbers, or None where there is none."""
        bounds = []
        for what, bound in (("LIMIT", self.limit), ("OFFSET", self.offset)):
            bounds.append(None if bound is None else _checked_rows(what, values[bound] if isinstance(bound, str) else bound))
        return bounds

    def shard_values(self, values):
        """What a shard's statement takes: the values of the statement, and how many rows it needs."""
        limit, offset = self.bounds(values)
        return {name: min(limit + (offset or 0), MOST) if name == _LIMIT else values[name] for name in self.needs}

    def merge(self, values, source):
        limit, offset = self.bounds(values)
        columns = ", ".join(f"c{place}" for place in range(len(self.names)))
        pages = (f" LIMIT {limit}" if limit is not None else "") + (f" OFFSET {offset}" if offset else "")
        return f"SELECT {columns} FROM {source}{self.order}{pages}"


def prepare(con):
    """Sets what `parse` needs of a connection: the plan before the optimizer, and no optimizer, which would compute what is constant."""
    con.execute("PRAGMA disable_optimizer")
    con.execute("SET explain_output = 'all'")


def own_functions(con):
    """Names of the functions whose answer is not the same in each shard. An error() is."""
    volatile = "SELECT function_name FROM duckdb_functions() WHERE stability = 'VOLATILE' AND function_name <> 'error'"
    return _OWN | {name for (name,) in con.execute(volatile).fetchall()}


def parse(con, manifest, own_functions, sql, values):
    """The Statement for a SELECT. `con`: a connection of the call's own to a database with the table, empty.

    Raises NotMergeable, ValueError for what DuckDB cannot parse or bind, or duckdb.InterruptException if somebody interrupts `con`.
    """
    try:
        prepare(con)
        tree = json.loads(con.execute("SELECT json_serialize_sql($1)", [sql]).fetchone()[0])
        if tree["error"] and tree["error_type"] == "not implemented":
            raise NotMergeable("only a SELECT is sent to the shards; append, delete and replace_shard change them")
        if tree["error"]:
            raise ValueError(f"{tree['error_message']}: {sql}")
        if len(tree["statements"]) != 1:
            raise NotMergeable(f"one statement at a time: these are {len(tree['statements'])}")
        node = tree["statements"][0]["node"]
        if node["type"] != "SELECT_NODE":
            raise NotMergeable("a set operation compares rows of all shards: send its sides one by one")
        _check_values(sql, tree, values)
        limit, offset = _bounds(node)
        _check_plan(_explain(con, sql, values), node, manifest)
        _check_columns(node, manifest)
        _check_functions(node, own_functions)
        return _split(con, tree, values, limit, offset)
    except duckdb.InterruptException:
        raise
    except duckdb.Error as error:
        raise ValueError(f"{error}") from None


def _check_values(sql, tree, values):
    wanted = {entry["key"] for entry in tree["statements"][0]["named_param_map"]}
    if _LIMIT in map(str.lower, wanted):
        raise ValueError(f"values: ${_LIMIT} is the name of the rows that a shard is asked for; choose another")
    if any(name.isdigit() for name in wanted):
        raise ValueError("values have names here: write $name in the statement, not ? or $1, and give {'name': value}")
    if wanted != set(values):
        raise ValueError(f"the statement has the parameters {sorted(wanted)}, and values were given for {sorted(values)}: {sql}")


def _explain(con, sql, values):
    rows = con.execute(f"EXPLAIN (FORMAT json) {sql}", values or None).fetchall()
    (plan,) = [plan for kind, plan in rows if kind == "logical_plan"]
    return json.loads(plan)[0]


def _check_plan(operator, node, manifest):
    """Raises NotMergeable unless the plan is a scan of the table, what is distributive, and the statement's own order and limit."""
    path, named = [], {}
    while operator["children"] or operator["name"] == "CTE_SCAN":
        name, children, info = operator["name"], operator["children"], operator["extra_info"]
        if name == "CTE":
            named[info["Table Index"]], operator = children
        elif name == "CTE_SCAN":
            operator = named[info["CTE Index"]]
        elif name == "COMPARISON_JOIN" and info["Join Type"] == "MARK" and _reads_no_table(children[1]):
            # a condition on each row: x = ANY([1, 2])
            operator = children[0]
        elif len(children) > 1:
            help = "fetch the rows first, then join (and write list_contains(list, x) for x = ANY(list))"
            raise NotMergeable(f"joins and subqueries may need rows of other shards ({name}): {help}")
        else:
            path.append(name)
            (operator,) = children
    if operator["name"] != "SEQ_SCAN" or not operator["extra_info"].get("Table", "").endswith(f".main.{manifest.table}"):
        raise NotMergeable(f"FROM {manifest.table}, the table of the shards, is what can be asked for")
    ends = [place for place, name in enumerate(path) if name in ("LIMIT", "ORDER_BY")]
    below = path[ends[-1] + 1 :] if ends else path
    above = path[: ends[0]] if ends else []
    for name in path:
        if name not in _DISTRIBUTIVE | {"LIMIT", "ORDER_BY"}:
            reason = _REASONS.get(name, f"{name} is not the same on a part of the rows")
            raise NotMergeable(f"{reason}: fetch the rows, ordered and limited, and go on with the answer")
    middle = [path[place] for place in ends]
    own = [name for name, kind in (("LIMIT", "LIMIT_MODIFIER"), ("ORDER_BY", "ORDER_MODIFIER")) if _modifier(node, kind)]
    if middle != own or len(above) + len(middle) + len(below) != len(path):
        raise NotMergeable("an ORDER BY or LIMIT inside a subquery is one of each shard: only the outermost can be merged")
    if not set(above) <= {"PROJECTION"}:
        raise NotMergeable("a condition on rows that are limited already is one of each shard: only the outermost LIMIT can be merged")


def _reads_no_table(operator):
    while operator["name"] in _DISTRIBUTIVE and len(operator["children"]) == 1:
        (operator,) = operator["children"]
    return operator["name"] == "DUMMY_SCAN"


def _check_functions(node, own_functions):
    for call in _walk(node, "FUNCTION"):
        name = call["function_name"].lower()
        if name in own_functions:
            raise NotMergeable(f"{name}() is another in each shard: call it here, and give its result as a value")


def _check_columns(node, manifest):
    """Names that DuckDB gives a meaning where the table has no such column."""
    reasons = {
        "rowid": f"rowid counts the rows of one shard: use the key, {manifest.key}",
        "current_catalog": "current_catalog is another in each shard: ask for it here, and give it as a value",
    }
    columns = {name.lower() for name in manifest.columns}
    for reference in _walk(node, "COLUMN_REF"):
        name = reference["column_names"][-1].lower()
        if name in reasons and name not in columns:
            raise NotMergeable(reasons[name])


def _walk(tree, kind):
    """All expressions of a class in a tree."""
    if isinstance(tree, dict):
        if tree.get("class") == kind:
            yield tree
        tree = list(tree.values())
    if isinstance(tree, list):
        for child in tree:
            yield from _walk(child, kind)


def _modifier(node, kind):
    """The ORDER BY or the LIMIT of a SELECT, or None."""
    return next((modifier for modifier in node["modifiers"] if modifier["type"] == kind), None)


def _bounds(node):
    """LIMIT and OFFSET of a SELECT, each a number, the name of a value, or None."""
    limits = _modifier(node, "LIMIT_MODIFIER")
    if not limits:
        return None, None
    if limits["limit_type"] != "ROW_COUNT":
        raise NotMergeable("a LIMIT in percent is one of each shard: give a number of rows")
    limit, offset = _bound("LIMIT", limits["limit"]), _bound("OFFSET", limits["offset"])
    if limit is None and offset is not None:
        raise NotMergeable("an OFFSET without a LIMIT would fetch all rows of all shards: add a LIMIT")
    return limit, offset


def _split(con, tree, values, limit, offset):
    """The shard's statement, and the merge."""
    node = tree["statements"][0]["node"]
    limits = _modifier(node, "LIMIT_MODIFIER")
    order_by = _modifier(node, "ORDER_MODIFIER")
    orders = order_by["orders"] if order_by else []
    plain = copy.deepcopy(tree)
    plain["statements"][0]["node"]["modifiers"] = []
    names = [column[0] for column in _described(con, plain, values)]
    # What a shard answers: the columns, then the order's keys that are none of these.
    keys, added = [], 0
    for order in orders:
        expression = order["expression"]
        if expression["class"] == "STAR":
            keys += [(f"c{place}", order) for place in range(len(names))]
            continue
        place = _place(expression, names)
        if place is None:
            _check_names(expression, node, names)
            place = len(names) + added
            node["select_list"].append({**copy.deepcopy(expression), "alias": f"shards_order_{place}"})
            added += 1
        keys.append((f"c{place}", order))
    if limit is not None:
        limits["limit"] = {"class": "PARAMETER", "type": "VALUE_PARAMETER", "alias": "", "identifier": _LIMIT}
        if offset is not None:
            # an OFFSET of 0 tells the index that this is a page: all pages are searched with one width
            limits["offset"] = {"class": "CONSTANT", "type": "VALUE_CONSTANT", "alias": "", "literal": {"kind": "INTEGER", "text": "0"}}
    shard = con.execute("SELECT json_deserialize_sql($1)", [json.dumps(tree)]).fetchone()[0]
    needs = _parameters(tree)
    described = con.execute(shard, {name: 0 if name == _LIMIT else values[name] for name in needs} or None).description
    collated = any(_walk(tree, "COLLATE"))
    for key, _ in keys:
        # Arrow carries neither the order of an ENUM nor a collation, whichever part of the statement has given it to the key
        type = str(described[int(key[1:])][1])
        if "ENUM(" in type:
            raise NotMergeable("the order of an ENUM is not known to the merge: cast it, to VARCHAR or to a number")
        if "VARCHAR" in type and collated:
            raise NotMergeable("COLLATE in a statement that orders by texts is not known to the merge: write lower(…) in its place")
    directions = {"ASCENDING": " ASC", "DESCENDING": " DESC", "ORDER_DEFAULT": ""}
    nulls = {"NULLS FIRST": " NULLS FIRST", "NULLS LAST": " NULLS LAST", "ORDER_DEFAULT": ""}
    merge = ", ".join(f"{key}{directions[order['type']]}{nulls[order['null_order']]}" for key, order in keys)
    return Statement(tuple(names), shard, f" ORDER BY {merge}" if merge else "", needs, limit, offset)


def _described(con, tree, values):
    """Names and types of a statement's columns, without its ORDER BY and LIMIT."""
    sql = con.execute("SELECT json_deserialize_sql($1)", [json.dumps(tree)]).fetchone()[0]
    return con.execute(sql, {name: values[name] for name in _parameters(tree)} or None).description


def _parameters(tree):
    return tuple(sorted({parameter["identifier"] for parameter in _walk(tree, "PARAMETER")}))


def _checked_rows(what, value):
    """The value of a LIMIT or OFFSET, if it can be one."""
    if not isinstance(value, int) or isinstance(value, bool) or not 0 <= value <= MOST:
        raise ValueError(f"{what} {value!r}: give a whole number of rows, from 0 on, below 2^63")
    return value


def _bound(what, expression):
    """A LIMIT or OFFSET: a number, the name of a value, or None."""
    if expression is None:
        return None
    if expression["class"] == "PARAMETER":
        return expression["identifier"]
    if expression["class"] == "CONSTANT" and expression["literal"]["kind"] == "INTEGER":
        return _checked_rows(what, int(expression["literal"]["text"]))
    if expression["class"] == "CONSTANT" and expression["literal"]["kind"] == "NULL_LITERAL":
        return None
    raise NotMergeable("LIMIT and OFFSET are numbers or parameters here")


def _place(expression, names):
    """The column of the answer that an ORDER BY names, by its number or its name; None if it is another expression."""
    if expression["class"] == "CONSTANT" and expression["literal"]["kind"] == "INTEGER":
        return int(expression["literal"]["text"]) - 1
    if expression["class"] == "COLUMN_REF" and len(expression["column_names"]) == 1:
        wanted = expression["column_names"][0].lower()
        places = [place for place, name in enumerate(names) if name.lower() == wanted]
        if len(places) > 1:
            raise NotMergeable(f"ORDER BY {expression['column_names'][0]}: {len(places)} columns of the answer have this name")
        return places[0] if places else None
    return None


def _check_names(expression, node, names):
    """Inside an expression, a name of the answer may mean another column in the list than in ORDER BY."""
    aliases = {entry["alias"].lower() for entry in node["select_list"] if entry.get("alias")}
    for reference in _walk(expression, "COLUMN_REF"):
        if len(reference["column_names"]) == 1 and reference["column_names"][0].lower() in aliases:
            raise NotMergeable(
                f"ORDER BY computes with {reference['column_names'][0]}, a name of the answer: give that expression a name, too, "
                "and order by it"
            )
