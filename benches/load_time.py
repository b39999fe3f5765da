"""How long LOAD takes: the first time in a process, and again. `python benches/load_time.py [extension]`."""

import statistics
import sys
import time

import duckdb

EXTENSION = sys.argv[1] if len(sys.argv) > 1 else "build/release/vss.duckdb_extension"


def load():
    con = duckdb.connect(config={"allow_unsigned_extensions": "true"})
    start = time.perf_counter()
    con.load_extension(EXTENSION)
    elapsed = (time.perf_counter() - start) * 1000
    con.close()
    return elapsed


first = load()
again = [load() for _ in range(9)]
print(f"LOAD: {first:.1f} ms the first time, {statistics.median(again):.1f} ms again (median of {len(again)})")
