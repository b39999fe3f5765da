"""The judge of the chaos campaign. `make chaos` runs the campaign itself."""

import pathlib
import sys

import pytest

sys.path.insert(0, str(pathlib.Path(__file__).resolve().parents[1]))

from chaos.check import Facts, judge
from chaos.errors import verdict

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
        ("FATAL Error: Out of Memory Error: failed to pin block of size 256.0 KiB (4.3 MiB/4.6 MiB used)\n\nPossible solutions:", "known"),
        ("FATAL Error: Out of Memory Error: failed to pin block of size 256.0 KiB for an HNSW index", "internal"),
        ("FATAL Error: Out of Memory Error: failed to allocate data of size 256.0 KiB (4.3 MiB/4.6 MiB used)", "internal"),
        ("Binder Error: what nobody expects", "error"),
    ],
)
def test_the_campaign_tells_errors_from_findings(text, kind):
    found = verdict(text)
    # what is known comes with its reason
    assert (found and found.partition(":")[0]) == kind
