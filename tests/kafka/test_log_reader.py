"""Reading a topic from where to where: all that is committed, nothing of what isn't, then stop."""

import uuid

import pytest
from confluent_kafka import Producer
from confluent_kafka.admin import AdminClient, NewTopic

from pipeline.kafka.errors import UnreachableError
from pipeline.kafka.reading import LogReader, Span, ends_of, partitions_of, read_to_end
from pipeline.settings import Settings

pytestmark = pytest.mark.kafka
SETTINGS = Settings()


@pytest.fixture
def topic(stack):
    name = f"reading-{uuid.uuid4().hex[:8]}"
    admin = AdminClient({"bootstrap.servers": stack.bootstrap})
    admin.create_topics([NewTopic(name, 2, 1)])[name].result(20)
    yield name
    admin.delete_topics([name])[name].result(20)


@pytest.fixture
def reader(stack):
    with LogReader(SETTINGS, stack.bootstrap) as made:
        yield made


def write(stack, topic, *values, partition=0, transaction=None):
    config = {"bootstrap.servers": stack.bootstrap, "linger.ms": 0}
    if transaction is None:
        producer = Producer(config)
    else:
        producer = Producer(config | {"transactional.id": f"{topic}-writer"})
        producer.init_transactions(20)
        producer.begin_transaction()
    for value in values:
        producer.produce(topic, value, b"k", partition, headers=[("h", None), ("h", b"1")])
    assert producer.flush(20) == 0
    if transaction == "commit":
        producer.commit_transaction(20)
    elif transaction == "abort":
        producer.abort_transaction(20)
    return producer


def values(reader, topic, partition=0):
    span = reader.settled(topic, partition)
    return [record.value for record in reader.read(topic, {partition: span})]


def test_records_come_whole_and_in_order(stack, reader, topic):
    write(stack, topic, b"a", b"b", None)
    records = list(reader.read(topic, {0: reader.settled(topic, 0)}))
    assert [(r.offset, r.key, r.value) for r in records] == [
        (0, b"k", b"a"),
        (1, b"k", b"b"),
        (2, b"k", None),
    ]
    assert records[0].headers == [("h", None), ("h", b"1")]
    assert records[0].timestamp_ms > 0


def test_what_was_aborted_is_passed_over_and_markers_stop_nobody(stack, reader, topic):
    write(stack, topic, b"a", transaction="commit")
    write(stack, topic, b"b", transaction="abort")
    write(stack, topic, b"c", transaction="commit")
    assert values(reader, topic) == [b"a", b"c"]


def test_an_open_transaction_is_beyond_the_end(stack, reader, topic):
    write(stack, topic, b"a")
    producer = write(stack, topic, b"b", transaction="open")
    assert reader.span(topic, 0) == Span(0, 1)
    assert [r.value for r in reader.read(topic, {0: Span(0, 1)})] == [b"a"]
    with pytest.raises(UnreachableError, match="stays undecided"):
        reader.settled(topic, 0, limit_s=0.2)
    producer.commit_transaction(20)
    assert values(reader, topic) == [b"a", b"b"]


def test_only_the_span_is_read(stack, reader, topic):
    write(stack, topic, *[b"%d" % n for n in range(10)])
    found = reader.read(topic, {0: Span(3, 6)})
    assert [record.value for record in found] == [b"3", b"4", b"5"]
    assert list(reader.read(topic, {0: Span(6, 6)})) == []


def test_one_reader_reads_again_and_again_even_if_it_was_broken_off(stack, reader, topic):
    write(stack, topic, b"a", b"b", b"c")
    half = reader.read(topic, {0: Span(0, 3)})
    assert next(half).value == b"a"
    half.close()
    assert values(reader, topic) == [b"a", b"b", b"c"]


def test_partitions_are_read_together_or_one_by_one(stack, topic):
    write(stack, topic, b"a")
    write(stack, topic, b"b", partition=1)
    everything = read_to_end(SETTINGS, stack.bootstrap, topic)
    assert {(r.partition, r.value) for r in everything} == {(0, b"a"), (1, b"b")}
    one = read_to_end(SETTINGS, stack.bootstrap, topic, partitions=[1])
    assert [r.value for r in one] == [b"b"]
    later = read_to_end(SETTINGS, stack.bootstrap, topic, start={0: 1, 7: 3})
    assert [r.value for r in later] == [b"b"]
    assert ends_of(SETTINGS, stack.bootstrap, topic) == {0: 1, 1: 1}


def test_progress_reaches_its_end(stack, topic):
    write(stack, topic, *[b"x"] * 50, transaction="commit")
    told = []
    list(
        read_to_end(SETTINGS, stack.bootstrap, topic, progress=lambda *passed: told.append(passed))
    )
    assert told[-1] == (51, 51)


def test_the_newest_record_is_found_from_the_end_backwards(stack, reader, topic):
    write(stack, topic, b"wanted 1", *[b"x"] * 300, b"wanted 2", *[b"x"] * 400)
    found = reader.newest(topic, lambda record: record.value.startswith(b"wanted"))
    assert {number: record.value for number, record in found.items()} == {0: b"wanted 2"}
    assert reader.newest(topic)[0].offset == 701
    assert reader.newest(topic, lambda _: False) == {}


def test_the_newest_record_hides_behind_no_marker(stack, reader, topic):
    for _ in range(9):
        write(stack, topic, b"gone", transaction="abort")
    write(stack, topic, b"a", partition=1)
    assert {number: record.value for number, record in reader.newest(topic).items()} == {1: b"a"}


def test_a_time_is_an_offset(stack, reader, topic):
    write(stack, topic, b"a", b"b")
    first = next(iter(reader.read(topic, {0: Span(0, 1)})))
    assert reader.since(topic, 0, first.timestamp_ms) == 0
    assert reader.since(topic, 0, first.timestamp_ms + 3_600_000) == 2
    assert reader.since(topic, 0, 0) == 0


def test_a_topic_that_is_not_there_is_empty(stack, reader):
    assert partitions_of(SETTINGS, stack.bootstrap, "no-such-topic") == []
    assert reader.partitions("no-such-topic") == []
    assert list(read_to_end(SETTINGS, stack.bootstrap, "no-such-topic")) == []


def test_a_kafka_that_does_not_answer_is_an_outage():
    with (
        LogReader(SETTINGS, "127.0.0.1:1") as reader,
        pytest.raises(UnreachableError, match="can't be reached"),
    ):
        reader.partitions("any")
