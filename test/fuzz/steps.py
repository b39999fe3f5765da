"""What a sequence is made of. Steps are plain data, so that a shrunk sequence can leave some out."""

import dataclasses

#: DuckDB 2.0.0 answers wrongly, fails, or crashes with these, where they meet NULLs or deletions.
BAD_OPTIMIZERS = "late_materialization,top_n_window_elimination"
WITHOUT_INDEX = f"extension,{BAD_OPTIMIZERS}"


@dataclasses.dataclass
class Statement:
    """SQL on one connection. Conflicts between transactions end the transaction; they are no finding."""

    connection: int
    sql: str
    #: Rows of a VALUES list that follow `sql`, so that shrinking can drop some.
    rows: list = dataclasses.field(default_factory=list)
    #: The name of a transaction step: BEGIN, COMMIT or ROLLBACK. Skipped where it has no meaning.
    transaction: str = ""

    def text(self):
        return self.sql + ", ".join(self.rows)


@dataclasses.dataclass
class Query:
    """A query and what its answer is compared with."""

    connection: int
    shape: str
    #: Columns: `g` the group, if there are any; `id` a row of the table, or a list of them; `d` its distance; others
    #: are ignored.
    sql: str
    #: All rows that the answer may hold: columns g, id, d.
    all_rows: str
    #: The order of rows counts, not only their distances: nothing is left to chance.
    strict: bool = False
    #: The order of rows within a group counts.
    ordered: bool = True
    #: Statements that both runs need; on the same connection.
    prelude: list = dataclasses.field(default_factory=list)
    #: Statements that end what those of the prelude have begun.
    postlude: list = dataclasses.field(default_factory=list)
    #: Values of the parameters of the client's API.
    parameters: dict = dataclasses.field(default_factory=dict)
    #: The query whose answer without the index counts, where it is not `sql` itself.
    oracle: str = ""


@dataclasses.dataclass
class Audit:
    """Every index agrees with its table, as a new transaction sees both."""

    #: SQL of the table, and of the key of each index by name.
    table: str
    keys: dict


@dataclasses.dataclass
class Reopen:
    """Closes the database file, which ends all transactions, and opens it again."""
