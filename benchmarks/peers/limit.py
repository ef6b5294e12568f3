"""How fast the client library can be: read a batch, write it as it is, in transactions; no work."""

import signal
import threading

from confluent_kafka import Consumer, Producer, TopicPartition

from benchmarks.peers import step

HALT = threading.Event()


def main():
    run = step.told()
    signal.signal(signal.SIGTERM, lambda *_: HALT.set())
    common = {"bootstrap.servers": run["bootstrap"]}
    producer = Producer(
        common
        | {
            "transactional.id": f"{run['name']}-{run['slot']}",
            "linger.ms": 5,
            "batch.num.messages": 100_000,
            "batch.size": 1_000_000,
            "queue.buffering.max.messages": 1_000_000,
        }
    )
    producer.init_transactions(30)
    consumer = Consumer(
        common
        | {
            "group.id": run["name"],
            "enable.auto.commit": False,
            "auto.offset.reset": "earliest",
            "isolation.level": "read_committed",
            "queued.min.messages": 100_000,
            "fetch.queue.backoff.ms": 10,
        }
    )
    consumer.subscribe(run["inputs"])
    waiting, produce, target = True, producer.produce, run["approved"]
    while not HALT.is_set():
        messages = consumer.consume(run["options"]["batch"], run["options"]["wait_s"])
        if not messages:
            continue
        if waiting:
            step.first()
            waiting = False
        producer.begin_transaction()
        ends = {}
        for message in messages:
            if message.error():
                raise SystemExit(str(message.error()))
            number = message.partition()
            ends[message.topic(), number] = message.offset() + 1
            produce(target, message.value(), message.key(), number)
        offsets = [TopicPartition(topic, number, at) for (topic, number), at in ends.items()]
        producer.send_offsets_to_transaction(offsets, consumer.consumer_group_metadata())
        producer.commit_transaction()
    consumer.close()


if __name__ == "__main__":
    main()
