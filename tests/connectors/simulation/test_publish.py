import threading
import time
from collections import Counter

import pytest
from confluent_kafka import TopicPartition

from connectors.simulation.publish import SEQUENCE_HEADER, Sender
from connectors.simulation.traffic import compose
from pipeline.contract import topics as declarations
from pipeline.contract.bundle import load_bundle
from pipeline.contract.names import data_root
from pipeline.governance.identity import partition_of
from pipeline.kafka import clients, topics
from pipeline.kafka.registration import register
from pipeline.kafka.registry import Registry
from pipeline.settings import Settings

pytestmark = pytest.mark.kafka
SETTINGS = Settings()


@pytest.fixture
def sender(stack):
    declared = declarations.load()
    client = clients.admin(SETTINGS, stack.bootstrap)
    wanted = topics.plan(declared, topics.describe(client, stack.bootstrap, declared))
    topics.apply(client, stack.bootstrap, wanted)
    with Registry(stack.registry_url) as registry:
        list(register(registry, data_root() / "schemas", declared))
        yield Sender(SETTINGS, stack.bootstrap, registry, load_bundle())


def read(stack, sent):
    """The records at the positions that were acknowledged."""
    consumer = clients.consumer(SETTINGS, stack.bootstrap, "test-simulation", "earliest")
    wanted = {item.position: item.sending for item in sent}
    first = {}
    for topic, partition, offset in wanted:
        place = topic, partition
        first[place] = min(offset, first.get(place, offset))
    consumer.assign([TopicPartition(*place, offset) for place, offset in first.items()])
    found = {}
    deadline = time.monotonic() + 30
    while len(found) < len(wanted):
        assert time.monotonic() < deadline
        for message in consumer.consume(500, 0.2):
            place = message.topic(), message.partition(), message.offset()
            if message.error() is None and place in wanted:
                found[place] = message
    consumer.close()
    return [(wanted[place], message) for place, message in found.items()]


def test_every_statement_arrives_once_with_its_place_in_the_run(stack, sender):
    traffic = compose(901, time.time_ns() // 1_000_000, events=300)
    told = []
    sent = sender.run(traffic.sendings, threading.Event(), told.append, paced=False)
    assert told[-1] == len(sent) == len(traffic.sendings)
    assert max(Counter(item.position for item in sent).values()) == 1
    for sending, message in read(stack, sent):
        assert dict(message.headers())[SEQUENCE_HEADER] == str(sending.sequence).encode()
        if not sending.statement.stray:
            assert message.partition() == partition_of(message.key(), 4)


def test_each_platform_keeps_its_order_on_each_partition(sender):
    traffic = compose(902, time.time_ns() // 1_000_000, events=300)
    sent = sender.run(traffic.sendings, threading.Event(), paced=False)
    last = {}
    for item in sent:
        place = item.position.topic, item.position.partition
        assert item.position.offset > last.get(place, -1)
        last[place] = item.position.offset


def test_a_run_that_is_stopped_ends_where_it_is(sender):
    traffic = compose(903, time.time_ns() // 1_000_000, events=300, run_s=600.0)
    stop = threading.Event()
    sent = sender.run(traffic.sendings, stop, lambda _count: stop.set())
    assert 0 < len(sent) < len(traffic.sendings)
