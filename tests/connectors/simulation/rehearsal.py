"""The demo's traffic through the whole governed path in memory, the clock moving as in the run."""

from __future__ import annotations

from collections import Counter, defaultdict
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any

from connectors.simulation.address import Addresses, encode
from connectors.simulation.before import Received, old_portal
from connectors.simulation.bundle import demo_bundle
from connectors.simulation.explain import Contested, contested
from connectors.simulation.follow import Followed, note_block
from connectors.simulation.shown import Shown
from connectors.simulation.statement import Statement
from connectors.simulation.traffic import Traffic
from connectors.simulation.world import handover
from pipeline.contract import names
from pipeline.contract.bundle import load_bundle
from pipeline.contract.policy_tables import compile_policy
from pipeline.testing.driver import TopologyDriver

NOW_MS = 1_790_000_000_000
HANDOVER_MS = handover(NOW_MS)
BUNDLE = demo_bundle(load_bundle(), HANDOVER_MS)
SCHEMA_ID = 1
STEP_S = 0.5


@dataclass
class Rehearsed:
    driver: TopologyDriver
    fates: dict[str, Counter[tuple[str, str]]]
    """By fault: how its statements ended."""
    followed: Followed

    @property
    def approved(self):
        return self.driver.records(names.APPROVED)


def rehearse(traffic: Traffic, *, settle_s: int = 45) -> Rehearsed:
    policy = compile_policy(demo_bundle(load_bundle(), traffic.world.handover_ms))
    driver = TopologyDriver([policy], start_ms=traffic.world.now_ms + 1000)
    addresses = Addresses(BUNDLE)
    sent: dict[tuple[str, int, int], Statement] = {}
    offsets: Counter[tuple[str, int]] = Counter()
    clock_s = 0.0
    for sending in traffic.sendings:
        statement = sending.statement
        if sending.at_s - clock_s >= STEP_S:
            driver.advance(int((sending.at_s - clock_s) * 1000))
            clock_s = sending.at_s
        topic = addresses.topic(statement)
        partition = addresses.partition(statement, driver.partitions)
        sent[topic, partition, offsets[topic, partition]] = statement
        offsets[topic, partition] += 1
        value = encode(statement, SCHEMA_ID)
        driver.pipe_bytes(topic, addresses.key(statement), value, partition=partition)
    for _ in range(settle_s):
        driver.advance(1000)
    followed = Followed()
    for block in driver.records(names.DECISIONS):
        note_block(followed, block)
    ends = followed.ends()
    assert set(sent) <= set(ends), "every record that was sent has a decision"
    fates: dict[str, Counter[tuple[str, str]]] = defaultdict(Counter)
    for place, statement in sent.items():
        fates[statement.fault][ends[place]] += 1
    return Rehearsed(driver, fates, followed)


def old_shown(traffic: Traffic) -> Shown:
    """What the old portal made of it."""
    received = [
        Received(item.sequence, None if item.statement.spoiling else item.statement.event)
        for item in traffic.sendings
    ]
    return old_portal(traffic.world, BUNDLE, received)


def deliveries_booked(approved) -> list[dict[str, Any]]:
    """An ERP that books deliveries as they are approved, one posting a change."""
    live, booked = set(), []
    for record in approved:
        milestone = record["milestone_id"]
        owned = record["assurance"] == "AUTHORITATIVE"
        if record["event_type"] != "delivered" or not owned:
            continue
        taken_back = record["action"] == "RETRACT"
        kind = "REVERSAL" if taken_back else "ADJUSTMENT" if milestone in live else "ORIGINAL"
        (live.discard if taken_back else live.add)(milestone)
        moment = datetime.fromtimestamp(record["occurred"] / 1000, UTC).isoformat()
        body = {"milestone_id": milestone, "values": {"occurred": moment}}
        entity = f"acme/shipment/{record['entity_id']}"
        booked.append(
            {"kind": kind, "posting": "proof-of-delivery", "entity": entity, "body": body}
        )
    return booked


def told(traffic: Traffic, rehearsed: Rehearsed) -> list[Contested]:
    """The contested shipments of a rehearsal."""
    approved = list(rehearsed.approved)
    booked = deliveries_booked(approved)
    return contested(traffic, BUNDLE, approved, old_shown(traffic), booked)
