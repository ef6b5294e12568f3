"""Who has been silent for too long is forgotten by the clock, and never begins again at one."""

from __future__ import annotations

import random

from hypothesis import given
from hypothesis import strategies as st
from test_links import PLAN, SHIPMENT, say
from test_networks import law
from worlds import HOUR_MS, POLICY, START_MS, stop

from pipeline.contract import names
from pipeline.governance.entity import Entity
from pipeline.governance.kernel import lasting
from pipeline.testing.driver import TopologyDriver

DAY_MS = 24 * HOUR_MS
LASTS_MS = lasting(POLICY, SHIPMENT, False)
"""From the last word until a stub is left."""
STUB_MS = lasting(POLICY, SHIPMENT, True)
"""From the last word until nothing is left: five years, the one bound on all this."""
_KINDS = ("TENDERED", "ACCEPTED", "SHIPPED", "DELIVERED", "again", "retraction", "too old", "link")


def silences(rnd):
    """How long nobody says anything: about as long as is remembered, often to the millisecond."""
    for _ in range(rnd.randrange(3, 8)):
        about = rnd.choice((0, HOUR_MS, LASTS_MS, LASTS_MS))
        yield max(0, about + rnd.choice((0, 0, -1, 1, -DAY_MS, DAY_MS)))


def speak(driver, rnd, number):
    kind = rnd.choice(_KINDS)
    if kind == "retraction":
        say(driver, f"e{number}", "tms-na", "-", retracts=f"e{number - 1}")
    elif kind == "again":
        say(driver, f"e{max(0, number - 1)}", "tms-na", "ACCEPTED")
    elif kind == "too old":
        say(driver, f"e{number}", "tms-na", "POD", occurred=START_MS - 200 * DAY_MS)
    elif kind == "link":
        about = f"order {80_001 + rnd.randrange(2)}"
        say(driver, f"e{number}", "erp-global", "REL", about, stop=stop(location="DAL1"))
    else:
        plan = PLAN | {"orders": ["80001"]} if kind == "TENDERED" else {}
        say(driver, f"e{number}", "tms-na", kind, stop=stop(location="ATL1"), **plan)


def lived(seed, *, ticks, restarts):
    """A story with long silences, with ticks in them and fresh workers as is asked."""
    rnd, chance = random.Random(seed), random.Random(seed)
    driver = TopologyDriver([POLICY], partitions=1, start_ms=START_MS)
    for number, silence in enumerate(silences(rnd)):
        until = driver.now_ms + silence
        for part in range(1, ticks):
            driver.reach(until - silence + silence * part // ticks)
        driver.reach(until)
        if restarts and chance.randrange(2):
            driver.restart()
        for place in range(rnd.randrange(1, 4)):
            speak(driver, rnd, 10 * number + place)
    return driver


def told(driver):
    """What was approved; the ledger numbers its ticks too."""
    numbering = {"ledger_seq", "raw_offset"}
    return [
        {name: value for name, value in record.items() if name not in numbering}
        for record in driver.records(names.APPROVED)
    ]


@law
@given(st.integers(0, 2**40))
def test_no_milestone_has_a_second_first_revision_properties(seed):
    records = told(lived(seed, ticks=3, restarts=True))
    revisions, sequences = {}, {}
    for record in records:
        name = record["milestone_id"]
        revisions[name] = revisions.get(name, 0) + 1
        assert record["revision"] == revisions[name]
        entity = record["entity_type"], record["entity_id"]
        if record["entity_seq"] != 1 or entity not in sequences:
            assert record["entity_seq"] == sequences.get(entity, 0) + 1
        sequences[entity] = record["entity_seq"]


@law
@given(st.integers(0, 2**40))
def test_when_a_worker_gets_round_to_forgetting_does_not_matter_properties(seed):
    one = told(lived(seed, ticks=1, restarts=False))
    assert one == told(lived(seed, ticks=5, restarts=False))
    assert one == told(lived(seed, ticks=2, restarts=True))


def test_nothing_is_left_in_the_end():
    driver = TopologyDriver([POLICY], partitions=1, start_ms=START_MS)
    say(driver, "t", "tms-na", "TENDERED", **PLAN)
    driver.advance(STUB_MS - DAY_MS)
    assert len(driver.states[0]) == 1
    driver.advance(2 * DAY_MS)
    assert len(driver.states[0]) == 0


def test_only_what_is_kept_keeps_its_entity():
    """A record that comes again is not news: a worker that saw it forgets when any other would."""
    driver = TopologyDriver([POLICY], partitions=1, start_ms=START_MS)
    say(driver, "t", "tms-na", "TENDERED", **PLAN)
    record = driver.inputs[names.raw_topic("tms-na"), 0][0]
    driver.advance(LASTS_MS - DAY_MS)
    driver.pipe_bytes(names.raw_topic("tms-na"), record.key, record.value)
    driver.advance(2 * DAY_MS)
    (entity,) = driver.states[0].entities()
    assert entity.forgotten


def test_an_entity_of_which_nothing_could_be_read_is_forgotten_too():
    driver = TopologyDriver([POLICY], partitions=1, start_ms=START_MS)
    driver.pipe_bytes(names.raw_topic("tms-na"), SHIPMENT.encode(), b"\0\0\0\0\x01")
    assert len(driver.states[0]) == 1
    driver.advance(LASTS_MS + DAY_MS)
    assert len(driver.states[0]) == 0


def test_an_entity_that_has_only_told_others_counts_its_links_on():
    """A lower count would be taken for a repetition by whoever hears it."""
    entity = Entity("acme/shipment/S1")
    entity.link_seq, entity.active = 3, 1
    assert not entity.is_blank()
    entity.forget()
    assert (entity.forgotten, entity.link_seq) == (True, 3)
    entity.forget()
    assert entity.is_blank()
