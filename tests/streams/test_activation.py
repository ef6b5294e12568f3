"""Which bundle governs: the one that was activated, with that content, or none."""

import asyncio
import dataclasses
from concurrent.futures import Future

import pytest
import structlog

from pipeline.contract import codec, names
from pipeline.contract.bundle import load_bundle
from pipeline.contract.policy_tables import compile_policy
from pipeline.governance.claims import raw_event
from pipeline.lane import PartitionBatch, RecordBatch
from pipeline.lane.model import Record
from pipeline.streams.governor import Decider, Inputs
from pipeline.streams.observing import GovernorObserver, WrongPolicy
from pipeline.streams.state import PartitionState
from pipeline.streams.topology import PolicyName, Surroundings
from pipeline.testing.driver import TopologyDriver

POLICY = compile_policy(load_bundle())
NEXT = dataclasses.replace(POLICY, version="next", digest="d" * 64)
NOW_MS = 1_790_000_000_000
TMS = "logistics.raw.tms-na.v1"


@pytest.fixture
def driver():
    return TopologyDriver([POLICY, NEXT], partitions=1, start_ms=NOW_MS)


def activate(driver, version, digest):
    record = {"kind": "ACTIVATE", "partition": 0, "policy_version": version}
    value = codec.encode(record | {"policy_digest": digest}, codec.committed("control"), 3)
    driver.pipe_bytes(names.CONTROL, b"0", value, partition=0)


def say(driver):
    event = raw_event(
        event_id="e1",
        platform="tms-na",
        entity_type="shipment",
        entity_id="S1",
        native_status="POD",
        classifier="ACTUAL",
        occurred=NOW_MS,
        occurred_precision="SECOND",
    )
    driver.pipe(TMS, event)


def blocks(driver):
    return driver.records(names.DECISIONS)


@pytest.mark.parametrize("digest", [None, "", NEXT.digest])
def test_a_bundle_with_the_digest_that_was_activated_governs(driver, digest):
    activate(driver, "next", digest)
    assert blocks(driver)[-1]["policy_version"] == "next"
    driver.restart()
    say(driver)
    assert blocks(driver)[-1]["policy_version"] == "next"


@pytest.mark.parametrize("version", ["next", POLICY.version])
def test_one_with_another_digest_is_lacking_and_nothing_is_decided(driver, version):
    """Also where the version is in force already."""
    before = len(blocks(driver)), driver.states[0].own_record()
    with pytest.raises(RuntimeError, match="lacks .*" + "e" * 64):
        activate(driver, version, "e" * 64)
    assert (len(blocks(driver)), driver.states[0].own_record()) == before


def test_one_that_changed_while_the_worker_was_down_is_lacking(driver):
    driver.policies[POLICY.version] = dataclasses.replace(POLICY, digest="f" * 64)
    driver.restart()
    before = len(blocks(driver))
    with pytest.raises(RuntimeError, match=f"lacks .*{POLICY.digest}"):
        say(driver)
    assert len(blocks(driver)) == before


def test_a_state_that_does_not_name_a_digest_is_governed_by_its_version(driver):
    driver.states[0].policy_digest = ""
    say(driver)
    assert driver.states[0].policy_digest == POLICY.digest


def test_a_name_without_a_digest_means_any_content():
    assert PolicyName("next", "").fits(NEXT)
    assert PolicyName("next", NEXT.digest).fits(NEXT)
    assert not PolicyName("next", POLICY.digest).fits(NEXT)
    assert not PolicyName("next", "").fits(None)


class Told:
    def __init__(self):
        self.counted = []

    def add(self, name, amount):
        self.counted.append((name, amount))


def test_a_mismatch_is_an_error_in_the_log_once_and_counted_each_time(capture):
    told = Told()
    observer = GovernorObserver(told)
    for _ in range(2):
        observer.deferred(1, WrongPolicy(2.0, "policy bundle v was activated with digest a"))
    assert [(entry["log_level"], entry["event"], entry["partition"]) for entry in capture] == [
        ("error", "policy_mismatch", 1)
    ]
    assert told.counted.count(("milepost_policy_mismatches_total", 1)) == 2


@pytest.fixture
def capture():
    with structlog.testing.capture_logs() as entries:
        yield entries


class Published:
    """Look-ups of a worker that finds the next bundle when it is asked for."""

    def __init__(self):
        self.policies = {POLICY.version: POLICY}
        self.schemas = {(names.CONTROL, 3): codec.committed("control")}

    def expire(self, *, everything):
        del everything

    def find_policies(self, wanted):
        self.policies |= {name.version: WITH_NEWCOMER for name in wanted}
        return []


NEWCOMER = dataclasses.replace(POLICY.platforms["carrier-redline"], topics=frozenset({"new"}))
WITH_NEWCOMER = dataclasses.replace(NEXT, platforms={**POLICY.platforms, "newcomer": NEWCOMER})


def test_the_clock_waits_for_the_inputs_of_a_bundle_that_the_same_batch_activates():
    """What the newcomer wrote before is not read yet: nobody may be taken for silent."""
    control = {"kind": "ACTIVATE", "partition": 0, "policy_version": "next"}
    value = codec.encode(control, codec.committed("control"), 3)
    record = Record(names.CONTROL, 0, 0, NOW_MS, b"0", value, None)
    state, declared, looked_up = PartitionState(0), frozenset({names.CONTROL, TMS}), Published()
    surroundings = Surroundings(
        1, "test", looked_up.policies, looked_up.schemas, {names.DECISIONS: 6}, declared, 10_000
    )
    decider = Decider(
        surroundings, looked_up, lambda *_: None, Inputs(declared), lambda _: Future()
    )
    part = PartitionBatch(0, state, [record], {}, [], dict.fromkeys(declared, NOW_MS))
    asyncio.run(decider.decide(RecordBatch({0: part}, 1, lambda _: None)))
    assert state.policy_version == "next"
    assert state.clock == 0
    assert state.time.of(frozenset({TMS})) == NOW_MS
