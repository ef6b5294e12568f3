"""The plain path and the law: the same bytes, whatever comes in."""

from __future__ import annotations

import random
import uuid

import pytest

from benchmarks.peers import workload
from pipeline.contract import codec, names
from pipeline.contract.bundle import load_bundle
from pipeline.contract.policy_tables import compile_policy
from pipeline.governance.claims import raw_event
from pipeline.governance.identity import entity_key
from pipeline.native import PLAIN, PLAIN_BECAUSE
from pipeline.streams import entity_values, state
from pipeline.testing.driver import SCHEMA_IDS, TopologyDriver

needs_plain = pytest.mark.skipif(PLAIN is None, reason=f"no plain path: {PLAIN_BECAUSE}")

NOW = 1_790_000_000_000
HOUR = 3_600_000
POLICY = compile_policy(load_bundle())
EMPTY = dict.fromkeys(("number", "role", "location", "name", "city", "subdivision", "country"))
PLACES = (
    {"location": "DAL1"}, {"location": "CHI1"}, {"location": " dal1 "}, {"location": "C-ATL"},
    {"location": "RTM1"}, {"location": "LEJ1"}, {"location": "C-MUC"}, {"location": "NOWHERE"},
    {"city": "München", "country": "DE"}, {"city": "Dallas", "subdivision": "TX", "country": "US"},
    {"country": "fr"}, {"number": 1}, {"number": 2}, {"number": 0}, {"location": ""}, {},
    {"location": "A#B"}, {"name": 'Depot "7" \\ West'},
)  # fmt: skip
TEXTS = (None, "", "D-1", "D-2", "Ü-3", "日本", "a\tb", 'q"\\/', "x" * 200, "x" * 201, "\u2028")


class Traffic:
    """Stories of shipments and orders, told with mistakes, by others, twice, and in odd words."""

    def __init__(self, seed, strange):
        self.chance = random.Random(seed)
        self.strange = strange
        """Share of the events that are not said as usual."""
        self.sent = []
        self.told = []
        self.crowd = [workload.Entity(number, self.chance, 0) for number in range(24)]

    def records(self, count):
        """Topic, key, value and headers of so many records."""
        return [self.record(NOW - 6 * HOUR + at * 20_000) for at in range(count)]

    def record(self, at_ms):
        chance = self.chance
        if self.sent and chance.random() < self.strange / 4:
            return chance.choice(self.sent)
        event = self.event(at_ms)
        value = codec.encode(dict(event), codec.committed("raw-event"), SCHEMA_IDS["raw-event"])
        if chance.random() < self.strange / 10:
            at = chance.randrange(len(value))
            value = value[:at] + bytes([chance.randrange(256)]) + value[at + 1 :]
        platform = POLICY.platforms.get(event["platform"])
        topic = names.raw_topic("portal") if platform is None else min(platform.topics)
        if chance.random() < self.strange / 20:
            topic = names.raw_topic("tms-na")
        key = entity_key("acme", event["entity_type"] or "order", event["entity_id"] or "-")
        headers = [("x", b"y")] if chance.random() < self.strange / 10 else None
        self.sent.append((topic, key.encode(), value, headers))
        return self.sent[-1]

    def event(self, at_ms):
        """The next event of somebody's story, or something else."""
        chance = self.chance
        if self.told and chance.random() < self.strange / 2:
            event = chance.choice(self.told) | self.other()
        else:
            place = chance.randrange(len(self.crowd))
            entity = self.crowd[place]
            event = entity.event(chance, at_ms)
            deputy = f"tms-{(entity.region or '').lower()}"
            if event["native_status"] == "GI" and chance.random() < 0.7:
                # Europe's TMS says SHIPPED when goods leave the warehouse: a deputy there
                code = "SHIPPED" if deputy == "tms-eu" else "GI"
                said = {"platform": deputy, "native_status": code, "account": None}
                self.told.append(event)
                return raw_event(**event | said, event_id=self.new_id())
            entity.told += 1
            if entity.told == len(entity.story):
                self.crowd[place] = workload.Entity(1_000 + len(self.sent), chance, 0)
            if "stops" in event and chance.random() < 0.5:
                event["orders"] = [f"8{chance.randrange(24):09d}"]
        event["event_id"] = self.new_id()
        self.told.append(event)
        if chance.random() < self.strange:
            event = event | self.rare()
        return raw_event(**event)

    def new_id(self):
        """An event id in one of the forms that platforms choose."""
        number = self.chance.getrandbits(128)
        found = str(uuid.UUID(int=number))
        return self.chance.choice((found, found.upper(), f"{{{found}}}", f"e{number % 10**9}"))

    def other(self):
        """Who else might say it, of when, of where."""
        chance, said = self.chance, {}
        draw = chance.random()
        if draw < 0.4:
            said["platform"] = chance.choice(("tms-na", "tms-eu", "wms-3pl", "ops-desk", "nobody"))
            said["account"] = chance.choice((None, "ACME-3PL"))
        if chance.random() < 0.5:
            said["occurred"] = NOW - chance.choice((0, 1, 5, 24 * 400, -5)) * HOUR
            said["occurred_precision"] = chance.choice(("DAY", "MINUTE", "SECOND", "MILLISECOND"))
        if chance.random() < 0.2:
            said["classifier"] = chance.choice(("ESTIMATED", "PLANNED", "UNRECOGNISED"))
        if chance.random() < 0.3:
            role = chance.choice((None, "PICKUP", "TRANSIT", "DELIVERY"))
            said["stop"] = chance.choice((None, EMPTY | {"role": role} | chance.choice(PLACES)))
        return said

    def rare(self):
        """What few records say."""
        chance, said = self.chance, {}
        for name in ("native_reason", "leg", "attempt", "warehouse_task", "remark", "stated_by"):
            if chance.random() < 0.08:
                said[name] = chance.choice(TEXTS)
        if chance.random() < 0.15:
            said["quantity"] = {
                "value": chance.choice((0, 5_000_000, -1, 10**18 - 1)),
                "unit": chance.choice(("EA", "m³", "}", 'X","completeness":"PARTIAL"}')),
                "basis": "DELTA",
                "completeness": chance.choice(("PARTIAL", "COMPLETE", "UNRECOGNISED")),
            }
        if chance.random() < 0.08:
            said |= {"amount": chance.choice((0, 127, 128, -129, 125_000)),
                     "currency": chance.choice(("EUR", "", None))}  # fmt: skip
        if chance.random() < 0.05:
            said["retracts"] = f"e{chance.randrange(10**9)}"
        if chance.random() < 0.05:
            said["references"] = [{"kind": "BOL", "scope": "", "value": f"{chance.randrange(4)}"}]
        if chance.random() < 0.05:
            said["sequence"] = chance.randrange(9)
        if chance.random() < 0.05:
            said["occurred_offset_minutes"] = chance.choice((0, 60, -300, 2_000, -(2**31)))
        if chance.random() < 0.05:
            said["recorded"] = chance.choice((None, 0, NOW + HOUR))
        if chance.random() < 0.05:
            said["document"] = chance.choice(TEXTS)
        if chance.random() < 0.05:
            said["attributes"] = {"trailer": "T1", "ü": ""}
        return said


