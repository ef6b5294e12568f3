"""Every named cap, reached: what becomes of what is too much, and what a user is told."""

from __future__ import annotations

import dataclasses

import pytest
from test_links import PLAN, say
from test_reasons import given_by
from worlds import POLICY, START_MS, stop

from pipeline.contract import codec, names
from pipeline.governance.bounds import ID_CHARACTERS_MAX, LISTED_MAX, REMARK_CHARACTERS_MAX
from pipeline.governance.hearing import IDS_MAX
from pipeline.governance.kernel import INCOMPLETE_MAX
from pipeline.governance.links import LINKED_MAX
from pipeline.governance.outputs import REFERENCES_MAX
from pipeline.governance.references import BINDINGS_MAX
from pipeline.testing.driver import TopologyDriver

TMS = names.raw_topic("tms-na")


def limited(**given):
    limits = dataclasses.replace(POLICY.limits, **given)
    return TopologyDriver([dataclasses.replace(POLICY, limits=limits)], start_ms=START_MS)


@pytest.fixture
def driver():
    return TopologyDriver([POLICY], start_ms=START_MS)


def shipment(driver):
    (found,) = (e for s in driver.states for e in s.entities() if e.key == "acme/shipment/S1")
    return found


def letters(driver):
    return [
        dict(letter.headers)["milepost.dlq.reason"].decode()
        for letter in driver.raw_records(names.DEAD_LETTER)
    ]


def number(value):
    return {"kind": "PRO", "scope": "RDLN", "value": str(value)}


def link(driver, source, seq=1, **given):
    record = {
        "kind": "SHIPMENT_OF_ORDER",
        "source": source,
        "target": "acme/order/80001",
        "source_seq": seq,
        "sent": START_MS,
        "status": "shipped",
        "ledger_partition": 0,
        "ledger_seq": 0,
    } | given
    value = codec.encode(record, codec.committed("link"), 2)
    driver.pipe_bytes(names.LINKS, record["target"].encode(), value)


def test_open_claims(driver):
    """One more that would wait is refused; one that need not wait is taken."""
    most = POLICY.limits.open_claims_max
    for count in range(most + 1):
        say(driver, f"e{count}", "tms-na", "POD", document=f"D{count}", stop=stop(number=2))
    assert letters(driver) == ["open_claims_full"]
    assert shipment(driver).open_claims() == most
    say(driver, "t", "tms-na", "TENDERED", **PLAN)
    assert shipment(driver).status == "tendered"


def test_entity_weight():
    driver = limited(entity_weight_max=20_000)
    for count in range(60):
        say(
            driver,
            f"e{count}",
            "tms-na",
            "EXCEPTION",
            document=f"D{count}",
            stop=stop(location="DAL1"),
        )
    assert set(letters(driver)) == {"open_claims_full"}
    assert 15_000 < shipment(driver).weight() <= 20_000


def test_linked_entities(driver):
    for count in range(LINKED_MAX + 1):
        link(driver, f"acme/shipment/L{count}")
    assert "links_full" in set(given_by(driver))
    link(driver, "acme/shipment/L0", 2, status="delivered")
    (order,) = (e for s in driver.states for e in s.entities() if e.name.type == "order")
    assert len(order.linked) == LINKED_MAX
    assert order.linked["acme/shipment/L0"].status == "delivered"


def test_entities_that_claim_one_reference(driver):
    for count in range(BINDINGS_MAX + 1):
        target = {"kind": "REFERENCE", "target": "acme/ref/PRO:RDLN:1", "valid_from": START_MS}
        link(driver, f"acme/shipment/L{count}", **target)
    assert "links_full" in set(given_by(driver))
    (reference,) = (e for s in driver.states for e in s.entities() if e.name.type == "ref")
    assert len(reference.bindings) == BINDINGS_MAX


def test_references_of_one_entity(driver):
    """Those beyond are not bound, and the record does not list them; the claim itself is taken."""
    for first in (0, 40, 80):
        given = {"references": [number(first + count) for count in range(40)]}
        say(
            driver,
            f"e{first}",
            "tms-na",
            "EXCEPTION",
            document=f"D{first}",
            stop=stop(location="DAL1"),
            **given,
        )
    assert letters(driver) == []
    assert len(shipment(driver).binds) == BINDINGS_MAX
    assert len(driver.records(names.APPROVED)[-1]["references"]) == REFERENCES_MAX


def test_records_seen_last():
    """A repeat of one that is not among them is told by what stands."""
    driver = limited(seen_max=4)
    say(driver, "t", "tms-na", "TENDERED", **PLAN)
    for count in range(9):
        say(
            driver,
            f"e{count}",
            "tms-na",
            "EXCEPTION",
            document=f"D{count}",
            stop=stop(location="DAL1"),
        )
    assert len(shipment(driver).seen) == 4
    approved = len(driver.records(names.APPROVED))
    (partition,) = (p for (topic, p), log in driver.inputs.items() if topic == TMS and log)
    for record in list(driver.inputs[TMS, partition]):
        driver.pipe_bytes(TMS, record.key, record.value)
    assert len(driver.records(names.APPROVED)) == approved
    assert "repeated" in set(given_by(driver))


def test_ids_of_earlier_statements(driver):
    for count in range(IDS_MAX + 3):
        say(driver, f"e{count}", "tms-na", "SHIPPED", stop=stop(location="DAL1"))
    (spoken,) = shipment(driver).occurrences["departed|"].spoken["tms-na"]
    assert spoken.replaces == [f"e{count}" for count in range(2, IDS_MAX + 2)]


def test_hops_of_links(driver):
    """A link that comes from so many others is heard and told no further."""
    say(driver, "t", "tms-na", "TENDERED", orders=["80002"])
    before = len(driver.raw_records(names.LINKS))
    region = {"kind": "REGION_OF_SHIPMENT", "target": "acme/shipment/S1", "region": "NA"}
    link(driver, "acme/order/80002", hops=POLICY.limits.link_hops_max, **region)
    assert shipment(driver).status == "tendered"
    assert len(driver.raw_records(names.LINKS)) == before


def test_origins_of_what_could_not_be_read(driver):
    for _ in range(INCOMPLETE_MAX + 5):
        driver.pipe_bytes(TMS, b"acme/shipment/S1", b"\0\0\0\0\x01")
    assert len(shipment(driver).incomplete) == INCOMPLETE_MAX
    assert letters(driver) == ["undecodable"] * (INCOMPLETE_MAX + 5)


@pytest.mark.parametrize(
    "given",
    [
        {"document": "D" * (ID_CHARACTERS_MAX + 1)},
        {"entity_id": "S" * (ID_CHARACTERS_MAX + 1)},
        {"remark": "r" * (REMARK_CHARACTERS_MAX + 1)},
        {"orders": [str(count) for count in range(LISTED_MAX + 1)]},
        {"stops": [stop()] * (LISTED_MAX + 1)},
        {"references": [number(count) for count in range(LISTED_MAX + 1)]},
        {"shipments": [str(count) for count in range(LISTED_MAX + 1)]},
    ],
    ids=lambda given: next(iter(given)),
)
def test_what_one_record_may_say(driver, given):
    say(driver, "e", "tms-na", "TENDERED", **given)
    assert letters(driver) == ["field_invalid"]
