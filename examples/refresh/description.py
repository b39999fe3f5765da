"""What a YAML file says about datasets: in the names of this example, or as an acceleration engine's file says it."""

from dataclasses import dataclass, field

import yaml

#: Parameters of an acceleration engine → names of this example.
PARAMETERS = {
    "duckdb_metric": "distance_metric",
    "duckdb_distance_metric": "distance_metric",  # the later one wins
    "duckdb_hnsw_m": "hnsw_m",
    "duckdb_hnsw_ef_construction": "hnsw_ef_construction",
    "duckdb_hnsw_ef_search": "hnsw_ef_search",
}


@dataclass
class Dataset:
    """A dataset. What is None is left to the index, or found out from the source."""

    name: str
    source: str
    primary_key: str
    columns: list = field(default_factory=list)
    #: The column with the vectors.
    embedding: str = "embedding"
    #: The column that an embedder makes vectors of; None: the source has vectors.
    text: str | None = None
    dimensions: int | None = None
    distance_metric: str = "cosine"
    hnsw_m: int | None = None
    hnsw_ef_construction: int | None = None
    hnsw_ef_search: int | None = None
    refresh: str = "full"
    #: Whether it has an index.
    indexed: bool = True

    def __post_init__(self):
        if self.refresh not in ("full", "append"):
            raise ValueError(f"{self.name}: refresh is '{self.refresh}'; use 'full' or 'append'")
        for number in ["dimensions", "hnsw_m", "hnsw_ef_construction", "hnsw_ef_search"]:
            given = getattr(self, number)
            try:
                setattr(self, number, None if given is None else int(given))
            except ValueError:
                raise ValueError(f"{self.name}: {number} is '{given}'; use a whole number") from None

    @property
    def options(self):
        """Of CREATE INDEX, as SQL."""
        given = {"m": self.hnsw_m, "ef_construction": self.hnsw_ef_construction, "ef_search": self.hnsw_ef_search}
        numbers = [f"{name} = {value}" for name, value in given.items() if value is not None]
        return ", ".join([f"metric = {literal(self.distance_metric)}", *numbers])


def identifier(name):
    """A name as SQL may need it: `order`, `full` and `my-products` have quotes."""
    return '"' + name.replace('"', '""') + '"'


def literal(text):
    return "'" + text.replace("'", "''") + "'"


def read(path, data):
    """The datasets of a YAML file. `{data}` in it is the directory of the data."""
    with open(path) as file:
        return [described(d, data) for d in yaml.safe_load(file)["datasets"]]


def described(given, data="."):
    """One dataset, from the mapping that describes it."""
    given, name = dict(given), given.get("name", "a dataset")
    result = {}
    for block, params_may_be_others in [("acceleration", True), ("vectors", False)]:
        result |= of_block(name, block, given.pop(block, None) or {}, params_may_be_others, result)
    if "from" in given:
        result["source"] = source(name, given.pop("from"))
    result |= {new: given.pop(old) for old, new in PARAMETERS.items() if old in given}
    result |= of_columns(given.pop("columns", []))
    unknown = given.keys() - Dataset.__dataclass_fields__.keys()
    if unknown:
        known = ", ".join([*Dataset.__dataclass_fields__, "from", "acceleration", "vectors", *PARAMETERS])
        raise ValueError(f"{name}: there is no '{sorted(unknown)[0]}'; the names are {known}")
    result |= given
    for needed in ["name", "source", "primary_key"]:
        if needed not in result:
            raise ValueError(f"{name}: {needed} is missing")
    return Dataset(**result | {"source": result["source"].replace("{data}", str(data))})


def of_block(name, block, given, params_may_be_others, before):
    """What `acceleration:` or `vectors:` says. If `vectors:` has parameters, those of `acceleration:` do not count."""
    if given.get("engine", "duckdb") != "duckdb":
        raise ValueError(f"{name}: {block}.engine is '{given['engine']}'; here it is 'duckdb'")
    params = given.get("params") or {}
    unknown = params.keys() - PARAMETERS.keys()
    if unknown and not params_may_be_others:
        known = ", ".join(PARAMETERS)
        raise ValueError(f"{name}: {block}.params has no '{sorted(unknown)[0]}'; the names are {known}")
    result = {new: params[old] for old, new in PARAMETERS.items() if old in params}
    if result and block == "vectors":
        for overridden in set(PARAMETERS.values()) & before.keys():
            del before[overridden]
    if block == "vectors":
        result["indexed"] = given.get("enabled", True)
    if "refresh_mode" in given:
        result["refresh"] = given["refresh_mode"]
    if "primary_key" in given:
        result["primary_key"] = given["primary_key"]
    return result


def source(name, given):
    if not given.startswith("file:"):
        raise ValueError(f"{name}: from is '{given}'; here it is file:<path>, or source: <what DuckDB reads>")
    return literal(given.removeprefix("file:"))


def of_columns(given):
    """Names, or mappings with a name; one of them may have `embeddings`, of which the first counts."""
    result = {"columns": []}
    for column in given:
        if isinstance(column, str):
            result["columns"].append(column)
            continue
        result["columns"].append(column["name"])
        for embeddings in column.get("embeddings", [])[:1]:
            result |= {"text": column["name"], "embedding": f"{column['name']}_embedding"}
            if "row_id" in embeddings:
                result["primary_key"] = embeddings["row_id"]
    return result
