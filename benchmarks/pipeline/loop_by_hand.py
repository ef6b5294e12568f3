"""The peer: what a good engineer writes by hand in an afternoon, confluent-kafka and fastavro.

Per record: decode, look up the owner, drop repeats, keep the last milestone per shipment, encode
the approved record; one transaction per batch with the consumed offsets. No ledger, no deputies, no
state that survives a restart.
"""

import json
import sys
from io import BytesIO

import fastavro
from confluent_kafka import Consumer, Producer, TopicPartition


def clients(spec):
    common = {"bootstrap.servers": spec["bootstrap"]}
    consumer = Consumer(
        common
        | {
            "group.id": "loop-by-hand",
            "auto.offset.reset": "earliest",
            "enable.auto.commit": False,
            "isolation.level": "read_committed",
            "queued.min.messages": 30000,
            "fetch.queue.backoff.ms": 10,
        }
    )
    producer = Producer(
        common | {"transactional.id": "loop-by-hand", "linger.ms": 5, "compression.type": "lz4"}
    )
    producer.init_transactions(30)
    consumer.subscribe(spec["topics"])
    return consumer, producer


def main() -> None:
    spec = json.loads(sys.argv[1])
    raw = fastavro.parse_schema(spec["raw_schema"])
    approved = fastavro.parse_schema(spec["approved_schema"])
    head = b"\0" + spec["approved_id"].to_bytes(4, "big")
    owners = dict(spec["owners"])
    meaning = spec["dialect"]
    seen: dict[bytes, dict[str, None]] = {}
    last: dict[bytes, tuple[str, int]] = {}
    consumer, producer = clients(spec)
    left = spec["events"]
    while left > 0:
        messages = [m for m in consumer.consume(spec["batch"], 0.1) if m.error() is None]
        if not messages:
            continue
        producer.begin_transaction()
        ends: dict[tuple[str, int], int] = {}
        for message in messages:
            key, value = message.key(), message.value()
            ends[message.topic(), message.partition()] = message.offset() + 1
            body = fastavro.schemaless_reader(BytesIO(value[5:]), raw, None)
            ids = seen.setdefault(key, {})
            name = f"{body['platform']}:{body['event_id']}"
            if name in ids:
                continue
            ids[name] = None
            event_type = meaning[body["platform"]].get(body["native_status"])
            if event_type is None or owners.get(event_type) != body["platform"]:
                producer.produce(spec["rejected"], value, key)
                continue
            previous, count = last.get(key, ("", 0))
            last[key] = (event_type, count + 1)
            record = spec["template"] | {
                "event_id": f"{body['event_id']}:1",
                "milestone_id": body["event_id"],
                "event_type": event_type,
                "entity_id": body["entity_id"],
                "entity_seq": count + 1,
                "occurred": body["occurred"],
                "recorded": body["recorded"],
                "received": message.timestamp()[1],
                "platform": body["platform"],
                "native_status": body["native_status"],
                "source_event_id": body["event_id"],
                "raw_topic": message.topic(),
                "raw_partition": message.partition(),
                "raw_offset": message.offset(),
                "status_after": event_type,
                "skipped": [previous],
            }
            target = BytesIO()
            target.write(head)
            fastavro.schemaless_writer(target, approved, record)
            producer.produce(spec["approved"], target.getvalue(), key)
        offsets = [TopicPartition(topic, number, at) for (topic, number), at in ends.items()]
        producer.send_offsets_to_transaction(offsets, consumer.consumer_group_metadata())
        producer.commit_transaction()
        left -= len(messages)
    consumer.close()


if __name__ == "__main__":
    main()
