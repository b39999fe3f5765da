"""Kills a process that works on a database file, again and again, and checks what the next one finds.

`python -m crash --extension build/in-host/2.0.1/vss.duckdb_extension --kills 1000` with `test` in PYTHONPATH, or `make crash`.
"""
