"""One round, in a process of its own: threads in random roles on one database, and comparisons of its indexes with its tables.

The task comes as JSON in the arguments. Messages to the campaign are lines of JSON on standard output; every statement goes to
the log that the task names before it runs.
"""

import collections
import contextlib
import faulthandler
import json
import os
import pathlib
import random
import resource
import sys
import threading
import time

import duckdb

from chaos import check, errors
from chaos.gate import Gate
from chaos.roles import ROLES, index_name
from chaos.tables import Layout

#: Seconds of `Granted` after which a statement hangs.
PATIENCE = 10
#: Seconds in which the background work of all indexes must be done, and their memory given back.
SETTLED = 10
#: Least mean recall of the searches of a round, if they had so many neighbours to find: some indexes have few links between random vectors.
RECALL, NEIGHBOURS = 0.8, 500
#: Findings of a round that are told: what follows is often the same.
ENOUGH = 3
#: Characters of a statement that are logged.
LONG = 400
#: Seconds that a statement takes of which the log has the end, too: what was going on meanwhile tells why something was found.
SLOW = 0.003


def say(**message):
    # one write, so that lines of two threads do not mix
    os.write(1, (json.dumps(message) + "\n").encode())


class Granted:
    """A clock that goes as fast as the machine lets this process go: while its threads wait for a processor half of the time, half as
    fast. What hangs uses no processor, or keeps one, so a busy machine makes nothing look like a hang, and hides none."""

    def __init__(self):
        self.seconds = 0.0
        self.before = self.read()

    def read(self):
        """Seconds, and the nanoseconds for which the threads ran and waited to run."""
        ran = waited = 0
        for path in pathlib.Path("/proc/self/task").glob("*/schedstat"):
            # a thread may end meanwhile
            with contextlib.suppress(OSError):
                numbers = path.read_text().split()
                ran += int(numbers[0])
                waited += int(numbers[1])
        return time.monotonic(), ran, waited

    def tick(self):
        now = self.read()
        # what a thread has used leaves the sums when it ends
        passed, ran, waited = (max(new - old, 0) for new, old in zip(now, self.before, strict=True))
        self.before = now
        self.seconds += passed * (ran / (ran + waited) if ran else 1)


class Speaker:
    """A connection whose statements are logged, and watched."""

    def __init__(self, round, name, connection):
        self.round, self.name, self.connection = round, name, connection
        self.statement = None

    def run(self, sql):
        """Rows. Raises `duckdb.Error`."""
        if not self.round.task["extension"] and "hnsw" in sql.lower():
            return []
        self.round.note(self.name, sql)
        self.statement = (self.round.granted.seconds, sql)
        begin = time.monotonic()
        try:
            return self.connection.execute(sql).fetchall()
        finally:
            self.statement = None
            if time.monotonic() - begin >= SLOW:
                self.round.note(self.name, "ended")


class Actor(Speaker):
    """A thread in a role."""

    def __init__(self, round, name, role, rng):
        super().__init__(round, f"{name} {role}", round.root.cursor())
        self.role, self.rng = ROLES[role], rng
        self.turns = 0

    def table(self):
        """A table that may be there; most often the same one, so that the roles meet."""
        if self.round.newest and self.rng.random() < 0.8:
            return self.round.newest
        return self.rng.choices(["t", "u", *self.round.others], [4, 2, *[1] * len(self.round.others)])[0]

    def loop(self):
        while not self.round.over():
            with self.round.beside(self.role):
                try:
                    self.role(self)
                except duckdb.Error as error:
                    self.round.judge(self, error)
                    self.roll_back()
            self.turns += 1

    def roll_back(self):
        """Ends the transaction, if there is one. The statement itself can fail, for want of memory say: then the transaction stays, and
        keeps everybody out who waits for its end."""
        while True:
            try:
                self.run("ROLLBACK")
            except duckdb.Error as error:
                self.round.judge(self, error)
                if "no transaction is active" not in str(error) and not self.round.over_early():
                    time.sleep(0.01)
                    continue
            return


