"""Whether the DuckDB of this Python can be the host of an in-host build: `python check_host.py VERSION`.

The build is linked against the shared library of DuckDB's wheel, and takes from it what DuckDB's headers declare.
"""

import ctypes
import sys

#: What the extension derives from: without these names the library hides its symbols, and the others are missing, too.
SYMBOLS = [
    "_ZTIN6duckdb10BoundIndexE",
    "_ZTIN6duckdb16PhysicalOperatorE",
    "_ZTIN6duckdb24LogicalExtensionOperatorE",
    "_ZTVN6duckdb21ColumnBindingResolverE",
]


def fault(wanted, version, library):
    """What is wrong with a host, in words; None if nothing is."""
    if version != wanted:
        return f"this is DuckDB {version}, not {wanted}: an extension is built for exactly one version"
    names = ctypes.CDLL(library)
    hidden = [symbol for symbol in SYMBOLS if not hasattr(names, symbol)]
    if hidden:
        return (
            f"{library} does not export {', '.join(hidden)}: this build of DuckDB hides the symbols that the extension is linked"
            " against. Use a wheel from PyPI, or `make release`, which compiles DuckDB"
        )
    return None


if __name__ == "__main__":
    import _duckdb
    import duckdb

    found = fault(sys.argv[1], duckdb.__version__, _duckdb.__file__)
    if found:
        sys.exit(found)
