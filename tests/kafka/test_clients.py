"""Producers lose nothing they acknowledged, put keys where Java would, and failures say why."""

from __future__ import annotations

import socket
import struct
import uuid

import pytest
from confluent_kafka.admin import NewTopic

from pipeline.kafka import clients
from pipeline.kafka.errors import (
    DeliveryError,
    DeliveryRefusedError,
    DeliveryTimeoutError,
    UnreachableError,
)
from pipeline.settings import Settings, SettingsError

SETTINGS = Settings()


@pytest.fixture
def topic(stack):
    name = f"test.clients.{uuid.uuid4().hex[:8]}"
    new = NewTopic(name, num_partitions=4, replication_factor=1)
    client = clients.admin(SETTINGS, stack.bootstrap)
    client.create_topics([new])[name].result(30)
    return name


@pytest.fixture
def closed_port():
    with socket.socket() as held:
        held.bind(("127.0.0.1", 0))
        yield held.getsockname()[1]


@pytest.mark.kafka
def test_every_record_of_a_set_is_acknowledged_in_order(stack, topic):
    producer = clients.producer(SETTINGS, stack.bootstrap)
    records = [
        clients.Outgoing(topic, b"one", b"k", (("h", b"x"),)),
        clients.Outgoing(topic, b"two", b"k"),
        clients.Outgoing(topic, None, b"k", partition=3),
    ]
    first, second, third = clients.deliver(producer, records)
    assert (first.topic, first.offset + 1) == (topic, second.offset)
    assert first.partition == second.partition
    assert third == clients.Position(topic, 3, third.offset)


@pytest.mark.kafka
@pytest.mark.parametrize("key", [b"acme/order/80001234", b"acme/shipment/S-1", b"21", b""])
def test_keys_land_where_murmur2_says(stack, topic, key):
    producer = clients.producer(SETTINGS, stack.bootstrap)
    (position,) = clients.deliver(producer, [clients.Outgoing(topic, b"v", key)])
    assert position.partition == (murmur2(key) & 0x7FFFFFFF) % 4


@pytest.mark.kafka
def test_a_missing_topic_is_named_with_the_remedy(stack):
    producer = clients.producer(
        SETTINGS, stack.bootstrap, **{"topic.metadata.propagation.max.ms": 10}
    )
    with pytest.raises(DeliveryRefusedError, match=r"test\.absent .*`milepost topics apply`"):
        clients.deliver(producer, [clients.Outgoing("test.absent", b"v")])


@pytest.mark.kafka
def test_a_record_that_is_too_large_fails_the_set(stack, topic):
    producer = clients.producer(SETTINGS, stack.bootstrap)
    records = [clients.Outgoing(topic, b"ok"), clients.Outgoing(topic, bytes(3_000_000))]
    with pytest.raises(DeliveryRefusedError, match=f"{topic} .*make the record smaller"):
        clients.deliver(producer, records)


@pytest.mark.kafka
def test_consumers_see_committed_records_only_and_commit_nothing_by_themselves(stack, topic):
    writer = clients.producer(SETTINGS, stack.bootstrap, **{"transactional.id": topic})
    writer.init_transactions(30)
    writer.begin_transaction()
    writer.produce(topic, b"aborted", b"k")
    writer.flush(30)
    writer.abort_transaction(30)
    writer.begin_transaction()
    writer.produce(topic, b"committed", b"k")
    writer.commit_transaction(30)
    reader = clients.consumer(SETTINGS, stack.bootstrap, topic, "earliest")
    reader.subscribe([topic])
    try:
        found = reader.poll(30)
        assert found is not None
        assert found.value() == b"committed"
    finally:
        reader.close()


@pytest.mark.kafka
def test_metadata_of_a_running_cluster_lists_topics(stack, topic):
    client = clients.admin(SETTINGS, stack.bootstrap)
    assert topic in clients.metadata(client, stack.bootstrap).topics


def test_an_absent_cluster_is_an_outage_with_address_and_remedy(closed_port):
    address = f"127.0.0.1:{closed_port}"
    client = clients.admin(SETTINGS, address)
    with pytest.raises(UnreachableError, match=rf"Kafka at {address} .*MILEPOST_BOOTSTRAP_SERVERS"):
        clients.metadata(client, address, timeout_s=0.2)


def test_delivery_to_an_absent_cluster_ends_in_time_and_is_an_outage(closed_port):
    producer = clients.producer(SETTINGS, f"127.0.0.1:{closed_port}")
    with pytest.raises(DeliveryTimeoutError, match=r"some\.topic") as caught:
        clients.deliver(producer, [clients.Outgoing("some.topic", b"v")], timeout_s=0.2)
    assert isinstance(caught.value, UnreachableError)
    assert isinstance(caught.value, DeliveryError)


def test_a_full_queue_is_waited_for_but_not_for_ever(closed_port):
    producer = clients.producer(
        SETTINGS, f"127.0.0.1:{closed_port}", **{"queue.buffering.max.messages": 1}
    )
    records = [clients.Outgoing("some.topic", b"1"), clients.Outgoing("some.topic", b"2")]
    with pytest.raises(DeliveryTimeoutError):
        clients.deliver(producer, records, timeout_s=0.2)


def test_delivering_nothing_is_fine(closed_port):
    assert clients.deliver(clients.producer(SETTINGS, f"127.0.0.1:{closed_port}"), []) == []


def test_security_settings_reach_the_client():
    settings = Settings(kafka_security_protocol="nonsense")
    with pytest.raises(SettingsError, match=r"MILEPOST_KAFKA_\*.*security\.protocol"):
        clients.producer(settings, "127.0.0.1:1")


def murmur2(data: bytes) -> int:
    """The reference partitioner's hash, written from its description for this check only."""
    mask, m = 0xFFFFFFFF, 0x5BD1E995
    h = 0x9747B28C ^ len(data)
    whole = len(data) // 4 * 4
    for (k,) in struct.iter_unpack("<I", data[:whole]):
        k = k * m & mask  # noqa: PLW2901  the hash's own step
        k ^= k >> 24  # noqa: PLW2901
        h = (h * m & mask) ^ (k * m & mask)
    tail = data[whole:]
    if tail:
        h ^= int.from_bytes(tail, "little")
        h = h * m & mask
    h ^= h >> 13
    h = h * m & mask
    return h ^ h >> 15
