"""Platforms that are held back, and policies that change under fire, on a running stack.

In order: every test goes on from where the last one ended.
"""

import itertools

import pytest
from confluent_kafka.admin import AdminClient, NewTopic
from governed_kills import Speaker
from governed_stack import PARTITIONS, Governed

from pipeline.contract import codec, names
from pipeline.governance.identity import partition_of
from pipeline.kafka import clients

pytestmark = pytest.mark.kafka


@pytest.fixture(scope="module")
def scratch():
    made = Governed()
    made.publish(made.bundle_with(heading__brake={"run": 3, "window": 1000, "ratio": 0.9}))
    made.start()
    yield made
    made.close()


def steer(scratch, kind, **told):
    """Write a control record to every partition, and wait for what the ledger says of it."""
    schema_id = scratch.registry.id_for(names.subject(names.CONTROL), "control")
    places = clients.deliver(
        scratch.producer,
        [
            clients.Outgoing(
                names.CONTROL,
                codec.encode(
                    {"kind": kind, "partition": number, **told},
                    codec.committed("control"),
                    schema_id,
                ),
                str(number).encode(),
                partition=number,
            )
            for number in range(PARTITIONS)
        ],
    )
    return [scratch.fate(tuple(place)).verdict for place in places]


def shipment_at(scratch, partition):
    name = (scratch.name() for _ in itertools.count())
    return next(n for n in name if partition_of(scratch.key(n), PARTITIONS) == partition)


def eu(scratch, shipment, status, **given):
    given = {"platform": "tms-eu", "stop": {"location": "MUC1"}} | given
    return scratch.event(shipment, status, **given)


def test_the_brake_pauses_the_input_and_nothing_else(scratch):
    shipment = shipment_at(scratch, 1)
    bad = scratch.send(*(eu(scratch, shipment, f"NONSENSE {n}") for n in range(3)))
    assert {fate.verdict for fate in scratch.fates(bad)} == {("dead_lettered", "unmapped_status")}
    (waits,) = scratch.send(eu(scratch, shipment, "DELIVERED"))
    (elsewhere,) = scratch.send(eu(scratch, shipment_at(scratch, 2), "DELIVERED"))
    na = scratch.event(shipment_at(scratch, 1), "DELIVERED", stop={"location": "C-ATL"})
    (beside,) = scratch.send(na)
    assert scratch.fate(elsewhere).verdict == ("approved", "owner_spoke")
    assert scratch.fate(beside).verdict == ("approved", "owner_spoke")
    assert waits not in scratch.watch.fates


def test_it_stays_paused_with_a_fresh_worker_until_it_is_released(scratch):
    scratch.worker.kill()
    scratch.start()
    shipment = shipment_at(scratch, 1)
    (waits,) = scratch.send(eu(scratch, shipment, "DELIVERED"))
    (beside,) = scratch.send(
        scratch.event(shipment_at(scratch, 1), "DELIVERED", stop={"location": "C-ATL"})
    )
    assert scratch.fate(beside).verdict == ("approved", "owner_spoke")
    assert waits not in scratch.watch.fates
    told = steer(scratch, "RELEASE", platform="tms-eu", issued_by="test", why="mended")
    assert told[1] == ("applied", "platform_released")
    assert scratch.fate(waits).verdict == ("approved", "owner_spoke")


def test_a_suspended_platform_is_held_and_judged_when_it_is_released(scratch):
    told = steer(scratch, "SUSPEND", platform="tms-na", issued_by="test", why="wrong clock")
    assert set(told) == {("applied", "platform_held_back")}
    shipment = scratch.name()
    (place,) = scratch.send(scratch.event(shipment, "DELIVERED", stop={"location": "C-ATL"}))
    assert scratch.fate(place).verdict == ("held", "platform_suspended")
    steer(scratch, "RELEASE", platform="tms-na", issued_by="test", why="right again")
    scratch.watch.until(lambda: scratch.fate(place).now == ("approved", "owner_spoke"))
    (record,) = scratch.story(shipment)
    assert (record["event_type"], record["revision"]) == ("delivered", 1)


def test_policies_change_while_workers_crash_and_each_decision_has_one(scratch):
    """Bundle after bundle under traffic and kills; the last step is the way back."""
    first = scratch.bundle_with()
    scratch.publish(first)
    speaker = Speaker(scratch, seed=41, events=600, seconds=8.0)
    speaker.start()
    versions = [first.version]
    for _ in range(2):
        bundle = scratch.bundle_with()
        scratch.publish(bundle)
        versions.append(bundle.version)
        scratch.worker.kill()
        scratch.start()
    speaker.join(120)
    activate = {"policy_version": first.version, "policy_digest": first.digest()}
    assert set(steer(scratch, "ACTIVATE", **activate)) == {("applied", "policy_activated")}
    fates = scratch.fates(speaker.places, 60)
    assert {fate.policy_version for fate in fates} <= set(versions)
    (place,) = scratch.send(scratch.event(scratch.name(), "DELIVERED", stop={"location": "C-ATL"}))
    assert scratch.fate(place).policy_version == first.version
    assert scratch.verify(deep=True).violations == []


def test_a_new_platform_joins_without_a_rebalance(scratch):
    """Its topic is read from its beginning on, by the same worker, once its bundle is activated."""
    topic = names.raw_topic("tms-mx")
    admin = AdminClient({"bootstrap.servers": scratch.bootstrap})
    config = {"message.timestamp.type": "LogAppendTime"}
    admin.create_topics([NewTopic(topic, PARTITIONS, 1, config=config)])[topic].result(20)
    shipment, schema_id = scratch.name(), scratch.raw_id(names.raw_topic("tms-na"))
    scratch.registry.register(names.subject(topic), scratch.registry.schema(schema_id))
    event = scratch.event(shipment, "DELIVERED", platform="tms-mx", stop={"location": "C-ATL"})
    value = codec.encode(event, codec.committed("raw-event"), schema_id)
    early = scratch.put(topic, scratch.key(shipment), value)
    bundle = scratch.bundle_with()
    model = next(item for item in bundle.platforms if item.name == "tms-na")
    platforms = [*bundle.platforms, model.model_copy(update={"name": "tms-mx", "topics": [topic]})]
    pid = scratch.worker.process.pid
    scratch.publish(bundle.model_copy(update={"platforms": platforms}))
    assert scratch.fate(early).verdict == ("overruled", "not_owner")
    assert scratch.worker.process.pid == pid
    assert scratch.worker.log().count("state_restored") == 1
