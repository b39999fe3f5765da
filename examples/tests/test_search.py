"""The page to try it: the service, then the page in a browser."""

import concurrent.futures
import re
import threading
import time

import browser
import httpx
import pytest
import search
import uvicorn

WORDS = "a small boat for fishing"
CATEGORY, CATEGORY_ROWS = "noun.feeling", 74


@pytest.fixture(scope="module")
def url(extension, model_folder):
    """The service, in a thread of this process."""
    server = uvicorn.Server(uvicorn.Config(search.create_app(model_folder), port=0, log_level="error"))
    thread = threading.Thread(target=server.run)
    thread.start()
    try:
        end = time.monotonic() + 30
        while not server.started:
            assert time.monotonic() < end and thread.is_alive(), "the server does not start"
            time.sleep(0.05)
        yield f"http://127.0.0.1:{server.servers[0].sockets[0].getsockname()[1]}/"
    finally:
        server.should_exit = True
        thread.join()


@pytest.fixture(scope="module")
def http(url):
    with httpx.Client(base_url=url, timeout=60) as http:
        yield http


@pytest.fixture
def ask(http):
    def ask(q=WORDS, **parameters):
        answer = http.get("/search", params={"q": q} | parameters)
        assert answer.status_code == 200, answer.text
        return answer.json()

    return ask


@pytest.mark.parametrize("category", [None, CATEGORY])
def test_served_from_the_index(ask, category):
    answer = ask(category=category or "")
    assert answer["index"] == {"name": "by_own_embedding", "operator": "HNSW_INDEX_SCAN", "reason": None}
    assert "Hnsw Index Scan" in answer["plan"] and ("Hnsw Filter" in answer["plan"]) == bool(category)
    assert answer["sql"].startswith("SELECT") and answer["ms"] > 0 and answer["exact"] is None


def test_found(ask):
    items = ask()["items"]
    assert items[0]["words"] == "small boat" and items[0]["category"] == "noun.artifact"
    assert [item["distance"] for item in items] == sorted(item["distance"] for item in items)


@pytest.mark.parametrize("words", [WORDS, "to feel sad after a loss", "'; DROP TABLE words; --", "\N{SNOWMAN}", "\0", "x " * 500])
def test_compared_with_exact(ask, words):
    for page in [1, 2, 50]:
        answer = ask(words, page=page, compare=True)
        assert answer["exact"]["same"] >= 9 and answer["exact"]["ms"] > 0
    assert answer["index"]["operator"] == "HNSW_INDEX_SCAN"


def test_the_comparison_does_without_the_index(http, monkeypatch):
    """And the search beside it does not."""
    plans, nearest = [], search.nearest

    def explain(cursor, sql, values):
        plans.append(cursor.execute("EXPLAIN " + sql, values).fetchall()[0][1])
        return nearest(cursor, sql, values)

    monkeypatch.setattr(search, "nearest", explain)
    http.get("/search", params={"q": WORDS, "compare": True})
    assert ["Hnsw" in plan for plan in plans] == [True, False]


def test_pages_tile(ask):
    first = ask(category=CATEGORY)
    assert (first["rows"], first["page"], first["pages"]) == (CATEGORY_ROWS, 1, 8)
    pages = [ask(category=CATEGORY, page=page)["items"] for page in range(1, 9)]
    assert [len(page) for page in pages] == [10] * 7 + [4]
    items = sum(pages, [])
    assert len({item["id"] for item in items}) == CATEGORY_ROWS and {item["category"] for item in items} == {CATEGORY}
    # of all categories: to the deepest row
    assert ask()["pages"] == 50
    items = sum((ask(page=page)["items"] for page in range(1, 51)), [])
    assert len({item["id"] for item in items}) == 500
    assert [item["distance"] for item in items] == sorted(item["distance"] for item in items)


def test_categories(http):
    categories = http.get("/categories").json()
    assert {"category": CATEGORY, "rows": CATEGORY_ROWS} in categories
    assert len(categories) == 45 and sum(category["rows"] for category in categories) == 20_340


@pytest.mark.parametrize(
    ("parameters", "reason"),
    [
        ({"q": ""}, "q: there are no words in it"),
        ({"q": " \n"}, "q: there are no words in it"),
        ({}, "q: Field required"),
        ({"q": "x" * 1001}, "q: .*at most 1000 characters"),
        ({"q": "boat", "page": 0}, "page: .*greater than or equal to 1"),
        ({"q": "boat", "page": 51}, "page: 51 is beyond the end; use 1 to 50"),
        ({"q": "boat", "page": 9, "category": CATEGORY}, "page: 9 is beyond the end; use 1 to 8"),
        ({"q": "boat", "page": 10**30}, "page: 10+ is beyond the end"),
        ({"q": "boat", "page": "two"}, "page: .*valid integer"),
        ({"q": "boat", "category": "noun.nothing"}, "category: 'noun.nothing' is unknown; use one of adj.all, .*verb.weather"),
        ({"q": "boat", "category": "' OR true --"}, "category: .* is unknown"),
        ({"q": "boat", "compare": "perhaps"}, "compare: .*valid boolean"),
    ],
)
def test_bad_input(http, parameters, reason):
    answer = http.get("/search", params=parameters)
    assert answer.status_code == 422
    assert re.match(reason, answer.json()["errors"][0]), answer.text


