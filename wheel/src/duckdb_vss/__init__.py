"""Vector similarity search for DuckDB: an HNSW index type, loaded into a connection of the `duckdb` package.

    import duckdb_vss

    con = duckdb_vss.connect("items.db")    # as duckdb.connect; or duckdb_vss.load(con) for a connection that is open

Nothing is downloaded, and extensions without a signature stay forbidden: the wheel carries signed files, one for each version of
DuckDB, and the key that they are signed with.
"""

import contextlib
import fcntl
import json
import os
import pathlib
import re

import duckdb

__all__ = ["REPOSITORY", "AlreadyLoaded", "NotAllowed", "NotSupported", "NotWritable", "connect", "load"]

_FOLDER = pathlib.Path(__file__).resolve().parent
_WHEEL = json.loads((_FOLDER / "wheel.json").read_text())
#: DuckDB's name for this wheel's files: another one for each content, so that no file of an older wheel is taken for one of this.
_NAME = _WHEEL["repository"]

#: The folder of the signed files, for programs other than Python: CREATE EXTENSION REPOSITORY … WITH PREFIX '<this folder>'.
REPOSITORY = str(_FOLDER / "repository")
__version__ = _WHEEL["version"]

#: Settings of a database that say where it installs extensions and which keys it trusts.
_PLACES = ["extension_directory", "extension_directories", "extension_repository_directory", "home_directory"]


class NotSupported(RuntimeError):
    """This wheel has no file for the DuckDB that is running."""


class NotAllowed(RuntimeError):
    """The database's settings forbid to load extensions, or those that DuckDB's own keys did not sign."""


class NotWritable(RuntimeError):
    """DuckDB keeps extensions in a folder that cannot be written."""


class AlreadyLoaded(RuntimeError):
    """The database has loaded another extension of this name."""


def connect(database=":memory:", read_only=False, config=None, *, directory=None):
    """Opens a database as `duckdb.connect` does, with the extension loaded.

    `directory`: where to keep the extension and its key, in place of `~/.duckdb`, which may not be writable. Extensions that are
    installed in `~/.duckdb` are found all the same.
    """
    config = dict(config or {})
    if directory is not None:
        directory = pathlib.Path(directory).resolve()
        config.setdefault("extension_directories", [str(directory / "extensions"), "~/.duckdb/extensions"])
        config.setdefault("extension_repository_directory", str(directory / "extension_repositories"))
    con = duckdb.connect(database, read_only=read_only, config=config)
    try:
        return load(con)
    except BaseException:
        con.close()
        raise


def load(con=None):
    """Loads the extension into the database of a connection, and returns the connection; `duckdb`'s default one without.

    What the wheel brings is installed on first use, as DuckDB does it: a copy of 40 MiB in `~/.duckdb/extensions`, or where the
    database's settings say. No setting of the database is changed.
    """
    con = con or duckdb.default_connection()
    # A transaction of its own: an attempt that fails must not be the end of the caller's.
    with con.cursor() as cursor:
        _check_host(cursor)
        try:
            _load(cursor)
        except duckdb.Error:
            _check_policy(cursor)
            _install(cursor)
            _load(cursor)
        _check_loaded(cursor)
    return con


def _load(cursor):
    cursor.execute(f"LOAD vss FROM {_NAME}")


def _check_host(cursor):
    version, platform = _row(cursor, "SELECT library_version, (SELECT platform FROM pragma_platform()) FROM pragma_version()")
    root = pathlib.Path(REPOSITORY)
    if (root / version / platform / "vss.duckdb_extension.gz").is_file():
        return
    held = [file.parent for file in root.glob("*/*/vss.duckdb_extension.gz")]
    versions = sorted({folder.parent.name for folder in held}, key=lambda name: [int(part) for part in name[1:].split(".")])
    platforms = sorted({folder.name for folder in held})
    raise NotSupported(
        f"duckdb-vss {__version__} has no file for DuckDB {version} on {platform}, only for {', '.join(versions)} on "
        f"{', '.join(platforms)}. Install one of these, as in `pip install duckdb=={versions[-1][1:]}`, or another duckdb-vss"
    )


def _check_policy(cursor):
    access, external = _row(cursor, "SELECT current_setting('allow_extension_repositories'), current_setting('enable_external_access')")
    if not external:
        raise NotAllowed("enable_external_access is false in this database, so it loads no extension: load first, then set it to false")
    if access in ("forbidden", "hosts_only"):
        raise NotAllowed(
            f"allow_extension_repositories is '{access}' in this database, which trusts no key but DuckDB's own and those of hosts; "
            "duckdb-vss brings its own. Open the database without that setting, or with 'allowed'"
        )


def _install(cursor):
    """Lets DuckDB install the extension where the cursor's database looks for it.

    A database of its own does it: the setting that adding a repository needs cannot be taken back, and stays away from the
    caller's. Of several processes one installs, the others wait.
    """
    places = {name: _row(cursor, f"SELECT current_setting('{name}')")[0] for name in _PLACES}
    places = {name: value for name, value in places.items() if value}
    try:
        with _lock(places), duckdb.connect(config={**places, "allow_extension_repositories": "allowed"}) as installer:
            prefix = REPOSITORY.replace("'", "''")
            create = "EXTENSION REPOSITORY"
            _, known, _ = _row(installer, f"CREATE {create} IF NOT EXISTS {_NAME} WITH PREFIX '{prefix}'")
            if not os.path.isdir(known):
                # the same wheel, in an environment that is gone
                installer.execute(f"CREATE OR REPLACE {create} {_NAME} WITH PREFIX '{prefix}'")
            installer.execute(f"INSTALL vss FROM {_NAME}")
    except OSError as error:
        raise NotWritable(_not_writable(error)) from error
    except duckdb.IOException as error:
        if not re.search("Failed to create|Cannot open|Could not (write|rename|move)", str(error)):
            raise
        raise NotWritable(_not_writable(error)) from error


def _not_writable(error):
    return (
        f"DuckDB keeps extensions, and the keys that it trusts, in ~/.duckdb, or where extension_directories and "
        f"extension_repository_directory say, and cannot write there: {error}. Name a folder that can be written: "
        "duckdb_vss.connect(…, directory='…')"
    )


@contextlib.contextmanager
def _lock(places):
    """Held by one process at a time, for each folder of repositories."""
    folder = places.get("extension_repository_directory", "~/.duckdb/extension_repositories")
    if folder.startswith("~") and places.get("home_directory"):
        folder = places["home_directory"] + folder[1:]
    folder = os.path.expanduser(folder)
    os.makedirs(folder, exist_ok=True)
    handle = os.open(folder, os.O_RDONLY)
    try:
        fcntl.flock(handle, fcntl.LOCK_EX)
        yield
    finally:
        os.close(handle)


def _check_loaded(cursor):
    """Whether what is loaded is what this wheel brings: LOAD does nothing where any `vss` is loaded."""
    query = "SELECT extension_version, install_path FROM duckdb_extensions() WHERE extension_name = 'vss' AND loaded"
    version, path = _row(cursor, query)
    if version != f"v{__version__}":
        raise AlreadyLoaded(
            f"this database has loaded another vss, {version} {path}, where duckdb-vss has v{__version__}: an extension cannot be "
            "unloaded, so open the database again without LOAD vss"
        )


def _row(cursor, query):
    return cursor.execute(query).fetchone()
