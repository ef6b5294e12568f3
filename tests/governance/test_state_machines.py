"""Machines that do anything in any order, each beside a model small enough to be believed."""

from __future__ import annotations

import dataclasses
from collections import deque
from typing import ClassVar

from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import (
    RuleBasedStateMachine,
    initialize,
    invariant,
    precondition,
    rule,
)
from worlds import HOUR_MS, MINUTE_MS, POLICY, START_MS, stop

from pipeline.contract import codec, names
from pipeline.governance.vocabulary import ControlKind
from pipeline.testing.driver import TopologyDriver

DAY_MS = 24 * HOUR_MS
SILENCES = {"carrier-redline": 4 * HOUR_MS, "ops-desk": 6 * HOUR_MS}
"""Of the owner, before each of its deputies stands in; in order of rank."""
TOLERANCE_MS = 30 * MINUTE_MS
CODES = {"tms-na": "SHIPPED", "carrier-redline": "AF", "ops-desk": "departed"}
TIMES = st.sampled_from([START_MS - minutes * MINUTE_MS for minutes in (0, 10, 50, 90)])
HOURS = st.integers(1, 5)
LATE = HOURS | st.sampled_from([24, 168])
"""Hours after which a record may come again: at once, after a day, after a week."""


class Driven(RuleBasedStateMachine):
    """Everything on one partition, a second between two records."""

    policy = POLICY

    def __init__(self):
        super().__init__()
        self.driver = TopologyDriver([self.policy], partitions=1, start_ms=START_MS)
        self.count = 0

    def say(self, platform, **told):
        """Say something under a new event id, which is returned."""
        self.count += 1
        event = {
            "event_id": f"e{self.count:03}",
            "platform": platform,
            "entity_type": "shipment",
            "entity_id": "S1",
            "classifier": "ACTUAL",
            "occurred": START_MS,
            "occurred_precision": "SECOND",
        } | told
        if platform == "ops-desk":
            event |= {"stated_by": "Kim", "remark": "the driver phoned"}
        if platform == "wms-3pl":
            event["account"] = "ACME-3PL"
        topic = min(self.policy.platforms[platform].topics)
        self.driver.pipe(topic, event, at_ms=self.driver.now_ms + 1_000)
        return event["event_id"]

    def entity(self, key):
        return next((e for e in self.driver.states[0].entities() if e.key == key), None)

    def last_decision(self):
        return self.driver.records(names.DECISIONS)[-1]["decisions"][-1]

    @rule()
    def another_worker_takes_over(self):
        self.driver.restart()


