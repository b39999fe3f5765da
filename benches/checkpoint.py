"""What storing an index costs, as a table for docs/benchmarks.md: time, bytes written, and how long searches wait.

Usage: checkpoint.py EXTENSION WORDS.parquet QUERIES.parquet

60,000 sentence embeddings of 384 dimensions, l2sq, default options, in a file in the temporary directory that the system
has in memory. "MB" of CREATE INDEX are those of the vectors, otherwise those of the image. Bytes written are counted by
comparing the blocks of the file before and after. The last columns: while checkpoints ran another thread searched.

DuckDB lets queries begin during a checkpoint only if somebody needs an older snapshot when it starts; otherwise each of them,
whatever its tables, waits for the whole of it. So there is such a snapshot here: the wait that is left is the index's.
"""

import pathlib
import sys
import tempfile
import threading
import time

import duckdb

sys.path.insert(0, str(pathlib.Path(__file__).resolve().parents[1] / "test" / "python"))

import blocks

MEGABYTE = 1e6
INFO = "SELECT pending, bytes_on_disk, status FROM pragma_hnsw_index_info()"


def connect(extension, path):
    con = duckdb.connect(str(path), config={"allow_unsigned_extensions": "true"})
    con.load_extension(extension)
    con.execute("SET GLOBAL hnsw_enable_experimental_persistence = true")
    con.execute("SET checkpoint_threshold = '1TB'")
    return con


def seconds(con, sql, parameters=None):
    start = time.perf_counter()
    con.execute(sql, parameters).fetchall()
    return time.perf_counter() - start


def search(q):
    return "SELECT id FROM words ORDER BY array_distance(v, $q::FLOAT[384]) LIMIT 10", {"q": q}


def settle(con):
    """Waits until the background has linked what it links."""
    before = None
    while (pending := con.execute(INFO).fetchone()[0]) != before:
        before = pending
        time.sleep(0.5)
    return pending


class Reader(threading.Thread):
    """Searches one vector after the other until it is told to stop; the seconds of each in `latencies`."""

    def __init__(self, con, vectors):
        super().__init__(daemon=True)
        self.con, self.vectors = con.cursor(), vectors
        self.latencies, self.done = [], False

    def run(self):
        while not self.done:
            self.latencies.append(seconds(self.con, *search(self.vectors[len(self.latencies) % len(self.vectors)])))

    def stop(self):
        self.done = True
        self.join()
        ordered = sorted(self.latencies)
        return ordered[len(ordered) // 2], ordered[-1]


def with_reader(con, vectors, change, work):
    """The result of `work` after `change`; median and worst latency of searches meanwhile."""
    change()
    older = con.cursor()
    older.execute("BEGIN")
    older.execute("SELECT count(*) FROM words").fetchall()
    # The last commit is one that the older snapshot does not see. A change of the catalog would not let CHECKPOINT begin.
    con.execute("INSERT INTO later VALUES (1)")
    reader = Reader(con, vectors)
    reader.start()
    time.sleep(0.3)
    result = work()
    time.sleep(0.1)
    figures = reader.stop()
    older.execute("COMMIT")
    return result, *figures


def row(what, took, size, written="", reader=("", "")):
    speed = f"{size / MEGABYTE / took:.0f} MB/s" if size else ""
    latencies = [f"{latency * 1e3:.1f} ms" if latency else "" for latency in reader]
    print(f"| {what} | {took:.3f} s | {speed} | {written} |", " | ".join(latencies), "|", flush=True)


def changes(con, path, vectors, what, statement):
    """A row of the table: a checkpoint after a change, with a reader beside it."""
    size = blocks.block_size(con)
    before = blocks.read(path, size)
    pending = 0

    def change():
        nonlocal pending
        con.execute(statement)
        pending = settle(con)

    took, *reader = with_reader(con, vectors, change, lambda: seconds(con, "CHECKPOINT"))
    after = blocks.read(path, size)
    written = blocks.written(before, after, con) * size
    rest = sum(one != other for one, other in zip(before, after)) * size + (len(after) - len(before)) * size - written
    image = con.execute(INFO).fetchone()[1]
    figures = f"{written / MEGABYTE:.1f} MB, {100 * written / image:.1f} %, table {rest / MEGABYTE:.1f} MB"
    row(f"{what} ({pending} pending)", took, 0, figures, reader)


def reopen(extension, path, vectors):
    start = time.perf_counter()
    con = connect(extension, path)
    con.execute("SELECT count(*) FROM words").fetchall()
    row("open without using the index", time.perf_counter() - start, 0)
    first = seconds(con, *search(vectors[0]))
    _, image, status = con.execute(INFO).fetchone()
    assert status == "ready"
    row("first search after opening", first, image)
    row("second search", seconds(con, *search(vectors[1])), 0)
    return con


def main(extension, words, queries, directory):
    path = pathlib.Path(directory) / "words.db"
    con = connect(extension, path)
    con.execute(f"CREATE TABLE words AS SELECT id, embedding::FLOAT[384] AS v FROM read_parquet('{words}')")
    con.execute("CREATE TABLE later (i INTEGER)")
    con.execute("CHECKPOINT")
    vectors = con.execute(f"SELECT embedding::FLOAT[384] FROM read_parquet('{queries}') LIMIT 100").fetchall()
    vectors = [vector for (vector,) in vectors]
    print("| | time | speed | written | median search | worst search |\n|---|---|---|---|---|---|")
    (rows,) = con.execute("SELECT count(*) FROM words").fetchone()

    def create():
        row("CREATE INDEX", seconds(con, "CREATE INDEX by_v ON words USING HNSW (v)"), rows * 384 * 4)

    took, *reader = with_reader(con, vectors, create, lambda: seconds(con, "CHECKPOINT"))
    image = con.execute(INFO).fetchone()[1]
    row("first checkpoint", took, image, f"{image / MEGABYTE:.1f} MB, 100 %", reader)
    con.close()
    con = reopen(extension, path, vectors)
    _, *reader = with_reader(con, vectors, lambda: None, lambda: time.sleep(1))
    row("no checkpoint", 1, 0, "", reader)
    # a vector of another row, so that the new ones are like the old ones
    shuffled = "UPDATE words SET v = (SELECT v FROM words w WHERE w.id = (words.id * 7 + 13) % 60000) WHERE id % {} = 5"
    changes(con, path, vectors, "nothing changed", "CREATE TABLE other (i INTEGER)")
    changes(con, path, vectors, "0.1 % updated", shuffled.format(1000))
    changes(con, path, vectors, "0.1 % deleted", "DELETE FROM words WHERE id % 1000 = 7")
    changes(con, path, vectors, "1 % updated", shuffled.format(100))
    changes(con, path, vectors, "5 % updated", shuffled.format(20))
    con.close()
    con = reopen(extension, path, vectors)
    con.execute("DROP INDEX by_v")
    con.execute("CHECKPOINT")
    con.execute(shuffled.format(1000))
    row("0.1 % updated, without an index", seconds(con, "CHECKPOINT"), 0)
    con.close()


if __name__ == "__main__":
    with tempfile.TemporaryDirectory() as directory:
        main(*sys.argv[1:4], directory)
