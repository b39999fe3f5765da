"""The feed over HTTP, in a process of its own."""

import concurrent.futures
import json
import os
import pathlib
import re
import shlex
import socket
import subprocess
import sys
import threading
import time

import duckdb
import httpx
import load
import pytest

FEED = pathlib.Path(load.__file__).parent


@pytest.fixture(scope="module")
def database(dataset, tmp_path_factory):
    link = tmp_path_factory.mktemp("feed") / "feed.db"
    load.load(dataset / "words.parquet", link)
    return link


@pytest.fixture(scope="module")
def url(database):
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    server = subprocess.Popen(
        [sys.executable, "-m", "uvicorn", "--factory", "service:create_app", "--port", str(port), "--log-level", "error"],
        cwd=FEED,
        env=os.environ | {"FEED_DATABASE": str(database)},
    )
    url = f"http://127.0.0.1:{port}"
    try:
        wait_until(lambda: answers(url), 30)
        yield url
    finally:
        server.terminate()
        server.wait()


def answers(url):
    try:
        return httpx.get(url + "/health").status_code == 200
    except httpx.TransportError:
        return False


def wait_until(condition, seconds):
    end = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < end, "waited in vain"
        time.sleep(0.1)


@pytest.fixture
def http(url):
    with httpx.Client(base_url=url, timeout=30) as http:
        yield http


@pytest.fixture
def page(http):
    """Reads a page; filters as keywords."""

    def page(embedding, offset=0, limit=10, **filters):
        answer = http.post("/feed", json={"offset": offset, "limit": limit, "embedding": embedding}, params=filters)
        assert answer.status_code == 200, answer.text
        return answer.json()

    return page


def exact(dataset, embedding, limit, where="true"):
    """Ids of the nearest rows, without the extension."""
    sql = f"""
        SELECT id FROM '{dataset}/words.parquet' WHERE {where}
        ORDER BY array_cosine_distance(embedding::FLOAT[384], $embedding::FLOAT[384]) LIMIT {limit}
    """
    return [row for (row,) in duckdb.execute(sql, {"embedding": embedding}).fetchall()]


def test_pages_tile(page, dataset, vectors):
    for vector in vectors[:5]:
        items, offset = [], 0
        for limit in [1, 7, 100, 100, 92, 100, 99, 1]:
            answer = page(vector, offset, limit)
            assert len(answer["items"]) == limit
            items += answer["items"]
            offset += limit
            assert answer["next"] == (offset if offset < 500 else None)
        ids = [item["id"] for item in items]
        distances = [item["distance"] for item in items]
        assert len(set(ids)) == 500
        assert distances == sorted(distances)
        assert len(set(ids) & set(exact(dataset, vector, 500))) >= 490


def test_last_page(page, dataset):
    category, rows = duckdb.execute(
        f"SELECT category, count(*) AS rows FROM '{dataset}/words.parquet' GROUP BY category HAVING rows > 20 ORDER BY rows LIMIT 1"
    ).fetchone()
    vector = [1.0] + [0.0] * 383
    answer = page(vector, rows - 5, 10, category=category)
    assert (len(answer["items"]), answer["next"]) == (5, None)
    assert page(vector, rows + 100, 10, category=category) == {"items": [], "next": None}


def test_filters(page, dataset, vectors):
    for category, part in duckdb.execute(
        f"SELECT category, any_value(part_of_speech) FROM '{dataset}/words.parquet' GROUP BY category ORDER BY category LIMIT 8"
    ).fetchall():
        found = page(vectors[0], limit=10, category=category, part_of_speech=part)["items"]
        where = f"category = '{category}' AND part_of_speech = '{part}'"
        assert {(item["category"], item["part_of_speech"]) for item in found} == {(category, part)}
        assert len({item["id"] for item in found} & set(exact(dataset, vectors[0], 10, where))) >= len(found) - 1
    # a value is a value, whatever is in it
    assert page(vectors[0], category="' OR true --")["items"] == []


@pytest.mark.parametrize(
    ("changes", "reason"),
    [
        ({"embedding": [0.5] * 383}, "embedding: .*at least 384 items"),
        ({"embedding": [0.5] * 385}, "embedding: .*at most 384 items"),
        ({"embedding": [0.5] * 383 + [float("nan")]}, "embedding.383: .*finite"),
        ({"embedding": [float("inf")] + [0.5] * 383}, "embedding.0: .*finite"),
        ({"embedding": [1e39] + [0.5] * 383}, "embedding.0: .*less than"),
        ({"embedding": [0.0] * 384}, "embedding: .*all elements are 0"),
        ({"embedding": ["a"] * 384}, "embedding.0: .*valid number"),
        ({"embedding": None}, "embedding: .*valid list"),
        ({"offset": -1}, "offset: .*greater than or equal to 0"),
        ({"offset": 1.5}, "offset: .*valid integer"),
        ({"offset": 491}, "body: .*offset \\+ limit is 501; a feed has 500 items"),
        ({"offset": 10**30}, "body: .*a feed has 500 items"),
        ({"limit": 0}, "limit: .*greater than or equal to 1"),
        ({"limit": 101}, "limit: .*less than or equal to 100"),
    ],
)
def test_bad_body(http, changes, reason):
    body = {"embedding": [0.5] * 384, "offset": 0, "limit": 10} | changes
    # Python writes and reads NaN and Infinity, which are no JSON; so do some clients
    answer = http.post("/feed", content=json.dumps(body), headers={"Content-Type": "application/json"})
    assert answer.status_code == 422
    assert re.search(reason, answer.json()["errors"][0]), answer.text