class OneMilestone(Driven):
    """The departure of a shipment: its owner speaks and takes back, deputies speak, time passes.

    What stands is the owner's last word, if it has spoken; else the best deputy's whose silence is
    over. What is published is the difference to what stood.
    """

    def __init__(self):
        super().__init__()
        self.owner = None
        """Event id and time of its last word; the time is None where that took it back."""
        self.deputies = {}
        """When each was first heard, and its last word."""
        self.stands = None
        self.published = []

    @rule(occurred=TIMES)
    def owner_says(self, occurred):
        told = {"native_status": CODES["tms-na"], **at_the_start()}
        event_id = self.say("tms-na", occurred=occurred, **told)
        if self.owner is None or self.owner[1] != occurred:
            self.owner = event_id, occurred
        self.settle()

    @precondition(lambda self: self.owner is not None and self.owner[1] is not None)
    @rule()
    def owner_takes_it_back(self):
        event_id, occurred = self.owner
        self.say("tms-na", native_status="-", retracts=event_id, occurred=occurred)
        self.owner = event_id, None
        self.settle()

    @rule(platform=st.sampled_from(sorted(SILENCES)), occurred=TIMES)
    def deputy_says(self, platform, occurred):
        self.say(platform, native_status=CODES[platform], occurred=occurred, **at_the_start())
        first = self.deputies.get(platform, (self.driver.now_ms, None))[0]
        self.deputies[platform] = first, occurred
        self.settle()

    @rule(hours=HOURS)
    def time_passes(self, hours):
        until = self.driver.now_ms + hours * HOUR_MS
        due = {self.deputies[name][0] + SILENCES[name] for name in self.deputies}
        for moment in sorted(at for at in due if self.driver.now_ms < at < until):
            self.settle(moment)
        self.driver.reach(until)
        self.settle(until)

    def settle(self, now_ms=None):
        """Note what would be published by now."""
        now_ms = self.driver.states[0].clock if now_ms is None else now_ms
        before, self.stands = self.stands, self.due(now_ms)
        if self.stands == before:
            return
        if before is None:
            action = "ASSERT"
        elif self.stands is None:
            action = "RETRACT"
        elif before[0] != self.stands[0] and abs(before[2] - self.stands[2]) <= TOLERANCE_MS:
            action = "CONFIRM"
        else:
            action = "CORRECT"
        self.published.append((action, *(self.stands or before)))

    def due(self, now_ms):
        if self.owner is not None:
            return self.owner[1] and ("AUTHORITATIVE", "tms-na", self.owner[1])
        for platform, silence_ms in SILENCES.items():
            first, occurred = self.deputies.get(platform, (now_ms, None))
            if first + silence_ms <= now_ms:
                return "PROVISIONAL", platform, occurred
        return None

    @invariant()
    def what_stands_is_what_the_model_says(self):
        entity = self.entity("acme/shipment/S1")
        found = None if entity is None else entity.occurrences.get("departed|")
        there = None
        if found is not None and found.stands:
            there = found.assurance, found.platform, found.occurred
        assert there == self.stands

    @invariant()
    def what_is_published_is_the_difference(self):
        records = self.driver.records(names.APPROVED)
        assert [
            (item["action"], item["assurance"], item["platform"], item["occurred"])
            for item in records
        ] == self.published
        assert [item["revision"] for item in records] == list(range(1, len(records) + 1))
        assert [item["entity_seq"] for item in records] == list(range(1, len(records) + 1))


def at_the_start():
    return {"stop": stop(location="DAL1", role="PICKUP")}


class SeenBefore(Driven):
    """Records that come again: known by their digest for a while, and by what they say for ever."""

    window = 3
    policy = dataclasses.replace(POLICY, limits=dataclasses.replace(POLICY.limits, seen_max=window))

    def __init__(self):
        super().__init__()
        self.said = []
        self.known = deque()

    @rule()
    def something_new(self):
        told = {"entity_type": "order", "entity_id": "80001", "native_status": "PICK"}
        self.say("wms-3pl", document=f"T{self.count}", **told)
        self.said.append(next(reversed(self.driver.inputs[names.raw_topic("wms-3pl"), 0])))
        assert self.last_decision()["reason"] == "owner_spoke"
        self.remember(self.said[-1])

    @precondition(lambda self: self.said)
    @rule(data=st.data())
    def something_again(self, data):
        record = data.draw(st.sampled_from(self.said))
        at_ms = self.driver.now_ms + 1_000
        self.driver.pipe_bytes(record.topic, record.key, record.value, at_ms=at_ms)
        assert self.last_decision()["disposition"] == "duplicate"
        assert self.last_decision()["reason"] == "repeated"
        if record.value not in self.known:
            self.remember(record)

    @rule(hours=LATE)
    def time_passes(self, hours):
        self.driver.advance(hours * HOUR_MS)

    def remember(self, record):
        self.known.append(record.value)
        if len(self.known) > self.window:
            self.known.popleft()

    @invariant()
    def no_more_is_remembered_than_the_window_holds(self):
        entity = self.entity("acme/order/80001")
        assert len(entity.seen if entity else ()) == len(self.known)

    @invariant()
    def each_was_approved_once(self):
        assert len(self.driver.records(names.APPROVED)) == len(self.said)


