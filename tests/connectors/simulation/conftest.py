"""The demo's traffic, rehearsed once for all tests of this folder."""

from __future__ import annotations

import pytest
from rehearsal import HANDOVER_MS, NOW_MS, rehearse

from connectors.simulation.traffic import compose

SEED = 41
"""Its first 5,000 events have every fault."""


@pytest.fixture(scope="session")
def rehearsal_traffic():
    return compose(SEED, NOW_MS, events=5000, handover_ms=HANDOVER_MS)


@pytest.fixture(scope="session")
def rehearsed(rehearsal_traffic):
    return rehearse(rehearsal_traffic)
