"""A sink that ceases to take what is approved is named after the fault after which it did."""

from __future__ import annotations

from unittest.mock import MagicMock

import following
import pytest
from governed_stack import PARTITIONS

from connectors.applied import NOTHING, Claim, TopicPartition
from connectors.sinks.database import APPLIED, database_url, open_outbox
from pipeline.contract import names
from pipeline.settings import Settings

PLACES = [TopicPartition(names.APPROVED, number) for number in range(PARTITIONS)]


@pytest.fixture
def arena(tmp_path, monkeypatch):
    monkeypatch.setattr(following, "HEAL_S", 0)
    made = MagicMock(portals=[], settings=Settings(state_dir=tmp_path))
    made.witness.next = {(names.APPROVED, number): 7 for number in range(PARTITIONS)}
    made.erp_sink.name, made.erp_sink.running = "erp-sink", True
    made.erp_sink.said.return_value = "its last words"
    return made


@pytest.fixture
def outbox(arena):
    engine = open_outbox(database_url(arena.settings))
    with engine.begin() as connection:
        APPLIED.claim(connection, PLACES)

    def reach(*offsets):
        with engine.begin() as connection:
            for at, offset in zip(PLACES, offsets, strict=False):
                APPLIED.advance(connection, at, Claim(NOTHING, 1), offset)

    yield reach
    engine.dispose()


def test_one_that_has_taken_everything_passes(arena, outbox):
    outbox(7, 7, 8, 7)
    following.taken(arena)


def test_one_that_leaves_a_partition_unread_is_named(arena, outbox):
    outbox(7, 7, 8)
    with pytest.raises(AssertionError, match="erp-sink did not come true") as told:
        following.taken(arena)
    assert "it runs and is at {0: 7, 1: 7, 2: 8, 3: -1}" in str(told.value)
    assert "its last words" in str(told.value)