def test_searches_beside_each_other(ask):
    """Comparisons are among them: they leave the index to the others."""
    texts = ["boat", "rain", "sadness", "music"]
    alone = [ask(text)["items"] for text in texts]
    with concurrent.futures.ThreadPoolExecutor(4) as pool:
        answers = list(pool.map(lambda i: ask(texts[i % 4], compare=i % 2 == 0), range(24)))
    for i, answer in enumerate(answers):
        assert answer["items"] == alone[i % 4] and answer["index"]["operator"] == "HNSW_INDEX_SCAN"


def test_the_page_loads_nothing_from_elsewhere(http):
    page = http.get("/")
    assert page.status_code == 200 and page.headers["content-type"].startswith("text/html")
    assert "//" not in re.sub(r"^ *// .*$", "", page.text, flags=re.MULTILINE) and "innerHTML" not in page.text
    assert http.get("/docs").status_code == http.get("/redoc").status_code == 404


@pytest.fixture(scope="module")
def chromium(tmp_path_factory):
    if not browser.program():
        pytest.skip("Chromium is missing: Debian, Ubuntu: apt install chromium")
    chromium = browser.Browser(tmp_path_factory.mktemp("profile"))
    yield chromium
    chromium.close()


SHOWN = "document.querySelectorAll('#items tr').length"
TEXT = "document.getElementById('{}').textContent"


def cells(chromium, column):
    return chromium.evaluate(f"[...document.querySelectorAll('#items td:nth-child({column})')].map(cell => cell.textContent)")


def test_typed_in_a_browser(chromium, url, ask):
    """Words, Enter; then the next page, and a category."""
    chromium.open(url)
    chromium.wait_for("document.activeElement.name == 'q' && document.forms[0].category.length == 46")
    assert chromium.evaluate("document.querySelector('main').hidden")
    chromium.type(WORDS)
    chromium.press_enter()
    chromium.wait_for(f"{SHOWN} == 10")
    assert cells(chromium, 2) == [item["words"] for item in ask()["items"]]
    assert cells(chromium, 1) == [f"{item['distance']:.3f}" for item in ask()["items"]]
    summary = chromium.evaluate(TEXT.format("summary"))
    assert re.fullmatch(r"20,340 definitions, page 1 of 50: \d+\.\d ms \(HNSW_INDEX_SCAN, index by_own_embedding\)", summary)
    assert "Hnsw Index Scan" in chromium.evaluate(TEXT.format("plan"))

    chromium.evaluate("document.querySelector('#pages a').click()")
    chromium.wait_for(f"location.search.includes('page=2') && {SHOWN} == 10")
    assert cells(chromium, 2) == [item["words"] for item in ask(page=2)["items"]]

    category = chromium.evaluate("document.querySelector('#items a').textContent")
    chromium.evaluate("document.querySelector('#items a').click()")
    chromium.wait_for(f"document.forms[0].category.value == '{category}' && {SHOWN} == 10")
    assert set(cells(chromium, 4)) == {category}
    assert cells(chromium, 2) == [item["words"] for item in ask(category=category)["items"]]


def test_an_address_opened_in_a_browser(chromium, url):
    chromium.open(f"{url}?q=a+small+boat&category=noun.artifact&compare=true")
    chromium.wait_for(f"{SHOWN} == 10")
    assert chromium.evaluate("document.forms[0].q.value") == "a small boat"
    assert chromium.evaluate("document.forms[0].compare.checked")
    assert re.fullmatch(r"Exact, without an index: \d+\.\d ms; \d+ of 10 the same", chromium.evaluate(TEXT.format("exact")))


@pytest.mark.parametrize("parameter", ["q", "category"])
def test_what_is_shown_is_text(chromium, url, parameter):
    attack = "<img src=x onerror=window.attacked=1>"
    parameters = {"q": "boat"} | {parameter: attack}
    chromium.open(url + "?" + "&".join(f"{name}={value.replace(' ', '+')}" for name, value in parameters.items()))
    chromium.wait_for(f"{SHOWN} == 10 || {TEXT.format('errors')}.includes('is unknown')")
    assert not chromium.evaluate("window.attacked || document.images.length")
    if parameter == "q":
        assert chromium.evaluate("document.forms[0].q.value") == attack
    else:
        assert attack in chromium.evaluate(TEXT.format("errors"))


def test_errors_in_a_browser(chromium, url):
    chromium.open(f"{url}?q=boat&page=51")
    chromium.wait_for(f"{TEXT.format('errors')} == 'page: 51 is beyond the end; use 1 to 50'")
    assert chromium.evaluate("document.querySelector('main').hidden")
