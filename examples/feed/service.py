"""A product feed over HTTP: the items nearest to an embedding, page by page.

    FEED_DATABASE=feed.db uvicorn --factory service:create_app

    POST /feed?category=noun.animal   {"offset": 20, "limit": 10, "embedding": [… 384 numbers …]}

The database is the one `load.py` writes. It is opened read-only; when the daily job has put a new one in its place, the service opens
that, and requests that have begun finish on the old one.
"""

import contextlib
import logging
import os
import threading
from array import array
from typing import Annotated

import duckdb
from fastapi import FastAPI, Request
from fastapi.exceptions import RequestValidationError
from fastapi.responses import JSONResponse
from pydantic import AfterValidator, BaseModel, Field, model_validator

DIMENSIONS = 384
LARGEST_FLOAT = 3.4028234e38
# Items of a feed: where its last page ends. Also the width of all searches. An approximate search that is wider finds items that a
# narrower one has missed; so that no item is on two pages or on none, one width serves all pages, that of the last one.
DEEPEST = 500

PAGE = """
    SELECT id, words, definition, category, part_of_speech,
           array_cosine_distance(embedding, $embedding::FLOAT[384]) AS distance
    FROM items
    {where}
    ORDER BY array_cosine_distance(embedding, $embedding::FLOAT[384])
    LIMIT $limit OFFSET $offset
"""


def with_direction(embedding):
    if not any(array("f", embedding)):
        raise ValueError("all elements are 0: no item is nearer to it than another")
    return embedding


Element = Annotated[float, Field(allow_inf_nan=False, ge=-LARGEST_FLOAT, le=LARGEST_FLOAT)]


class Page(BaseModel):
    """The items `offset` … `offset + limit - 1` in the order of their distance from `embedding`."""

    embedding: Annotated[
        list[Element], Field(min_length=DIMENSIONS, max_length=DIMENSIONS), AfterValidator(with_direction)
    ]
    offset: int = Field(0, ge=0)
    limit: int = Field(20, ge=1, le=100)

    @model_validator(mode="after")
    def within_feed(self):
        if self.offset + self.limit > DEEPEST:
            raise ValueError(f"offset + limit is {self.offset + self.limit}; a feed has {DEEPEST} items")
        return self


class Feed:
    """The database that the link names, and how to open the next one. `connection` may be read by any thread at any time."""

    def __init__(self, link):
        self.link = link
        self.path = os.path.realpath(link)
        self.connection = self.open(self.path)

    def open(self, path):
        """Opens a database, and its index with it: the first search reads the index into memory."""
        connection = duckdb.connect(path, read_only=True, config={"allow_unsigned_extensions": "true"})
        connection.load_extension(os.environ.get("VSS_EXTENSION", "vss"))
        connection.execute(f"SET GLOBAL hnsw_ef_search = {DEEPEST}")
        connection.execute(PAGE.format(where=""), {"embedding": [1.0] * DIMENSIONS, "limit": 1, "offset": 0}).fetchall()
        return connection

    def follow(self, stopped, seconds):
        """Until `stopped`, looks every so many seconds whether there is a new database."""
        while not stopped.wait(seconds):
            path = os.path.realpath(self.link)
            if path == self.path:
                continue
            try:
                self.connection = self.open(path)
                self.path = path
            except duckdb.Error:
                logging.exception("%s cannot be opened; the feed stays with %s", path, self.path)

    def page(self, page, filters):
        """Rows as dictionaries."""
        given = {column: value for column, value in filters.items() if value is not None}
        where = " AND ".join(f"{column} = ${column}" for column in given)
        # bytes are bound as they are; DuckDB would convert a list number by number
        values = {"embedding": array("f", page.embedding).tobytes(), "limit": page.limit, "offset": page.offset}
        with self.connection.cursor() as cursor:
            cursor.execute(PAGE.format(where=f"WHERE {where}" if where else ""), values | given)
            names = [column[0] for column in cursor.description]
            return [dict(zip(names, row)) for row in cursor.fetchall()]


def create_app(database=None, seconds_between_looks=1.0):
    feed = Feed(database or os.environ["FEED_DATABASE"])

    @contextlib.asynccontextmanager
    async def lifespan(_):
        stopped = threading.Event()
        thread = threading.Thread(target=feed.follow, args=(stopped, seconds_between_looks))
        thread.start()
        yield
        stopped.set()
        thread.join()

    app = FastAPI(title="feed", lifespan=lifespan)

    @app.exception_handler(RequestValidationError)
    async def refuse(_: Request, error: RequestValidationError):
        # FastAPI's own answer repeats the input, and fails on a NaN in it
        reasons = [f"{'.'.join(map(str, e['loc'][1:])) or 'body'}: {e['msg']}" for e in error.errors()]
        return JSONResponse({"errors": reasons}, status_code=422)

    # not `async`: FastAPI runs it in a thread, so requests search beside each other
    @app.post("/feed")
    def read_page(page: Page, category: str | None = None, part_of_speech: str | None = None):
        end = page.offset + page.limit
        items = feed.page(page, {"category": category, "part_of_speech": part_of_speech})
        return {"items": items, "next": end if len(items) == page.limit and end < DEEPEST else None}

    @app.get("/health")
    def health():
        return {"database": os.path.basename(feed.path)}

    return app
