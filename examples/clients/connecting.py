"""How a client that calls `duckdb.connect` itself gets a connection with this extension: `install()` before the client is imported.

Clients give settings of the extension to `duckdb.connect`, which knows them only once it is loaded, and execute `INSTALL vss`, which
should find this extension and not another of the same name.
"""

import contextlib
import os
import pathlib

import duckdb

_plain = duckdb.connect


def connect(database=":memory:", read_only=False, config=None):
    """A connection as `duckdb.connect` gives, with `vss` loaded: the file in `VSS_EXTENSION`, else the one that is installed."""
    config = dict(config or {})
    ours = {name: config.pop(name) for name in list(config) if name.startswith("hnsw_")}
    extension = os.environ.get("VSS_EXTENSION")
    if extension:
        config["allow_unsigned_extensions"] = True
        # `make in-host` leaves a repository beside it, from which INSTALL takes it; not into the home of whoever tries this
        folder = pathlib.Path(extension).resolve().parent
        config["custom_extension_repository"] = str(folder / "repository")
        config["extension_directory"] = str(folder / "installed")
    con = _plain(database, read_only=read_only, config=config)
    con.load_extension(extension or "vss")
    for name, value in ours.items():
        con.execute(f"SET GLOBAL {name} = {value}")
    return con


@contextlib.contextmanager
def installed():
    """`duckdb.connect` is `connect` meanwhile."""
    duckdb.connect = connect
    try:
        yield
    finally:
        duckdb.connect = _plain