def governed(records, sizes):
    """Everything that is written, batch by batch; ticks come in between."""
    driver = TopologyDriver([POLICY], 2, start_ms=NOW)
    chance = random.Random(sizes)
    at = 0
    while at < len(records):
        until = at + chance.randrange(1, 60)
        driver.stop()
        for topic, key, value, headers in records[at:until]:
            driver.pipe_bytes(topic, key, value, headers)
        at = until
        driver.start(fresh=chance.random() < 0.2)
        driver.advance(chance.choice((0, 1_000, HOUR, 3 * HOUR)))
    return driver


def written(driver):
    return [tuple(output) for output in driver.outputs]


@needs_plain
@pytest.mark.parametrize("strange", [0.02, 0.1, 0.4])
@pytest.mark.parametrize("seed", range(8))
def test_the_plain_path_writes_what_the_law_writes(seed, strange, monkeypatch):
    """Also what it leaves alone: odd texts, bounds, repeats, damaged bytes, corrections."""
    records = Traffic(seed, strange).records(400)
    compare(records, seed, monkeypatch)


@needs_plain
@pytest.mark.parametrize("window", [5, 40, 400])
@pytest.mark.parametrize("seed", range(6))
def test_whatever_order_the_inputs_are_read_in(seed, window, monkeypatch):
    """Plans come after what they are the plan of, stories begin at their end."""
    records, chance = Traffic(seed, 0.05).records(400), random.Random(seed)
    mixed = []
    for at in range(0, len(records), window):
        part = records[at : at + window]
        mixed += chance.sample(part, len(part))
    compare(mixed, seed, monkeypatch)


