"""No reason is a word only: each is given by a scenario, or by a small case here."""

import dataclasses
from pathlib import Path
from unittest.mock import patch

import pytest

from pipeline.contract import codec, names
from pipeline.contract.bundle import load_bundle
from pipeline.contract.policy_tables import compile_policy
from pipeline.governance.claims import raw_event
from pipeline.governance.identity import partition_of
from pipeline.governance.links import LINKED_MAX
from pipeline.governance.reasons import Reason
from pipeline.streams.quarantine import REFUSED
from pipeline.testing import scenario_file, scenario_policy, scenarios
from pipeline.testing.driver import TopologyDriver

COMING = frozenset()
"""Reasons that later work gives; what the product can give already is none of them."""
SCENARIOS = Path(__file__).parents[1] / "scenarios"
BUNDLE = load_bundle()
POLICY = compile_policy(BUNDLE)
NOW_MS = 1_790_000_000_000
HOUR_MS = 3_600_000
TMS, TMS_EU = "logistics.raw.tms-na.v1", "logistics.raw.tms-eu.v1"
ERP, CARRIERS = "logistics.raw.erp-global.v1", "logistics.raw.carriers.v1"
STOP = dict.fromkeys(("number", "role", "location", "name", "city", "subdivision", "country"))


def given_by(driver):
    """Every reason in the ledger, the approved records and the dead letters of a run."""
    for block in driver.records(names.DECISIONS):
        yield from (row["reason"] for row in block["decisions"])
        yield from (row["reason"] for row in block["transitions"])
    yield from (record["reason"] for record in driver.records(names.APPROVED))
    for letter in driver.raw_records(names.DEAD_LETTER):
        yield dict(letter.headers)["milepost.dlq.reason"].decode()


class Story:
    """A few words of platforms about shipment S1, each a minute after the one before."""

    def __init__(self, policy=POLICY, start_ms=NOW_MS):
        self.driver = TopologyDriver([policy], start_ms=start_ms)
        self.said = 0

    def event(self, platform, status, **given):
        self.said += 1
        self.driver.now_ms += 60_000
        return raw_event(
            **{
                "event_id": f"e{self.said}",
                "platform": platform,
                "entity_type": "shipment",
                "entity_id": "S1",
                "native_status": status,
                "classifier": "ACTUAL",
                "occurred": self.driver.now_ms,
                "occurred_precision": "SECOND",
            }
            | given
        )

    def say(self, topic, platform, status, **given):
        self.driver.pipe(topic, self.event(platform, status, **given))

    def bytes(self, tail=b"", schema_id=1, **given):
        value = codec.encode(
            dict(self.event("tms-na", "POD", **given)), codec.committed("raw-event"), schema_id
        )
        self.driver.pipe_bytes(TMS, b"acme/shipment/S1", value + tail)

    def link(self, seq, **given):
        record = {
            "kind": "SHIPMENT_OF_ORDER",
            "source": "acme/shipment/S1",
            "target": "acme/order/80001",
            "source_seq": seq,
            "sent": NOW_MS,
            "status": "shipped",
            "ledger_partition": 0,
            "ledger_seq": 0,
        } | given
        value = codec.encode(record, codec.committed("link"), 2)
        self.driver.pipe_bytes(names.LINKS, record["target"].encode(), value)


def stop(location=None, **given):
    return STOP | {"location": location} | given


def tender(story, topic, platform, *sites, status="TENDERED", **given):
    stops = [
        stop(site, number=number, role="PICKUP" if number == 1 else "DELIVERY")
        for number, site in enumerate(sites, 1)
    ]
    story.say(topic, platform, status, stops=stops, **given)


def taken_back():
    story = Story()
    story.say(TMS, "tms-na", "DELIVERED", stop=stop("ATL1"))
    story.say(TMS, "tms-na", "-", retracts="e1")
    story.say(CARRIERS, "carrier-redline", "D1", stop=stop("ATL1"))
    story.say(TMS, "tms-na", "DELIVERED", stop=stop("ATL1"))
    story.say(TMS, "tms-na", "-", retracts="never said")
    story.driver.advance(73 * HOUR_MS)
    return story


def shown_at_another_stop():
    story = Story()
    tender(story, TMS, "tms-na", "DAL1", "ATL1")
    happened = story.driver.now_ms + 10 * 60_000
    story.driver.advance(HOUR_MS)
    story.say(TMS, "tms-na", "DELIVERED", stop=stop(number=2), occurred=happened)
    again = {"status": "RETENDERED", "document": "V2", "occurred": happened - 60_000}
    tender(story, TMS, "tms-na", "DAL1", "SEA1", **again)
    return story


def taken_over_by_another_region():
    story = Story()
    tender(story, TMS, "tms-na", "DAL1", "ATL1")
    story.say(TMS, "tms-na", "ACCEPTED")
    tender(story, TMS_EU, "tms-eu", "RTM1", "MUC1")
    return story


