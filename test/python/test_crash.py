"""A short run of the crash campaign, always the same one. `make crash` is the long one."""

import pathlib
import sys

sys.path.insert(0, str(pathlib.Path(__file__).resolve().parents[1]))

from crash.campaign import Campaign
from crash.model import Model

KILLS = 12


def test_nothing_is_lost_when_the_process_is_killed(extension, tmp_path):
    campaign = Campaign(extension, tmp_path, seed=4)
    for _ in range(KILLS):
        campaign.kill()
    assert not campaign.failures, "\n".join(campaign.failures)
    assert campaign.counts["kills"] == KILLS and campaign.counts["operations"] > KILLS


def test_the_campaign_tells_lost_from_committed(extension, tmp_path):
    def failures(found, committed, in_flight):
        campaign = Campaign(extension, tmp_path, seed=0)
        campaign.model, campaign.in_flight = Model(committed, "ip"), {"0.1": in_flight}
        campaign.hear({"found": {"rows": list(found.items()), "metric": "ip", "wrong": []}})
        return [failure.partition(":")[0] for failure in campaign.failures]

    insertion = [["insert", 4, 2]]
    assert failures({2: 1}, {2: 1}, insertion) == []
    assert failures({2: 1, 4: 1, 6: 1}, {2: 1}, insertion) == []
    assert failures({2: 1, 4: 1}, {2: 1}, insertion) == ["lost"]
    assert failures({4: 1, 6: 1}, {2: 1}, insertion) == ["lost"]
    assert failures({2: 1}, {2: 2}, insertion) == ["lost"]