class Parked(Driven):
    """Claims that know a number only: they wait until it is bound, or until they have waited long.

    What a platform says while it is held back nobody looks at until it is let go.
    """

    reference: ClassVar = {"kind": "PRO", "scope": "RDLN", "value": "4001"}
    key = "acme/ref/PRO:RDLN:4001"

    def __init__(self):
        super().__init__()
        self.waiting = []
        """Event ids, and when each came."""
        self.unheard = set()
        """Those that came while their platform was held back: nobody has looked at them."""
        self.bound = self.held_back = False
        self.stopped = []
        """Those that were sent on while their platform was held back: they wait where they came."""
        self.sent, self.dead = [], []

    @initialize(later=st.booleans())
    def an_order(self, later):
        if later:
            self.driver.advance(HOUR_MS)

    @rule(hour=st.integers(0, 3))
    def the_carrier_speaks(self, hour):
        occurred = START_MS - hour * HOUR_MS - self.count * MINUTE_MS
        told = {"native_status": "X3", "occurred": occurred, **at_the_start()}
        event_id = self.say(
            "carrier-redline", entity_type=None, entity_id=None, reference=self.reference, **told
        )
        self.waiting.append((event_id, self.driver.now_ms))
        if self.held_back:
            self.unheard.add(event_id)
        self.go_on()

    @precondition(lambda self: not self.bound)
    @rule()
    def the_number_is_bound(self):
        plan = [stop(number=1, role="PICKUP", location="DAL1")]
        self.say("tms-na", native_status="TENDERED", stops=plan, references=[self.reference])
        self.bound = True
        self.go_on()

    @rule(hours=st.sampled_from([1, 20, 40]))
    def time_passes(self, hours):
        self.driver.advance(hours * HOUR_MS)
        everything = self.waiting + self.stopped
        over = [item for item in everything if item[1] + 3 * DAY_MS <= self.driver.now_ms]
        self.dead += [event_id for event_id, _ in over]
        self.waiting = [item for item in self.waiting if item not in over]
        self.stopped = [item for item in self.stopped if item not in over]

    @precondition(lambda self: not self.held_back)
    @rule()
    def the_carrier_is_held_back(self):
        self.driver.control(ControlKind.SUSPEND, platform="carrier-redline")
        self.held_back = True

    @precondition(lambda self: self.held_back)
    @rule()
    def the_carrier_is_let_go(self):
        self.driver.control(ControlKind.RELEASE, platform="carrier-redline")
        self.held_back = False
        self.unheard.clear()
        self.stopped.clear()
        self.go_on()

    def go_on(self):
        """Send on what was looked at, if it is known where to."""
        if self.bound:
            going = [item for item in self.waiting if item[0] not in self.unheard]
            self.sent += [event_id for event_id, _ in going]
            self.stopped += going if self.held_back else []
            self.waiting = [item for item in self.waiting if item[0] in self.unheard]

    @invariant()
    def what_waits_is_what_the_model_says(self):
        entity = self.entity(self.key)
        there = [] if entity is None else [held.claim.body["event_id"] for held in entity.held]
        assert there == [event_id for event_id, _ in self.waiting]

    @invariant()
    def what_was_sent_on_went_in_order_and_once(self):
        assert event_ids(self.driver, names.REKEYED) == self.sent

    @invariant()
    def what_waited_in_vain_is_in_the_dead_letter(self):
        assert sorted(event_ids(self.driver, names.DEAD_LETTER)) == sorted(self.dead)


def event_ids(driver, topic):
    """Event ids of raw records that were written to a topic, in order."""
    schema = codec.committed("raw-event")
    return [codec.decode(o.value, schema)["event_id"] for o in driver.raw_records(topic)]


often = settings(max_examples=settings.default.max_examples // 2, stateful_step_count=25)


class TestOneMilestone(OneMilestone.TestCase):
    settings = often


class TestSeenBefore(SeenBefore.TestCase):
    settings = often


class TestParked(Parked.TestCase):
    settings = often
