"""A sample request: the items like one that the data has.

    python request.py items.parquet boat                          prints its body, for curl
    python request.py items.parquet boat http://127.0.0.1:8000    sends it, and prints the page
"""

import json
import sys

import duckdb
import httpx


def body(parquet, word, limit=5):
    """A request for the items nearest to one that has this word."""
    sql = "SELECT embedding FROM read_parquet($1) WHERE list_contains(words, $2) ORDER BY id LIMIT 1"
    found = duckdb.execute(sql, [parquet, word]).fetchall()
    if not found:
        sys.exit(f"no item of {parquet} has the word '{word}'")
    return {"offset": 0, "limit": limit, "embedding": list(found[0][0])}


if __name__ == "__main__":
    if len(sys.argv) not in (3, 4):
        sys.exit(__doc__)
    request = body(*sys.argv[1:3])
    if len(sys.argv) == 3:
        print(json.dumps(request))
    else:
        answer = httpx.post(sys.argv[3] + "/feed", json=request)
        answer.raise_for_status()
        for item in answer.json()["items"]:
            print(f"{item['distance']:.3f}  {item['words']}: {item['definition']}")
        print("next page from", answer.json()["next"])
