"""What tests of sources need of the real stack: topics, schemas, and what lies on a raw topic."""

from __future__ import annotations

import shutil
import time
from pathlib import Path
from typing import NamedTuple

from confluent_kafka import KafkaException, TopicPartition

from pipeline.contract import codec
from pipeline.contract import topics as declarations
from pipeline.contract.names import data_root
from pipeline.kafka import clients, topics
from pipeline.kafka.registration import register
from pipeline.kafka.registry import Registry
from pipeline.settings import Settings

ROOT = Path(__file__).parents[3]
SETTINGS = Settings()
SCHEMA = codec.committed("raw-event")


class Found(NamedTuple):
    """A record of a raw topic."""

    key: str
    partition: int
    partitions: int
    event: dict


def prepare(stack):
    """Make every topic and register every schema; doing it twice is harmless."""
    declared = declarations.load()
    client = clients.admin(SETTINGS, stack.bootstrap)
    wanted = topics.plan(declared, topics.describe(client, stack.bootstrap, declared))
    topics.apply(client, stack.bootstrap, wanted)
    with Registry(stack.registry_url) as registry:
        list(register(registry, data_root() / "schemas", declared))


class Tap:
    """Reads what is added to a topic from now on."""

    def __init__(self, stack, topic, schema=SCHEMA):
        self._topic, self._schema = topic, schema
        self._consumer = clients.consumer(SETTINGS, stack.bootstrap, "test-tap", "error")
        partitions = self._consumer.list_topics(topic, timeout=10).topics[topic].partitions
        self._next = {number: self._high(number) for number in sorted(partitions)}
        self._consumer.assign([TopicPartition(topic, *place) for place in self._next.items()])

    def _high(self, number):
        """End of a partition; one that was just made has no leader for a moment."""
        deadline = time.monotonic() + 20
        while True:
            try:
                place = TopicPartition(self._topic, number)
                return self._consumer.get_watermark_offsets(place, 10)[1]
            except KafkaException:
                if time.monotonic() > deadline:
                    raise

    def rest(self):
        """Every record up to the present end that was not given before."""
        ends = {number: self._high(number) for number in self._next}
        found = []
        deadline = time.monotonic() + 20
        while any(self._next[number] < end for number, end in ends.items()):
            assert time.monotonic() < deadline
            message = self._consumer.poll(0.2)
            if message is not None and message.error() is None:
                self._next[message.partition()] = message.offset() + 1
                event = codec.decode(message.value(), self._schema)
                found.append(Found(message.key().decode(), message.partition(), len(ends), event))
        return found

    def close(self):
        self._consumer.close()


def telling_bundle(folder, *platforms):
    """A copy of the policy in which some platforms say up to when they are complete."""
    shutil.copytree(ROOT / "policy", folder)
    path = folder / "platforms.yaml"
    text = path.read_text("utf-8")
    for name in platforms:
        row = f"  - name: {name}\n"
        assert row in text
        text = text.replace(row, f"{row}    watermarks: true\n")
    path.write_text(text, "utf-8")
    return folder
