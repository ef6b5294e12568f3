"""Each fault once or a few times, under traffic: nothing is lost, doubled, out of order or open.

The long run with these faults is `make faults`.
"""

from __future__ import annotations

import logging

import pytest
from arena import Arena
from campaign import Campaign
from fault_table import FAULTS
from postgres_cluster import BINARIES, MISSING

pytestmark = [pytest.mark.kafka, pytest.mark.fault]
SEED = 14


@pytest.fixture(scope="module")
def campaign():
    logging.disable(logging.CRITICAL)  # clients complain about every fault
    arena = Arena(SEED)
    try:
        made = Campaign(SEED, arena)
        made.open()
        yield made
    finally:
        arena.close()
        logging.disable(logging.NOTSET)


@pytest.mark.parametrize("fault", [f for f in FAULTS if f.short], ids=lambda fault: fault.name)
def test_all_goes_on_after(campaign, fault):
    if fault.postgres and BINARIES is None:
        pytest.skip(MISSING)
    for _ in range(fault.short):
        campaign.run(fault)
    assert campaign.arena.witness.anomalies == []


def test_everything_was_decided_once_and_in_order(campaign):
    assert campaign.conclude() == []
