"""The loop that an expert writes by hand: confluent-kafka, fastavro, one transaction a batch.

State is a dictionary per partition, kept in a compacted changelog and read back on assignment.
"""

import signal
import threading

from confluent_kafka import OFFSET_BEGINNING, Consumer, Producer, TopicPartition

from benchmarks.peers import step

RUN = step.told()
HALT = threading.Event()
COMMON = {"bootstrap.servers": RUN["bootstrap"]}
STATES: dict[int, dict[bytes, bytes]] = {}


def restore(numbers):
    """Read the committed state of these partitions."""
    reader = Consumer(
        COMMON
        | {
            "group.id": RUN["name"] + "-restore",
            "isolation.level": "read_committed",
            "enable.auto.commit": False,
            "enable.partition.eof": True,
        }
    )
    reader.assign([TopicPartition(RUN["changelog"], at, OFFSET_BEGINNING) for at in numbers])
    left = set(numbers)
    while left:
        for message in reader.consume(10_000, 0.5):
            if message.error():
                left.discard(message.partition())
            else:
                STATES[message.partition()][message.key()] = message.value()
    reader.close()


def assigned(_consumer, places):
    numbers = {place.partition for place in places}
    STATES.update({number: {} for number in numbers})
    restore(numbers)


def revoked(_consumer, places):
    for place in places:
        STATES.pop(place.partition, None)


def main():
    signal.signal(signal.SIGTERM, lambda *_: HALT.set())
    producer = Producer(
        COMMON
        | {
            "transactional.id": f"{RUN['name']}-{RUN['slot']}",
            "linger.ms": 5,
            "partitioner": "murmur2_random",
            "batch.num.messages": 100_000,
            "queue.buffering.max.messages": 1_000_000,
        }
    )
    producer.init_transactions(30)
    consumer = Consumer(
        COMMON
        | {
            "group.id": RUN["name"],
            "enable.auto.commit": False,
            "auto.offset.reset": "earliest",
            "isolation.level": "read_committed",
            "partition.assignment.strategy": "range",
            "queued.min.messages": 100_000,
            "fetch.queue.backoff.ms": 10,
        }
    )
    consumer.subscribe(RUN["inputs"], on_assign=assigned, on_revoke=revoked, on_lost=revoked)
    work, most, waiting = step.Step(RUN["spec"]), RUN["options"]["batch"], True
    while not HALT.is_set():
        messages = consumer.consume(most, RUN["options"]["wait_s"])
        if not messages:
            continue
        if waiting:
            step.first()
            waiting = False
        producer.begin_transaction()
        ends = batch(producer, work, messages)
        offsets = [TopicPartition(topic, number, at) for (topic, number), at in ends.items()]
        producer.send_offsets_to_transaction(offsets, consumer.consumer_group_metadata())
        producer.commit_transaction()
    consumer.close()


def batch(producer, work, messages):
    """Decide one batch and produce what follows; the offsets behind it."""
    produce, decide = producer.produce, work.decide
    approved, rejected, undecodable = RUN["approved"], RUN["rejected"], RUN["undecodable"]
    not_owner, not_read = [("reason", step.NOT_OWNER)], [("reason", step.NOT_READ)]
    ends = {}
    for message in messages:
        if message.error():
            raise SystemExit(str(message.error()))
        number, key, value = message.partition(), message.key(), message.value()
        ends[message.topic(), number] = message.offset() + 1
        state = STATES[number]
        fate, new, out = decide(value, state.get(key))
        if new is not None:
            state[key] = new
            produce(RUN["changelog"], new, key, number)
        if fate == step.APPROVED:
            produce(approved, out, key)
        elif fate == step.REJECTED:
            produce(rejected, value, key, headers=not_owner)
        elif fate == step.UNDECODABLE:
            produce(undecodable, value, key, headers=not_read)
    return ends


if __name__ == "__main__":
    main()
