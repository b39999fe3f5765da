"""Latency of the feed under load, seen from outside: runs in a process of its own, with some clients at once.

    python measure.py http://127.0.0.1:8000 queries.parquet [clients] [seconds]
"""

import sys
import threading
import time

import duckdb
import httpx
import numpy as np


def measure(url, queries, clients=4, seconds=5.0):
    """Seconds of each request, all of which were answered with a full page."""
    vectors = [v for (v,) in duckdb.execute("SELECT embedding FROM read_parquet($1)", [queries]).fetchall()]
    end = time.perf_counter() + seconds
    taken, failures = [], []

    def client(number):
        with httpx.Client(base_url=url) as http:
            turn = number
            while time.perf_counter() < end and not failures:
                body = {"offset": 10 * (turn % 5), "limit": 10, "embedding": vectors[turn % len(vectors)]}
                start = time.perf_counter()
                answer = http.post("/feed", json=body)
                taken.append(time.perf_counter() - start)
                if answer.status_code != 200 or len(answer.json()["items"]) != 10:
                    failures.append(answer.text)
                turn += clients

    threads = [threading.Thread(target=client, args=(number,)) for number in range(clients)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    if failures:
        raise RuntimeError(f"a request failed: {failures[0]}")
    return taken


if __name__ == "__main__":
    if len(sys.argv) < 3:
        sys.exit(__doc__)
    clients = int(sys.argv[3]) if len(sys.argv) > 3 else 4
    seconds = float(sys.argv[4]) if len(sys.argv) > 4 else 5.0
    taken = measure(*sys.argv[1:3], clients, seconds)
    p50, p99 = np.percentile(taken, [50, 99]) * 1000
    print(f"{clients} clients, {len(taken)} requests in {seconds:g} s: p50 {p50:.1f} ms, p99 {p99:.1f} ms")
