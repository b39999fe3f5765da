"""Everything at once: random threads work on a database, then the index is compared with its table.

`python -m chaos --extension build/in-host/2.0.1/vss.duckdb_extension --minutes 60` with `test` in PYTHONPATH, or `make chaos`.
"""