@pytest.mark.parametrize("body", ["", "{", "[]", "null", '{"offset": 0}'])
def test_no_page(http, body):
    answer = http.post("/feed", content=body, headers={"Content-Type": "application/json"})
    assert answer.status_code == 422
    assert answer.json()["errors"]


def test_requests_beside_each_other(page, vectors):
    alone = [page(vector) for vector in vectors[:40]]
    with concurrent.futures.ThreadPoolExecutor(8) as pool:
        assert list(pool.map(page, vectors[:40])) == alone


def test_measured_from_another_process(url, dataset):
    command = [sys.executable, FEED / "measure.py", url, dataset / "queries.parquet", "4", "1"]
    printed = subprocess.run(command, check=True, capture_output=True, text=True).stdout
    assert re.fullmatch(r"4 clients, [1-9]\d* requests in 1 s: p50 [\d.]+ ms, p99 [\d.]+ ms\n", printed)


def test_sample_request(url, http, dataset):
    """As README.md shows it: sent by the script, and as a body for curl."""
    word = duckdb.execute(f"SELECT words[1] FROM '{dataset}/words.parquet' ORDER BY id LIMIT 1").fetchall()[0][0]
    command = [sys.executable, FEED / "request.py", dataset / "words.parquet", word]
    page = subprocess.run([*command, url], check=True, capture_output=True, text=True).stdout.splitlines()
    assert len(page) == 6 and page[-1] == "next page from 5"
    assert page[0].startswith("0.000  ") and word in page[0]
    body = subprocess.run(command, check=True, capture_output=True, text=True).stdout
    answer = http.post("/feed?category=noun.artifact", content=body, headers={"Content-Type": "application/json"})
    assert answer.status_code == 200
    assert {item["category"] for item in answer.json()["items"]} == {"noun.artifact"} and len(answer.json()["items"]) == 5
    missing = subprocess.run([*command[:-1], "no such word"], capture_output=True, text=True)
    assert missing.returncode == 1 and missing.stderr.endswith("has the word 'no such word'\n")


def test_new_day(page, http, database, dataset, vectors, tmp_path):
    """The job swaps the file below a service that is being asked."""
    duckdb.execute(f"COPY (FROM '{dataset}/words.parquet' WHERE id % 2 = 0) TO '{tmp_path}/fewer.parquet'")
    stopped, read = threading.Event(), []

    def ask():
        while not stopped.is_set():
            read.append(len(page(vectors[len(read) % len(vectors)])["items"]))

    with concurrent.futures.ThreadPoolExecutor(2) as pool:
        asking = [pool.submit(ask) for _ in range(2)]
        new = load.load(tmp_path / "fewer.parquet", database)
        try:
            wait_until(lambda: http.get("/health").json()["database"] == new.name, 30)
        finally:
            stopped.set()
        for result in asking:
            result.result()
    assert set(read) == {10}
    assert all(item["id"] % 2 == 0 for vector in vectors[:10] for item in page(vector)["items"])

    # the link leads to something that is no database: the feed stays with what it has
    broken = database.with_name("broken.db")
    broken.write_bytes(b"not a database")
    fresh = database.with_name("fresh")
    fresh.symlink_to(broken.name)
    fresh.replace(database)
    time.sleep(2)
    assert http.get("/health").json()["database"] == new.name
    assert len(page(vectors[0])["items"]) == 10


def test_job_keeps_two_files(dataset, tmp_path):
    duckdb.execute(f"COPY (FROM '{dataset}/words.parquet' LIMIT 10) TO '{tmp_path}/few.parquet'")
    written = [load.load(tmp_path / "few.parquet", tmp_path / "feed.db") for _ in range(3)]
    assert sorted(tmp_path.glob("feed-*")) == written[1:]
    assert (tmp_path / "feed.db").resolve() == written[2].resolve()


def test_image_installs_the_extension(extension, tmp_path):
    """The line of the Dockerfile that installs the extension, with the repository of this build; then LOAD by name."""
    repository = extension.parent / "repository"
    lines = (FEED / "Dockerfile").read_text().splitlines()
    install = next(line.removeprefix("RUN ") for line in lines if "INSTALL vss" in line)
    python, *arguments = shlex.split(install.replace("/tmp/repository", str(repository)))
    environment = os.environ | {"HOME": str(tmp_path)}
    subprocess.run([sys.executable, *arguments], check=True, env=environment)
    loads = "import duckdb; duckdb.connect(config={'allow_unsigned_extensions': 'true'}).load_extension('vss')"
    subprocess.run([sys.executable, "-c", loads], check=True, env=environment)