def compare(records, seed, monkeypatch):
    plainly = governed(records, seed)
    monkeypatch.setattr(state, "PLAIN", None)
    by_law = governed(records, seed)
    assert by_law.states[0].plain is None
    assert written(plainly) == written(by_law)
    assert [s.own_record() for s in plainly.states] == [s.own_record() for s in by_law.states]


@needs_plain
@pytest.mark.parametrize("number", [-(2**127), 2**127 - 1, -(10**18), 10**18, 10**18 - 1])
def test_numbers_at_the_end_of_their_range_are_what_the_law_takes_them_for(number, monkeypatch):
    event = raw_event(
        event_id="e1", platform="erp-global", entity_type="order", entity_id="80001",
        native_status="REL", classifier="ACTUAL", occurred=NOW - HOUR, occurred_precision="SECOND",
        amount=10**17 + 12_345, currency="EUR",
    )  # fmt: skip
    value = codec.encode(dict(event), codec.committed("raw-event"), SCHEMA_IDS["raw-event"])
    short, long = (
        n.to_bytes(size, "big", signed=True) for n, size in ((10**17 + 12_345, 8), (number, 16))
    )
    assert b"\x10" + short in value
    value = value.replace(b"\x10" + short, b"\x20" + long)
    records = [(names.raw_topic("erp-global"), b"acme/order/80001", value, None)]
    plainly = governed(records, 1)
    monkeypatch.setattr(state, "PLAIN", None)
    assert written(plainly) == written(governed(records, 1))


@needs_plain
@pytest.mark.parametrize(
    "text",
    [
        "0f8fad5b-d9cb-469f-a165-70867728950e", "0F8FAD5B-D9CB-469F-A165-70867728950E",
        "0f8fad5bd9cb469fa16570867728950e", "0f8fad5b-d9cb-469f-a165-70867728950",
        "0f8fad5b-d9cb-469f-a165 70867728950e", "0f8fad5b-d9cb-469f-a165-7086772895é",
        "0f8fad5b-d9cb-469f-a16-570867728950e", "ACTUAL", "owner_spoke",
        "shipment.changed", "actual", "", "x", "x" * 62, "x" * 63, "é" * 31,
    ],
)  # fmt: skip
def test_words_and_uuids_come_back_as_they_were(text, monkeypatch):
    event = raw_event(
        event_id=text or "e1", platform="wms-3pl", account="ACME-3PL", entity_type="order",
        entity_id="80001", native_status="PICK", classifier="ACTUAL", occurred=NOW - HOUR,
        occurred_precision="SECOND", document=text or "D-1", remark=text,
        stop=EMPTY | {"location": text, "number": 7},
    )  # fmt: skip
    value = codec.encode(dict(event), codec.committed("raw-event"), SCHEMA_IDS["raw-event"])
    records = [(names.raw_topic("wms-3pl"), b"acme/order/80001", value, None)]
    driver = governed(records, 1)
    (entity,) = (found for s in driver.states for found in s.entities())
    (occurrence,) = entity.occurrences.values()
    (spoken,) = occurrence.voices()
    for name in ("event_id", "document", "remark", "stop"):
        assert spoken.claim.body[name] == event[name]
    monkeypatch.setattr(state, "PLAIN", None)
    assert written(driver) == written(governed(records, 1))


@needs_plain
def test_the_plain_path_knows_the_same_words():
    assert tuple(PLAIN.WORDS) == entity_values.WORDS
    assert len(set(entity_values.WORDS)) == len(entity_values.WORDS)


@needs_plain
def test_what_the_law_has_changed_is_taken_back_within_the_block():
    """A damaged record with its key marks an entity; what follows in the batch is plain again."""
    crowd = Traffic(3, 0.0)
    records = [record for record in crowd.records(120) if record[1] == crowd.sent[0][1]]
    topic, key, value, headers = records[0]
    driver = TopologyDriver([POLICY], 1, start_ms=NOW)
    driver.advance(1_000)
    (found,) = driver.states
    judged = []

    class Watched:
        """Notes how many records each run of the plain path judges."""

        def judge(self, *given):
            result = store.judge(*given)
            judged.append(result.at - given[3])
            return result

        def __getattr__(self, name):
            return getattr(store, name)

        def __contains__(self, name):
            return name in store

    store, found.plain = found.plain, Watched()
    driver.stop()
    for sent in (value, value[:-3], *(record[2] for record in records[1:4])):
        driver.pipe_bytes(topic, key, sent, headers)
    driver.start(fresh=False)
    assert judged == [1, 0, 3]
    assert len([output for output in driver.outputs if output.topic == names.DEAD_LETTER]) == 1
