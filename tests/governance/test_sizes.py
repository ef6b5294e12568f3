"""However much an entity is told, what is written of it fits into its topic."""

import pytest

from pipeline.contract import codec, names
from pipeline.contract.bundle import load_bundle
from pipeline.contract.headers import size_of
from pipeline.contract.policy_tables import compile_policy
from pipeline.contract.topics import OWN_BYTES_MAX
from pipeline.governance.bounds import ID_CHARACTERS_MAX
from pipeline.governance.claims import raw_event
from pipeline.governance.identity import entity_key
from pipeline.governance.links import LINKED_MAX
from pipeline.testing.driver import TopologyDriver

POLICY = compile_policy(load_bundle())
NOW_MS = 1_790_000_000_000
TMS, ERP = "logistics.raw.tms-na.v1", "logistics.raw.erp-global.v1"
ORDER, SHIPMENT = "acme/order/80001", "acme/shipment/S1"
STOP = dict.fromkeys(("number", "role", "location", "name", "city", "subdivision", "country"))


@pytest.fixture
def driver():
    return TopologyDriver([POLICY], start_ms=NOW_MS)


def link(driver, source, target, **given):
    record = {
        "kind": "SHIPMENT_OF_ORDER",
        "source": source,
        "target": target,
        "source_seq": 1,
        "sent": NOW_MS,
        "status": "partially_delivered",
        "region": "NA",
        "ledger_partition": 0,
        "ledger_seq": 0,
    } | given
    value = codec.encode(record, codec.committed("link"), 2)
    driver.pipe_bytes(names.LINKS, target.encode(), value)


def say(driver, number, **given):
    event = {
        "event_id": f"e{number}",
        "platform": "tms-na",
        "entity_type": "shipment",
        "entity_id": "S1",
        "classifier": "ACTUAL",
        "occurred": NOW_MS - 600_000 + number,
        "occurred_precision": "MILLISECOND",
    }
    driver.pipe(TMS, raw_event(**event | given))


def largest(driver):
    """The largest record of each topic, as Kafka counts it."""
    sizes = {}
    for output in driver.outputs:
        size = size_of(output.key, output.value, output.headers or ())
        sizes[output.topic] = max(sizes.get(output.topic, 0), size)
    return sizes


def reasons(driver):
    return {row["reason"] for b in driver.records(names.DECISIONS) for row in b["decisions"]}


def fits(driver):
    driver.restart()
    return {topic: size for topic, size in largest(driver).items() if size > OWN_BYTES_MAX} == {}


LETTERS = {
    "ascii": "S",
    "escaped": "/",
    "four bytes": "\N{PACKAGE}",
    "a control character": "\x01",
    "longer in upper case": "\N{GREEK SMALL LETTER IOTA WITH DIALYTIKA AND TONOS}",
}


def ids(letter, length):
    """As many shipments as an order may have, named with one letter."""
    for number in range(LINKED_MAX + 1):
        name = f"{number}{letter * length}"[:length].upper()
        yield entity_key("acme", "shipment", name)


def test_an_order_of_a_thousand_shipments_is_told_of_in_full(driver):
    driver.stop()
    for source in ids("S", 40):
        link(driver, source, ORDER)
    driver.pipe(
        ERP,
        raw_event(
            event_id="r",
            platform="erp-global",
            entity_type="order",
            entity_id="80001",
            native_status="REL",
            occurred=NOW_MS,
            classifier="ACTUAL",
        ),
    )
    driver.start()
    assert reasons(driver) >= {"links_full", "owner_spoke"}
    (story,) = driver.records(names.ENTITY_STATUS)
    assert len(story["linked"]) == LINKED_MAX
    assert len(driver.records(names.APPROVED)[0]["correlations"]) == LINKED_MAX
    assert fits(driver)


@pytest.mark.parametrize("letter", LETTERS.values(), ids=LETTERS)
def test_ids_of_any_length_and_script_make_no_order_too_large(driver, letter):
    driver.stop()
    for source in ids(letter, ID_CHARACTERS_MAX):
        link(driver, source, ORDER)
    driver.start()
    assert "links_full" in reasons(driver)
    assert fits(driver)


@pytest.mark.parametrize("letter", LETTERS.values(), ids=LETTERS)
def test_nor_a_shipment_that_is_told_its_region_by_many_orders(driver, letter):
    driver.stop()
    for source in ids(letter, ID_CHARACTERS_MAX):
        link(driver, source.replace("shipment", "order"), SHIPMENT, kind="REGION_OF_SHIPMENT")
    driver.start()
    assert "links_full" in reasons(driver)
    assert fits(driver)


PLAN = {
    "stops": [
        STOP | {"number": 1, "role": "PICKUP", "location": "DAL1"},
        STOP | {"number": 2, "role": "DELIVERY", "location": "ATL1"},
    ]
}
LONG = {
    "one reference": {"references": [{"kind": "PRO", "scope": "", "value": "x" * 90_000}]},
    "many references": {
        "references": [
            {"kind": "PRO", "scope": "RDLN", "value": f"{n:03}" * 60} for n in range(300)
        ]
    },
    "orders": {"orders": [f"{n}".ljust(190, "/") for n in range(490)]},
    "stops": {"stops": [STOP | {"name": "n" * 150, "location": f"L{n}"} for n in range(490)]},
    "the name of a stop": {"stop": STOP | {"location": "ATL1", "name": "n" * 90_000}},
    "a task": {"warehouse_task": "n" * 90_000},
    "a reason": {"native_reason": "n" * 90_000},
    "all a little": dict.fromkeys(
        ("native_reason", "native_qualifier", "warehouse_task", "leg", "attempt"), "\x01" * 190
    ),
}


@pytest.mark.parametrize("given", LONG.values(), ids=LONG)
def test_texts_without_measure_make_no_entity_too_large(driver, given):
    """A plan is one more occurrence by each document; the first is silent about all this."""
    say(driver, 0, native_status="TENDERED", **PLAN)
    driver.stop()
    for number in range(1, 400 if len(str(given)) < 10_000 else 40):
        say(driver, number, native_status="RETENDERED", document=f"V{number}", **given)
    driver.start()
    assert reasons(driver) & {"field_invalid", "open_claims_full"}
    assert fits(driver)


@pytest.mark.parametrize("given", [LONG["orders"], LONG["stops"]], ids=["orders", "stops"])
def test_what_is_taken_back_still_counts(driver, given):
    say(driver, 0, native_status="TENDERED", **PLAN)
    driver.stop()
    for number in range(1, 40):
        say(driver, number, native_status="RETENDERED", document=f"V{number}", **given)
        say(driver, 1_000 + number, native_status="-", retracts=f"e{number}")
    driver.start()
    assert "retracted_by_author" in reasons(driver)
    assert "open_claims_full" in reasons(driver)
    assert fits(driver)


def test_headers_and_keys_of_what_waits_count_too(driver):
    driver.stop()
    body = dict(
        raw_event(
            event_id="e",
            platform="tms-na",
            entity_type="shipment",
            entity_id="S1",
            native_status="DELIVERED",
            classifier="ACTUAL",
            occurred=NOW_MS,
        )
    )
    for number in range(30):
        value = codec.encode(body | {"event_id": f"e{number}"}, codec.committed("raw-event"), 1)
        driver.pipe_bytes(TMS, SHIPMENT.encode(), value, [("h", b"x" * 200_000)])
    driver.start()
    assert "open_claims_full" in reasons(driver)
    assert fits(driver)
