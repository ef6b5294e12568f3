"""State that an earlier version wrote is read, and its story goes on."""

from __future__ import annotations

import json
from base64 import b64decode
from pathlib import Path

import orjson
import pytest
from test_links import say, story
from worlds import HOUR_MS, POLICY, START_MS, stop

from pipeline.contract import names
from pipeline.governance.claims import raw_event
from pipeline.governance.entity_codec import NOT_KEPT
from pipeline.streams import entity_bytes
from pipeline.streams.entity_bytes import dump, load
from pipeline.streams.state import PartitionState
from pipeline.testing.driver import TopologyDriver

VERSIONS = ("v1", "v2", "v3", "v4")
"""Changelogs of one partition, `state-VERSION.jsonl`, as each version left it: a tender, deputies,
a charge, a retraction, and a claim that waits. One entry a line: key and value, in base64."""
STOPPED_MS = START_MS + 5 * HOUR_MS + 600_000


@pytest.fixture(params=VERSIONS)
def changelog(request):
    lines = Path(__file__).with_name(f"state-{request.param}.jsonl").read_text().splitlines()
    return {key.encode(): b64decode(value) for key, value in map(json.loads, lines)}


@pytest.fixture
def driver(changelog):
    """A fresh worker of today on that changelog, in the same hour."""
    driver = TopologyDriver([POLICY], partitions=1, start_ms=STOPPED_MS)
    driver.outputs = []
    driver.changelog = [changelog]
    driver.restart()
    return driver


def test_it_comes_back(changelog):
    assert orjson.loads(changelog[b"\0partition"])["policy_version"] == "2026.11.1"
    state = PartitionState.restore(0, changelog)
    told = {entity.key: (entity.status, len(entity.held)) for entity in state.entities()}
    assert told == {
        "acme/order/80001": ("released", 0),
        "acme/shipment/S1": ("delivered", 0),
        "acme/shipment/S2": ("", 1),
    }
    for entity in state.entities():
        written = dump(entity)
        assert dump(load(entity.key, written, 0)) == written


def test_the_owner_confirms_what_a_deputy_had_said(driver):
    (entity,) = (e for e in driver.states[0].entities() if e.key == "acme/shipment/S1")
    provisional = entity.occurrences["delivered|ATL1"]
    at = {"occurred": provisional.occurred, "stop": stop(location="ATL1")}
    say(driver, "new", "tms-na", "DELIVERED", **at)
    (record,) = driver.records(names.APPROVED)
    assert (record["action"], record["revision"]) == ("CONFIRM", 2)
    assert record["milestone_id"] == provisional.milestone_id
    assert record["entity_seq"] == entity.seq + 1


def test_what_waited_goes_on(driver):
    """Its deputy's silence is long over."""
    stops = [
        stop(number=1, role="PICKUP", location="DAL1"),
        stop(number=2, role="DELIVERY", location="ATL1"),
    ]
    say(driver, "new", "tms-na", "TENDERED", "shipment S2", stops=stops, orders=["80001"])
    assert story(driver, "acme/shipment/S2")["status"] == "shipped"
    linked = story(driver, "acme/order/80001")["linked"]
    assert {item["key"]: item["status"] for item in linked} == {
        "acme/shipment/S1": "delivered",
        "acme/shipment/S2": "shipped",
    }


def test_a_newer_version_is_refused(driver):
    say(driver, "new", "tms-na", "DELIVERED", "shipment S1", stop=stop(location="ATL1"))
    changelog = driver.changelog[0]
    written = changelog[b"acme/shipment/S1"]
    changelog[b"acme/shipment/S1"] = written[:16] + bytes([99]) + written[17:]
    with pytest.raises(ValueError, match="version 99"):
        list(PartitionState.restore(0, changelog).entities())


def test_every_field_of_a_raw_event_is_kept_or_named_as_not_kept():
    """A field that is added to the schema and not here would be gone after a restart."""
    body = raw_event()
    kept = set(entity_bytes.KEPT.values())
    assert kept | NOT_KEPT == body.keys()
    assert not kept & NOT_KEPT
