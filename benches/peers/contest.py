"""Systems side by side on one set by one metric.

Every system builds, then every system searches, and so on, a few rounds: a change of the machine's speed meets all of
them alike. What is kept is the list of all measurements; the report takes medians.
"""

import statistics

from peers.remote import Failed

K = 10
WIDTHS = (16, 32, 64, 128, 256)
#: Where widths are compared, each system is shown at the least width with this recall.
RECALL = 0.95
#: Seconds that one round of single queries at one width may take.
SEARCH_SECONDS = 1.5
#: Seconds that a system may spend on inserts.
INSERT_SECONDS = 5.0
#: Seconds that a batch may take.
BATCH_SECONDS = 2.0
#: Queries that tell how long a batch would take.
BATCH_TRIAL = 20


class Contest:
    """`systems`: name → a function that starts its `Remote`."""

    def __init__(self, title, data, truth, systems, say):
        self.title, self.data, self.truth, self.say = title, data, truth, say
        self.records = {}
        self.remotes = {}
        for name, start in systems.items():
            empty = {"builds": [], "widths": {}, "forms": {}, "batches": {}, "filtered": {}, "problems": []}
            self.records[name] = empty
            try:
                self.remotes[name] = start()
                self.records[name].update(self.remotes[name].ask("prepare"))
            except (Failed, OSError, RuntimeError) as error:
                self.fail(name, error)

    def fail(self, name, error):
        self.say(f"{name}: {error}")
        self.records[name]["failed"] = str(error)
        if name in self.remotes:
            self.remotes.pop(name).close()

    def each(self, step, run, vital=False):
        """`run(name, remote, record)` of every system that is still there. One that fails a `vital` step is out."""
        for name, remote in list(self.remotes.items()):
            try:
                run(name, remote, self.records[name])
            except Failed as error:
                if vital or remote.process.poll() is not None:
                    self.fail(name, error)
                else:
                    self.say(f"{name}: {error}")
                    self.records[name]["problems"].append(f"{step}: {error}")
        self.say(f"{self.title}: {step}")

    def builds(self, rounds, threads):
        for number in range(rounds):
            for count in threads:

                def build(name, remote, record):
                    if number == 0 or record["approximate"]:
                        record["builds"].append({"threads": count, **remote.ask("build", threads=count)})

                self.each(f"built, {count} threads, round {number + 1}", build, vital=True)

    def searches(self, rounds, queries):
        """One query at a time, each round with other queries."""
        for number in range(rounds):
            for width in WIDTHS:

                def search(name, remote, record):
                    if record["approximate"] or width == WIDTHS[0]:
                        self.search(remote, record["widths"], width, width, number, queries)

                self.each(f"width {width}, round {number + 1}", search, vital=True)
        for record in self.records.values():
            choose(record)
        ours = self.records.get("vss", {}).get("width")
        if ours and "width" in self.records.get("core", {}):
            # what SQL adds shows only at the same width
            choose(self.records["core"], ours)

    def search(self, remote, records, key, width, number, queries, truth=None, **options):
        truth = truth or self.truth
        count = len(truth.kth)
        first = number * queries % count
        last = min(count, first + queries)
        answer = remote.ask("search", ef=width, k=K, first=first, last=last, limit=SEARCH_SECONDS, **options)
        record = records.setdefault(str(key), {"ms": [], "p50": [], "recall": []})
        record["ms"] += [round(ms, 4) for ms in answer["ms"]]
        record["p50"].append(statistics.median(answer["ms"]))
        record["recall"].append(truth.recall(first, answer["ids"], K))

    def forms(self, rounds, queries):
        """The ways to pass a query vector."""
        for number in range(rounds):

            def forms(name, remote, record):
                for form in record["offers"]:
                    self.search(remote, record["forms"], form, record["width"], number, queries, form=form)

            self.each(f"forms, round {number + 1}", forms)

    def filtered(self, rounds, queries, truths):
        """`truths`: percent of the rows that pass → the exact answers among them."""
        for number in range(rounds):
            for percent, truth in truths.items():

                def filtered(name, remote, record):
                    if record["filters"]:
                        records, width = record["filtered"], record["width"]
                        self.search(remote, records, percent, width, number, queries, truth, percent=percent)

                self.each(f"{percent} % of the rows, round {number + 1}", filtered)

    def batches(self, rounds, threads, widths=None):
        """All queries at once, as many as fit the time; at the chosen width or at each of some."""
        for number in range(rounds):
            for width in widths or [None]:
                for count in threads:

                    def batch(name, remote, record):
                        if record.get("no_batch") or not (record["approximate"] or width in (None, WIDTHS[0])):
                            return
                        ef = width or record["width"]
                        key = f"{ef} {count}"
                        last = self.batch_size(remote, record, ef, count, key)
                        if last is None:
                            record["no_batch"] = True
                            return
                        answer = remote.ask("batch", ef=ef, k=K, first=0, last=last, threads=count)
                        batch = record["batches"].setdefault(key, {"queries": last, "seconds": [], "recall": []})
                        batch["seconds"].append(answer["seconds"])
                        batch["recall"].append(self.truth.recall(0, answer["ids"], K))

                    step = f"batch, width {width or 'chosen'}, {count} threads, round {number + 1}"
                    self.each(step, batch, vital=widths is not None)
        if widths:
            for record in self.records.values():
                choose(record)

    def batch_size(self, remote, record, ef, threads, key):
        """How many queries fit the time; None: it has no batches."""
        if key in record["batches"]:
            return record["batches"][key]["queries"]
        trial = min(BATCH_TRIAL, len(self.data.queries))
        answer = remote.ask("batch", ef=ef, k=K, first=0, last=trial, threads=threads)
        if answer["ids"] is None:
            return None
        fitting = int(BATCH_SECONDS / max(answer["seconds"] / trial, 1e-9))
        return max(trial, min(len(self.data.queries), fitting))

    def inserts(self, count):
        """Last: the rows stay."""

        def insert(name, remote, record):
            if record["inserts"]:
                record["inserted"] = remote.ask("insert", count=count, limit=INSERT_SECONDS)

        self.each(f"{count} rows inserted", insert)

    def close(self):
        for remote in self.remotes.values():
            remote.close()
        return {
            "title": self.title,
            "rows": len(self.data.vectors),
            "dimensions": self.data.dimensions,
            "metric": self.truth.metric,
            "systems": self.records,
        }


def choose(record, given=None):
    """The width given, or the least with enough recall, from single queries or from batches on one thread; the widest
    if none has."""
    recalls = {int(width): statistics.mean(r["recall"]) for width, r in record["widths"].items()}
    for key, batch in record["batches"].items():
        width, threads = map(int, key.split())
        if threads == 1 and width not in recalls:
            recalls[width] = statistics.mean(batch["recall"])
    if recalls:
        enough = min((width for width, recall in recalls.items() if recall >= RECALL), default=max(recalls))
        record["width"] = given or enough
        record["recall"] = recalls[record["width"]]
        record["enough"] = record["recall"] >= RECALL
