"""The demo's traffic through the whole governed path in memory, the clock moving as in the run."""

from __future__ import annotations

from collections import Counter, defaultdict
from dataclasses import dataclass

from connectors.simulation.address import Addresses, encode
from connectors.simulation.bundle import demo_bundle
from connectors.simulation.statement import Statement
from connectors.simulation.traffic import Traffic
from pipeline.contract import names
from pipeline.contract.bundle import load_bundle
from pipeline.contract.policy_tables import compile_policy
from pipeline.testing.driver import TopologyDriver

NOW_MS = 1_790_000_000_000
BUNDLE = demo_bundle(load_bundle())
SCHEMA_ID = 1
STEP_S = 0.5


@dataclass
class Rehearsed:
    driver: TopologyDriver
    fates: dict[str, Counter[tuple[str, str]]]
    """By fault: how its statements ended."""
    open_claims: int

    @property
    def approved(self):
        return self.driver.records(names.APPROVED)


def rehearse(traffic: Traffic, *, settle_s: int = 30) -> Rehearsed:
    driver = TopologyDriver([compile_policy(BUNDLE)], start_ms=traffic.world.now_ms + 1000)
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
    return _told(driver, sent)


def _told(driver: TopologyDriver, sent: dict[tuple[str, int, int], Statement]) -> Rehearsed:
    last: dict[tuple[int, int], tuple[str, str]] = {}
    said: dict[tuple[int, int], Statement] = {}
    for block in driver.records(names.DECISIONS):
        for number, row in enumerate(block["decisions"]):
            ledger = block["partition"], block["first_seq"] + number
            last[ledger] = row["disposition"], row["reason"]
            topic = block["inputs"][row["input"]]["topic"]
            place = topic, block["partition"], row["offset"]
            if place in sent:
                said[ledger] = sent.pop(place)
        for row in block["transitions"]:
            last[block["partition"], row["seq"]] = row["after"], row["reason"]
    assert not sent, "every record that was sent has a decision"
    fates: dict[str, Counter[tuple[str, str]]] = defaultdict(Counter)
    for ledger, statement in said.items():
        fates[statement.fault][last[ledger]] += 1
    return Rehearsed(driver, fates, sum(fate[0] == "held" for fate in last.values()))
