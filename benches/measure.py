"""What the benchmarks measure in a process of their own: time and memory."""

import os
import time


def resident():
    """Bytes of this process in memory, by Linux's count."""
    with open("/proc/self/statm") as file:
        return int(file.read().split()[1]) * os.sysconf("SC_PAGE_SIZE")


def seconds(run):
    start = time.perf_counter()
    run()
    return time.perf_counter() - start