def stated_by_the_owners_of_two_regions():
    story = Story()
    tender(story, TMS, "tms-na", "DAL1", "ATL1")
    story.say(TMS, "tms-na", "SHIPPED", stop=stop("DAL1"))
    earlier = story.driver.now_ms - 3 * HOUR_MS
    story.say(TMS_EU, "tms-eu", "PICKED_UP", stop=stop("RTM1"), occurred=earlier)
    return story


def of_no_use_to_the_bundle():
    story = Story()
    story.say(TMS, "tms-na", "NOTE")
    story.say(TMS, "tms-na", "ACCEPTED", stop=stop(city="Osaka", country="JP"))
    tender(story, TMS, "tms-na", "DAL1", "ATL1")
    story.say(ERP, "erp-global", "FRT", amount=1, currency="USD")
    story.say(TMS, "tms-na", "POD", entity_type="ref")
    return story


def before_the_first_rule():
    story = Story(start_ms=1_704_067_200_000)  # the rules begin that day
    story.say(TMS, "tms-na", "DELIVERED", stop=stop("ATL1"), occurred=1_704_000_000_000)
    return story


def unknown_to_the_catalogue():
    known = {name: row for name, row in POLICY.catalogue.items() if name != "pod.received"}
    story = Story(dataclasses.replace(POLICY, catalogue=known))
    story.say(TMS, "tms-na", "POD", stop=stop("ATL1"))
    return story


def bytes_that_are_no_record():
    story = Story()
    story.bytes(tail=b"x")
    story.bytes(schema_id=2)
    story.bytes(schema_id=99)
    story.bytes(attributes={"a": "x" * 300_000})
    return story


def what_the_decoder_died_of():
    story = Story()
    with patch("pipeline.testing.driver._refused", lambda *_: REFUSED):
        story.bytes(schema_id=98)
    return story


def sent_on_and_on():
    story = Story()
    value = codec.encode(dict(story.event("tms-na", "POD")), codec.committed("raw-event"), 1)
    number = (partition_of(b"acme/shipment/S1", 4) + 1) % 4
    origin = f'{{"topic":"{TMS}","partition":0,"offset":0,"received":{NOW_MS}}}'.encode()
    told = [(names.HEADER_ORIGIN, origin), (names.HEADER_HOPS, b"3")]
    story.driver.pipe_bytes(names.REKEYED, b"?", value, told, number)
    return story


def linked():
    story = Story()
    story.link(1)
    story.link(1)
    story.link(2, kind="CANCEL")
    story.link(3, target="no key")
    story.driver.stop()
    for number in range(LINKED_MAX):
        story.link(1, source=f"acme/shipment/L{number}")
    story.driver.start()
    return story


def told_by_the_control_topic():
    story = Story()
    story.driver.activate(POLICY.version)
    watermark = codec.encode({"kind": "WATERMARK", "partition": 0}, codec.committed("control"), 3)
    story.driver.pipe_bytes(names.CONTROL, b"0", watermark, partition=0)
    return story


CASES = {
    taken_back: {
        "retracted_by_author",
        "asserted_anew",
        "owner_retracted",
        "retraction_target_unknown",
    },
    shown_at_another_stop: {"stop_changed"},
    taken_over_by_another_region: {"no_longer_entitled"},
    stated_by_the_owners_of_two_regions: {"not_owner_at_occurrence"},
    of_no_use_to_the_bundle: {
        "not_a_milestone",
        "unknown_region",
        "document_missing",
        "field_invalid",
    },
    before_the_first_rule: {"no_owner_then"},
    unknown_to_the_catalogue: {"unknown_event_type"},
    bytes_that_are_no_record: {
        "trailing_bytes",
        "schema_not_allowed",
        "unknown_schema",
        "record_too_large",
    },
    what_the_decoder_died_of: {"decoder_died"},
    sent_on_and_on: {"too_many_hops"},
    linked: {"link_repeated", "link_unknown", "key_invalid", "links_full"},
    told_by_the_control_topic: {"policy_unchanged", "control_unknown"},
}


@pytest.mark.parametrize("case", CASES, ids=lambda case: case.__name__)
def test_a_case_gives_its_reasons(case):
    assert CASES[case] <= set(given_by(case().driver))


def test_every_reason_is_given_by_a_scenario_or_a_case_but_those_to_come(monkeypatch):
    monkeypatch.setattr(scenario_policy, "load_bundle", lambda: BUNDLE)  # read once
    drivers = [case().driver for case in CASES]

    def recorded(scenario):
        drivers.append(scenarios.DriverStack(scenario))
        return drivers[-1]

    for path in sorted(SCENARIOS.glob("*.yaml")):
        scenario = scenario_file.load(path)
        for variant in scenario.variants:
            scenarios.run(scenario, variant, recorded, first_order)
    given = {reason for driver in drivers for reason in given_by(driver)}
    assert {reason.value for reason in Reason} - given == COMING


def first_order(steps):
    return [next(scenarios.interleavings(steps))]
