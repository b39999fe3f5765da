"""The Python wheel of DuckDB as a host for test/runner: lines of JSON on the standard streams (see src/child.rs).

Rows are rendered by DuckDB itself, cast to VARCHAR in a connection beside the test's own.
"""

import json
import os
import sys

import duckdb

CONFIG = {
    "allow_unsigned_extensions": "true",
    "autoinstall_known_extensions": "false",
    "autoload_known_extensions": "false",
    # switches of DuckDB's own verification
    **{name: "true" for name in os.environ.get("SQLLOGIC_VERIFY", "").split()},
}


class Database:
    """The database that is open, and its connections by name."""

    def __init__(self):
        self.root = None
        self.connections = {}

    def open(self, path, read_only):
        self.close()
        self.root = duckdb.connect(path or ":memory:", read_only=read_only, config=CONFIG)

    def close(self):
        for connection in self.connections.values():
            connection.close()
        self.connections = {}
        if self.root is not None:
            self.root.close()
            self.root = None

    def connect(self, name):
        # the old connection stays until there is a new one: an in-memory database lives as long as its connections
        old = self.connections.get(name)
        self.connections[name] = self.root.cursor()
        if old is not None:
            old.close()

    def execute(self, connection, sql, rows):
        connection = self.connections[connection]
        if rows and len(connection.extract_statements(sql)) != 1:
            raise ValueError("a query must hold exactly one statement")
        _, last, _ = connection._prepare_script(sql, None)
        if last is None:
            return None
        result = connection._submit(last)
        return self.rendered(result) if rows else result.drain()

    def rendered(self, result):
        """The rows of a result, each cell cast to VARCHAR by DuckDB."""
        viewer = self.root.cursor()
        held = viewer._register_collection(result)
        described = viewer.execute(f'FROM "{held.name}" LIMIT 0').description
        names = [f"c{number}" for number in range(len(described))]
        cells = ", ".join(f"CAST({name} AS VARCHAR)" for name in names)
        rows = viewer.execute(f'SELECT {cells} FROM "{held.name}" AS held({", ".join(names)})').fetchall()
        del held
        viewer.close()
        columns = [{"name": column[0], "type": str(column[1])} for column in described]
        return {"columns": columns, "cells": rows}


def answer(database, request):
    (verb, arguments), = request.items()
    try:
        rows = getattr(database, verb)(**arguments)
    except (duckdb.Error, ValueError) as error:
        return {"error": str(error)}
    return {"done": rows or {"columns": [], "cells": []}}


def main():
    database = Database()
    for line in sys.stdin:
        reply = json.dumps(answer(database, json.loads(line)))
        sys.stdout.write(f"\n@answer {reply}\n")
        sys.stdout.flush()
    database.close()


if __name__ == "__main__":
    main()
