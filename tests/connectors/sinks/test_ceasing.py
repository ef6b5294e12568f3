"""A sink whose client has ceased to read goes on with another one; an idle topic is no reason."""

import threading
import uuid

import pytest
from confluent_kafka import Producer
from confluent_kafka.admin import AdminClient, NewTopic

from connectors.applied import NOTHING, TopicPartition
from connectors.sinks import following
from connectors.sinks.ceasing import LOOKS, CeasedError, Watch
from connectors.sinks.following import Intake, follow
from pipeline.settings import Settings

A, B = TopicPartition("t", 0), TopicPartition("t", 1)


class TestWatch:
    def test_what_stands_still_with_something_to_read_has_ceased_after_so_many_looks(self):
        watch = Watch(lambda still: still)
        for _ in range(LOOKS):
            watch.look({A: 7, B: 7})
        with pytest.raises(CeasedError, match=r"t\[0\], t\[1\]"):
            watch.look({A: 7, B: 7})

    def test_what_moves_between_looks_is_not_even_asked_about(self):
        asked = []
        watch = Watch(lambda still: asked.extend(still) or ())
        for place in range(9):
            watch.look({A: place})
        assert asked == []

    def test_where_nothing_is_found_nothing_has_ceased(self):
        watch = Watch(lambda _still: ())
        for _ in range(9):
            watch.look({A: 7})

    def test_one_look_that_finds_nothing_begins_the_count_anew(self):
        finds = iter([{A}] * (LOOKS - 1) + [set()] + [{A}] * (LOOKS - 1))
        watch = Watch(lambda _still: next(finds))
        for _ in range(2 * LOOKS):
            watch.look({A: 7})


class Memory(Intake):
    """Keeps what it reads; something happens to its consumer once it has read the first."""

    def __init__(self, topic, happens):
        self.topics = (topic,)
        self.at = {}
        self.read = []
        self.looks = 0
        self._happens = happens

    def prepare(self, _cluster):
        return self.topics

    def claim(self, partitions):
        self.at = {at: self.at.get(at, NOTHING) for at in partitions}
        return self.at

    def forget(self, _partitions):
        """It has nobody to give them to."""

    def take(self, records):
        self.read += [record.value for record in records]
        self.at |= {record.at: record.offset + 1 for record in records}
        return {}

    def positions(self):
        self.looks += 1
        return self.at

    def tick(self, consumer):
        if self.read:
            self._happens(self, consumer)
        return {}

    def removed(self, at):
        return AssertionError(at)


@pytest.fixture
def topic(stack, monkeypatch):
    monkeypatch.setattr(following, "LOOK_S", 0.1)
    monkeypatch.setattr(following, "TICK_S", 0.1)
    name = f"ceasing-{uuid.uuid4().hex[:8]}"
    admin = AdminClient({"bootstrap.servers": stack.bootstrap})
    admin.create_topics([NewTopic(name, 1)])[name].result(30)
    return name


@pytest.fixture
def produce(stack, topic):
    """Writes a record in a transaction, which leaves a marker behind it."""
    producer = Producer({"bootstrap.servers": stack.bootstrap, "transactional.id": topic})
    producer.init_transactions(30)

    def write(value, *, commit=True):
        producer.begin_transaction()
        producer.produce(topic, value, partition=0)
        producer.flush(30)
        (producer.commit_transaction if commit else producer.abort_transaction)(30)

    return write


def run(stack, intake, stop=None):
    settings = Settings(bootstrap_servers=stack.bootstrap)
    group = f"g-{intake.topics[0]}"
    follow(intake, settings, stack.bootstrap, stop or threading.Event(), group=group, records_max=9)


@pytest.mark.kafka
@pytest.mark.parametrize(
    "ceases",
    [
        lambda consumer: consumer.pause(consumer.assignment()),
        lambda consumer: consumer.unsubscribe(),
    ],
    ids=["it fetches nothing", "it is no member any more"],
)
def test_a_client_that_ceased_to_read_is_left_and_the_next_one_goes_on(
    stack, topic, produce, ceases
):
    produce(b"first")

    def happens(intake, consumer):
        ceases(consumer)
        intake._happens = lambda *_: None
        produce(b"second")

    intake = Memory(topic, happens)
    with pytest.raises(CeasedError, match=topic):
        run(stack, intake)
    assert intake.read == [b"first"]

    stop = threading.Event()
    intake._happens = lambda intake, _consumer: len(intake.read) > 1 and stop.set()
    run(stack, intake, stop)
    assert intake.read == [b"first", b"second"]


@pytest.mark.kafka
def test_markers_and_what_was_aborted_are_nothing_to_read(stack, topic, produce):
    produce(b"first")
    produce(b"never", commit=False)
    stop = threading.Event()
    intake = Memory(topic, lambda intake, _: intake.looks > 3 * LOOKS and stop.set())
    run(stack, intake, stop)
    assert intake.read == [b"first"]
