"""A page to try it: type words, see the dictionary definitions whose meaning is nearest, page by page.

    python search.py <model> [port]

    GET /                                   the page, for a browser
    GET /search?q=a+small+boat&category=noun.artifact&page=2&compare=true

The data are 20,340 definitions, embedded by the small model that the folder <model> holds (model.py), as the words typed are. They
are kept in memory, with an index, and once more in a table without one, for the comparison.
"""

import os
import pathlib
import sys
from typing import Annotated

from fastapi import FastAPI, HTTPException, Query, Request
from fastapi.exceptions import RequestValidationError
from fastapi.responses import FileResponse, JSONResponse
from starlette.exceptions import HTTPException as AnyHTTPException

sys.path.append(str(pathlib.Path(__file__).resolve().parents[1]))
import first_search  # noqa: E402
import model  # noqa: E402

PAGE = pathlib.Path(__file__).with_name("page.html")
PAGE_ROWS = 10
# Up to row 512 the pages of a query have each row once: all of them are searched with the same width.
DEEPEST_ROW = 500

# Rows that are equally near are in the order of their ids, so that no page depends on another one.
NEAREST = f"""
SELECT id, array_to_string(words, ', ') AS words, definition, category,
       array_cosine_distance(own_embedding, $query::FLOAT[{model.DIMENSIONS}]) AS distance
FROM {{table}}{{where}}
ORDER BY distance, id
LIMIT $limit OFFSET $offset
"""


class Dictionary:
    """The definitions and the model. Any thread may search at any time."""

    def __init__(self, folder):
        self.model = model.Model(folder)
        self.connection = first_search.load(os.environ.get("VSS_EXTENSION", "vss"))
        first_search.add_own_embeddings(self.connection, self.model)
        # `SET disabled_optimizers = 'extension'` hides an index, too, but DuckDB has this setting for all connections at once:
        # searches beside the comparison would do without the index.
        self.connection.execute("CREATE TABLE words_without_index AS FROM words")
        first_search.index(self.connection, "own_embedding")
        counts = "SELECT category, count(*) FROM words GROUP BY category ORDER BY category"
        self.categories = dict(self.connection.execute(counts).fetchall())

    def rows(self, category):
        """How many definitions there are, in a category or in all (None)."""
        return sum(self.categories.values()) if category is None else self.categories[category]

    def search(self, text, category, page, compare):
        """What the page shows. Pages count from 1. Milliseconds are those of the query, without the embedding of the text."""
        values = {"query": self.model.embed([text])[0].tobytes(), "limit": PAGE_ROWS, "offset": (page - 1) * PAGE_ROWS}
        if category is not None:
            values["category"] = category
        where = "" if category is None else "\nWHERE category = $category"
        sql = NEAREST.format(table="words", where=where)
        with self.connection.cursor() as cursor:
            found, ms = nearest(cursor, sql, values)
            plan = cursor.execute("EXPLAIN " + sql, values).fetchall()[0][1]
            explained = cursor.execute("SELECT index_name, operator, reason FROM hnsw_explain($1)", [sql]).fetchall()
            answer = {"items": found, "ms": ms, "sql": sql.strip(), "plan": plan, "exact": None}
            answer["index"] = dict(zip(["name", "operator", "reason"], explained[0]))
            if compare:
                exact, ms = nearest(cursor, NEAREST.format(table="words_without_index", where=where), values)
                ids = {item["id"] for item in exact}
                answer["exact"] = {"ms": ms, "same": sum(item["id"] in ids for item in found)}
        return answer


def nearest(cursor, sql, values):
    """Rows as dictionaries, and the milliseconds they took."""
    rows, ms = first_search.timed(lambda: cursor.execute(sql, values).fetchall())
    return [dict(zip(["id", "words", "definition", "category", "distance"], row)) for row in rows], ms


def create_app(folder):
    dictionary = Dictionary(folder)
    # the pages of documentation that FastAPI adds load scripts from elsewhere
    app = FastAPI(title="search", docs_url=None, redoc_url=None)

    @app.exception_handler(RequestValidationError)
    def refuse(_: Request, error: RequestValidationError):
        reasons = [f"{'.'.join(map(str, e['loc'][1:]))}: {e['msg']}" for e in error.errors()]
        return JSONResponse({"errors": reasons}, status_code=422)

    @app.exception_handler(AnyHTTPException)
    def fail(_: Request, error: AnyHTTPException):
        return JSONResponse({"errors": [error.detail]}, status_code=error.status_code)

    @app.get("/")
    def page():
        return FileResponse(PAGE)

    @app.get("/categories")
    def categories():
        return [{"category": category, "rows": rows} for category, rows in dictionary.categories.items()]

    # not `async`: FastAPI runs it in a thread, so requests search beside each other
    @app.get("/search")
    def search(
        q: Annotated[str, Query(max_length=1000)],
        category: str | None = None,
        page: Annotated[int, Query(ge=1)] = 1,
        compare: bool = False,
    ):
        if not q.strip():
            raise HTTPException(422, "q: there are no words in it; type some")
        category = category or None  # a form sends an empty one for all
        if category is not None and category not in dictionary.categories:
            raise HTTPException(422, f"category: {category!r} is unknown; use one of {', '.join(dictionary.categories)}, or none")
        rows = dictionary.rows(category)
        pages = -(-min(rows, DEEPEST_ROW) // PAGE_ROWS)
        if page > pages:
            raise HTTPException(422, f"page: {page} is beyond the end; use 1 to {pages}")
        return {"rows": rows, "page": page, "pages": pages} | dictionary.search(q, category, page, compare)

    return app


if __name__ == "__main__":
    if len(sys.argv) not in (2, 3):
        sys.exit(__doc__)
    import uvicorn

    uvicorn.run(create_app(sys.argv[1]), port=int(sys.argv[2]) if len(sys.argv) == 3 else 8000, log_level="info")
