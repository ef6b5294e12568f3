"""Partitions that change hands on a running stack, with what waits there and what is in force.

In order: every test goes on from where the last one ended. Two slots share four partitions so that
slot 0 governs 0 and 1, slot 1 governs 2 and 3, and who is alone governs all.
"""

import itertools
from datetime import timedelta

import pytest
from governed_kills import Speaker, wrong
from governed_stack import PARTITIONS, TMS, Governed

from pipeline.governance.identity import partition_of

pytestmark = [pytest.mark.kafka, pytest.mark.fault]
SOON_GONE = {"MILEPOST_TRANSACTION_TIMEOUT_MS": "10000"}
ALL = [0, 1, 2, 3]


@pytest.fixture(scope="module")
def scratch():
    """A stack where carriers stand in for North America's TMS after a second."""
    made = Governed()
    at = next(i for i, row in enumerate(made.bundle.rules) if row.rule == "transport-na")
    deputies = [{"role": "CARRIER", "after": timedelta(seconds=1)}]
    made.publish(made.bundle_with(**{f"rules__{at}__deputies": deputies}))
    made.start(MILEPOST_GOVERNOR_SLOT="0", **SOON_GONE)
    yield made
    made.close()


@pytest.fixture
def unheard(scratch):
    """The owner's input can't be read meanwhile, so that no deadline acts before it is to."""
    scratch.hang(TMS)
    yield
    scratch.let_go()


def joins(scratch, slot):
    return scratch.join(MILEPOST_GOVERNOR_SLOT=slot, **SOON_GONE)


def governs(scratch, worker, partitions):
    def met():
        assert worker.running, worker.log()[-3000:]
        return worker.governs == partitions

    scratch.watch.until(met, what=f"governing {partitions}")


def picked_up(scratch, partition):
    """A carrier says that a shipment of a partition departed; its name, and the record's place."""
    names = (scratch.name() for _ in itertools.count())
    shipment = next(n for n in names if partition_of(scratch.key(n), PARTITIONS) == partition)
    stop = {"role": "ORIGIN", "location": "DAL1"}
    event = scratch.event(shipment, "AF", platform="carrier-redline", stop=stop)
    (place,) = scratch.send(event)
    assert scratch.fate(place).verdict == ("held", "awaiting_owner")
    return shipment, place


def stood_in_once(scratch, shipment, place):
    """The deputy does, by one record; the topics prove the rest."""
    scratch.watch.until(lambda: scratch.story(shipment), what="a deputy to stand in")
    (moved,) = scratch.fate(place).transitions
    assert (moved["before"], moved["after"]) == ("held", "provisional")
    assert moved["reason"] == "owner_silent"
    assert scratch.verify(deep=True).violations == []
    (record,) = scratch.story(shipment)
    told = (record["action"], record["revision"], record["assurance"], record["event_type"])
    assert told == ("ASSERT", 1, "PROVISIONAL", "departed")


def test_a_deadline_moves_with_its_partition_to_a_worker_that_joins(scratch, unheard):
    first = scratch.worker
    governs(scratch, first, ALL)
    shipment, place = picked_up(scratch, 3)
    second = joins(scratch, "1")
    governs(scratch, second, [2, 3])
    governs(scratch, first, [0, 1])
    assert scratch.story(shipment) == []
    scratch.let_go()
    stood_in_once(scratch, shipment, place)


def test_a_deadline_of_a_worker_that_was_killed_is_its_heirs(scratch, unheard):
    first, second = scratch.workers
    governs(scratch, first, [0, 1])
    shipment, place = picked_up(scratch, 0)
    first.kill()
    governs(scratch, second, ALL)
    scratch.worker = second
    assert scratch.story(shipment) == []
    scratch.let_go()
    stood_in_once(scratch, shipment, place)


def test_workers_and_policies_come_and_go_in_mid_traffic(scratch):
    """One joins, another policy is activated, one leaves in order, one joins and is killed."""
    stays, former, latter = scratch.worker, scratch.bundle_with(), scratch.bundle_with()
    scratch.publish(former)
    speaker = Speaker(scratch, seed=43, events=500, seconds=12.0)
    speaker.start()
    leaves = joins(scratch, "0")
    governs(scratch, stays, [2, 3])
    governs(scratch, leaves, [0, 1])
    scratch.publish(latter)
    assert leaves.end() == 0
    governs(scratch, stays, ALL)
    killed = joins(scratch, "0")
    governs(scratch, killed, [0, 1])
    killed.kill()
    governs(scratch, stays, ALL)
    speaker.join(60)
    fates = scratch.fates(speaker.places, 60)
    assert list(wrong(scratch, speaker, fates)) == []
    assert {fate.policy_version for fate in fates} == {former.version, latter.version}
    for partition in ALL:
        blocks = [b for b in scratch.watch.blocks if b["partition"] == partition]
        told = [version for version, _ in itertools.groupby(b["policy_version"] for b in blocks)]
        assert told[-2:] == [former.version, latter.version]
        assert len(told) == len(set(told))