class Round:
    """A database, what was committed to it, and what was found."""

    def __init__(self, task):
        self.task = task
        self.rng = random.Random(task["seed"])
        self.directory = pathlib.Path(task["directory"])
        self.log = os.open(task["log"], os.O_WRONLY | os.O_CREAT | os.O_APPEND)
        self.begin = time.monotonic()
        self.counts = collections.Counter()
        self.findings = 0
        #: the database can no longer be used, or trusted
        self.ended = False
        self.lock = threading.Lock()
        #: Shared in every turn of an actor, and in every turn of one that appends rows.
        self.turns, self.appends = Gate(), Gate()
        self.next_id = 0
        #: ids by table that are committed and never deleted
        self.lasting = collections.defaultdict(set)
        self.hits = self.neighbours = 0
        #: a table that is being attached
        self.newest = None
        self.end = 0
        self.speakers = []
        self.granted = Granted()
        self.choose()
        threading.Thread(target=self.watch, daemon=True).start()

    def choose(self):
        rng = self.rng
        self.in_file = rng.random() < 0.65
        dimensions = rng.choice([4, 8, 32, 256, 1000])
        graphs = ["m = 8, ef_construction = 32", "m = 12, ef_construction = 64"]
        options = rng.choice([*graphs, "quantization = 'sq8'", "quantization = 'sq4'", "target_recall = 0.9", "", ""])
        metric = rng.choice(["l2sq", "l2sq", "cosine", "ip"]) if options else "l2sq"
        self.layout = Layout(dimensions, metric, options)
        self.checkpoint_on_detach = rng.choice(["enabled", "disabled", "disabled"])
        self.rows = min(rng.choice([50, 500, 2000, 4000]), 200_000 // dimensions)
        self.config = {
            "allow_unsigned_extensions": "true",
            "threads": str(rng.choice([1, 2, 4])),
            "default_block_size": str(rng.choice([16384, 262144])),
            "checkpoint_threshold": rng.choice(["16MB", "1GB", "1GB", "10KB"]),
        }
        self.catalog = "chaos" if self.in_file else "memory"
        self.others = ["a.t", "b.t", "m.t"] if rng.random() < 0.5 or "attach_and_detach" in self.task["roles"] else []
        self.lives = rng.choice([1, 2, 2, 3]) if self.in_file else 1

    def leave(self):
        """Closes nothing: the campaign has heard everything."""
        say(counts=self.counts)
        os._exit(0)

    # ---- what threads ask of it

    def note(self, name, text):
        text = " ".join(text.split())[:LONG]
        os.write(self.log, f"{time.monotonic() - self.begin:8.3f} {name}: {text}\n".encode())

    @contextlib.contextmanager
    def beside(self, role):
        """A turn of a role, unless others have to be alone."""
        with contextlib.ExitStack() as stack:
            if not role.alone:
                stack.enter_context(self.turns.shared())
            if role.appends:
                stack.enter_context(self.appends.shared())
            yield

    def over(self):
        return time.monotonic() > self.end or self.over_early()

    def over_early(self):
        return self.findings > 0 or self.ended

    def count(self, what):
        with self.lock:
            self.counts[what] += 1

    def find(self, kind, text):
        self.note("FOUND", f"{kind}: {text}")
        with self.lock:
            self.findings += not kind.startswith("known")
            first = self.findings <= ENOUGH
        if first:
            say(found=kind, text=text[:2000])

    def judge(self, speaker, error):
        """An error of a statement: allowed, known, or a finding."""
        text = str(error)
        self.note(speaker.name, f"=> {type(error).__name__}: {text}")
        kind = errors.verdict(text)
        self.count(f"errors: {type(error).__name__}")
        self.ended |= bool(kind)
        if kind:
            self.find(kind, f"{speaker.name}: {type(error).__name__}: {text}")

    def ids(self, count):
        """The first of so many new ids."""
        with self.lock:
            self.next_id += count
            return self.next_id - count

    def committed(self, table, first, count):
        with self.lock:
            self.lasting[table].update(range(first + -first % 5, first + count, 5))

    def recall(self, hits, neighbours):
        with self.lock:
            self.hits += hits
            self.neighbours += neighbours

    def attached(self):
        """Name and place of a database that can be attached."""
        name = self.rng.choice(["a", "b"])
        return name, self.directory / f"{name}.db"

    def stays(self, table):
        """Whether two statements of one transaction mean the same table: another database may be attached in between."""
        return "." not in table or "attach_and_detach" not in self.task["roles"]

    def interrupt_one(self, own):
        running = [speaker for speaker in self.speakers if speaker is not own and speaker.statement]
        if running:
            speaker = self.rng.choice(running)
            self.note(own.name, f"interrupts {speaker.name}")
            speaker.connection.interrupt()

    def watch(self):
        """Reports a statement that hangs, then waits to be killed. Ends the round if the database has ended: who is in a transaction
        then cannot leave it, and others wait for that."""
        while True:
            time.sleep(0.2)
            if self.ended:
                self.count("rounds cut short")
                self.leave()
            self.granted.tick()
            now = self.granted.seconds
            for speaker in list(self.speakers):
                since, sql = speaker.statement or (now, "")
                if now - since > PATIENCE:
                    self.note("FOUND", f"hang: {speaker.name}: {sql}")
                    faulthandler.dump_traceback()
                    running = [f"{other.name}: {other.statement[1][:200]}" for other in self.speakers if other.statement]
                    say(hung=f"{speaker.name}: {sql[:500]}", running=running)
                    time.sleep(3600)

    # ---- lives

    def open(self):
        path = str(self.directory / "chaos.db") if self.in_file else ":memory:"
        self.root = duckdb.connect(path, config=self.config)
        if self.task["extension"]:
            self.root.load_extension(self.task["extension"])
        self.main = Speaker(self, "main", self.root)
        self.speakers = [self.main]
        self.main.run("SET GLOBAL hnsw_enable_experimental_persistence = true")
        self.main.run(f"SET GLOBAL checkpoint_on_detach = '{self.checkpoint_on_detach}'")
        # DuckDB answers wrongly with these where no index serves, beside checkpoints (README)
        self.main.run("SET GLOBAL disabled_optimizers = 'late_materialization,top_n_window_elimination'")

    def close(self):
        """All connections; the database is gone then, if nobody else has a hand on it."""
        self.main.statement = (self.granted.seconds, "(close)")
        for speaker in self.speakers[1:]:
            speaker.connection.close()
        self.root.close()
        self.speakers = []

    def attach(self):
        for path in self.others:
            name = path.partition(".")[0]
            if name != "m":
                self.main.run(f"ATTACH IF NOT EXISTS '{self.directory / name}.db' AS {name}")

    def prepare(self):
        self.attach()
        run = self.main.run
        for table in ["t", "u", *self.others]:
            if table == "m.t":
                continue
            run(self.layout.create(table))
            run(self.layout.insert(table, self.ids(self.rows), self.rows))
            if self.rng.random() < 0.8:
                run(self.layout.create_index(table, index_name(table)))
            self.committed(table, self.next_id - self.rows, self.rows)
        if self.in_file and self.rng.random() < 0.7:
            run("CHECKPOINT")

    def reopen(self):
        if self.rng.random() < 0.5:
            self.main.run("PRAGMA disable_checkpoint_on_shutdown")
        self.close()
        if self.rng.random() < 0.2:
            self.visit_without_extension()
        self.open()
        self.attach()

    def visit_without_extension(self):
        """A session that does not know the index type: it can read, and store what it read."""
        con = duckdb.connect(str(self.directory / "chaos.db"), config=self.config)
        visitor = Speaker(self, "without extension", con)
        for sql in ["SELECT count(*), sum(version) FROM t", "CREATE TABLE IF NOT EXISTS other (i INTEGER)", "CHECKPOINT"]:
            try:
                visitor.run(sql)
            except duckdb.Error as error:
                # what the log holds for an index may keep a checkpoint from being made
                self.judge(visitor, error)
        con.close()

    def act(self, life):
        """All roles at once."""
        self.end = time.monotonic() + self.task["seconds"]
        actors = [
            Actor(self, f"{life}.{number}", role, random.Random(f"{self.task['seed']} {life} {number}"))
            for number, role in enumerate(self.task["roles"])
        ]
        self.speakers += actors
        threads = [threading.Thread(target=self.guard, args=(actor,), daemon=True) for actor in actors]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
        for actor in actors:
            self.counts[f"turns: {actor.role.__name__}"] += actor.turns
        if not self.ended:
            for setting in ["memory_limit", "threads"]:
                self.main.run(f"RESET {setting}")

    def guard(self, actor):
        try:
            actor.loop()
        except Exception as error:
            self.find("campaign", f"{actor.name}: {type(error).__name__}: {error}")

    def check(self):
        """Compares, while nobody works."""
        self.main.run("DETACH DATABASE IF EXISTS m")
        self.attach()
        for kind, text in check.problems(self.main, self.layout, self.rng):
            self.find(kind, text)
        for table, lasting in self.lasting.items():
            if table in ("u", "m.t"):
                continue
            missing = lasting - {row for (row,) in self.main.run(f"SELECT id FROM {table}")}
            if missing:
                self.find("duckdb", f"{len(missing)} committed rows are missing from table {table}: {sorted(missing)[:10]}")
        self.wait_until("busy", "the process works on", self.idle)
        self.counts["checks"] += 1

    def idle(self):
        before = time.process_time()
        time.sleep(0.05)
        return time.process_time() - before < 0.02

    def wait_until(self, kind, text, condition):
        end = self.granted.seconds + SETTLED
        while not condition():
            if self.granted.seconds > end:
                self.find(kind, f"{text} after {SETTLED} s")
                return

    def drop_all(self):
        """Memory comes back when everything is dropped."""
        for table in ["t", "u", "w", *self.others]:
            if table != "m.t":
                self.main.run(f"DROP TABLE IF EXISTS {table}")
        held = "SELECT coalesce(sum(memory_usage_bytes), 0) FROM duckdb_memory() WHERE tag = 'EXTENSION'"
        self.wait_until("memory", "memory of dropped indexes is held", lambda: self.main.run(held) == [(0,)])

    def play(self):
        self.open()
        self.prepare()
        for life in range(self.lives):
            if self.in_file:
                self.reopen()
            self.act(life)
            if self.over_early():
                return
            self.check()
            if self.in_file and self.rng.random() < 0.5:
                self.reopen()
                self.check()
        if self.neighbours >= NEIGHBOURS and self.hits < RECALL * self.neighbours:
            self.find("recall", f"searches found {self.hits} of {self.neighbours} neighbours")
        self.drop_all()
        self.close()


def main():
    faulthandler.enable()
    # the campaign looks at what is left of a crash
    resource.setrlimit(resource.RLIMIT_CORE, 2 * (resource.getrlimit(resource.RLIMIT_CORE)[1],))
    round = Round(json.loads(sys.argv[1]))
    try:
        round.play()
    except duckdb.Error as error:
        # nobody else is at work: no error is allowed but known ones
        kind = errors.verdict(str(error)) or "error"
        round.find(kind, f"main: {type(error).__name__}: {error}")
    round.leave()


if __name__ == "__main__":
    main()
