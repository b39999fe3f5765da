"""A short run of the chaos campaign. `make chaos` is the long one."""

import pathlib
import sys
import time

import pytest

sys.path.insert(0, str(pathlib.Path(__file__).resolve().parents[1]))

from chaos.campaign import Campaign
from chaos.check import Facts, judge
from chaos.errors import verdict

#: About a minute.
ROUNDS = 8
#: Roles that the short run leaves to `make chaos`. DuckDB's own scans crash, or end the database, beside them: out of memory in a commit,
#: failed appends, and table scans beside ALTER TABLE and VACUUM.
APART = ["limit_memory", "fail_commits", "alter_table", "vacuum"]
#: Of the first round, unless the run is a long one: the same roles each time, in whatever order the threads come.
SEED = 1


def test_nothing_is_lost_while_everything_happens_at_once(extension, tmp_path, request):
    seconds = request.config.getoption("--minutes") * 60
    campaign = Campaign(extension, tmp_path, seed=int(time.time()) if seconds else SEED, without=[] if seconds else APART)
    end = time.monotonic() + seconds
    while campaign.counts["rounds"] < ROUNDS or time.monotonic() < end:
        found = campaign.round()
        assert not found, "\n".join(found)
    assert campaign.counts["checks"] >= ROUNDS
    assert all(campaign.counts[f"searches: {shape}"] for shape in ["plain", "lateral", "min_by", "window"])
    met = sum(count > 0 for count in campaign.met.values())
    print(f"seed {campaign.seed}: {ROUNDS} rounds, {met} of {len(campaign.met)} pairs of roles met")


def facts(**told):
    right = {"name": "i", "count": 3, "vectors": 3, "status": "ready", "alone": {1: 1, 2: 2, 3: 3}, "walked": {1: 1, 2: 2, 3: 3}}
    return Facts(**{**right, **told})


@pytest.mark.parametrize(
    "told, kinds",
    [
        ({}, []),
        ({"status": "ready: built again from the table, as the image is damaged"}, []),
        ({"count": 2}, ["lost"]),
        ({"status": "incomplete: queries scan the table"}, ["lost"]),
        # a row with another's vector: the counts agree
        ({"alone": {1: 1, 2: 1, 3: 3}}, ["lost"]),
        ({"alone": {1: 1, 2: None, 3: 3}}, ["lost"]),
        ({"walked": {1: 1, 2: 1, 3: 3}}, ["recall"]),
        ({"served": False}, ["wrong"]),
        ({"foreign": 1}, ["wrong"]),
        ({"answers": [("q", [0.5, 1.0], [0.5, 1.0])]}, []),
        ({"answers": [("q", [0.5, 2.0], [0.5, 1.0])]}, ["wrong"]),
        ({"answers": [("q", [0.5], [0.5, 1.0])]}, ["wrong"]),
    ],
)
def test_the_campaign_tells_lost_from_found(told, kinds):
    assert [kind for kind, _ in judge(facts(**told))] == kinds


@pytest.mark.parametrize(
    "text, kind",
    [
        ("TransactionContext Error: Catalog write-write conflict on alter with \"t\"", None),
        ("INTERRUPT Error: Interrupted!", None),
        ("INTERNAL Error: Attempted to access index 0", "internal"),
        # an allowed text does not excuse the end of the database
        ("FATAL Error: Failed: database has been invalidated because of a previous fatal error: Interrupted", "internal"),
        ("FATAL Error: Failed to create checkpoint because of error: an HNSW index needs more: Out of Memory", "internal"),
        ("Binder Error: what nobody expects", "error"),
    ],
)
def test_the_campaign_tells_errors_from_findings(text, kind):
    assert verdict(text) == kind
