"""The broker of a benchmark: topics of one run, the input, and how far its outputs are stable."""

import time

from confluent_kafka import IsolationLevel, KafkaError, KafkaException, Producer, TopicPartition
from confluent_kafka.admin import AdminClient, NewTopic, OffsetSpec

from benchmarks.peers import workload
from pipeline import settings as configuration
from pipeline.contract import names
from pipeline.contract import topics as contract_topics
from pipeline.contract.bundle import load_bundle
from pipeline.kafka import bundles, clients
from pipeline.kafka import topics as kafka_topics
from pipeline.kafka.errors import UnreachableError
from pipeline.kafka.registration import register
from pipeline.kafka.registry import Registry

PARTITIONS = 4
LED_S = 20.0
APPEND = {"message.timestamp.type": "LogAppendTime"}
COMPACTED = APPEND | {"cleanup.policy": "compact"}


class Cluster:
    """A running local stack, seen by the harness.

    Args:
        stack: Kafka and registry.
        partitions: of every topic.

    """

    def __init__(self, stack, partitions=PARTITIONS):
        self.stack = stack
        self.bootstrap = stack.bootstrap
        self.partitions = partitions
        self.settings = configuration.load({})
        self.admin = AdminClient({"bootstrap.servers": self.bootstrap})
        self.topics_file = stack.state_dir / f"topics-{partitions}.yaml"
        """Declares what `topics.yaml` does, with this partition count."""
        text = (names.data_root() / "topics.yaml").read_text("utf-8")
        told = text.replace(f"  partitions: {PARTITIONS}\n", f"  partitions: {partitions}\n", 1)
        self.topics_file.write_text(told, "utf-8")
        self.declared = contract_topics.load(self.topics_file)
        self.governed = [
            topic.name for topic in self.declared.topics if topic.name not in workload.TOPICS
        ]
        """Topics of Milepost that are no input of the workload."""
        self.raw_id = None

    @property
    def broker_pid(self):
        return self.stack.brokers[0].pid

    def set_up(self):
        """Create every topic of Milepost and register its schemas."""
        self._apply()
        with Registry.of(self.settings, self.stack.registry_url) as registry:
            list(register(registry, names.data_root() / "schemas", self.declared))
            ids = {registry.id_for(names.subject(t), "raw-event") for t in workload.TOPICS}
        if len(ids) != 1:
            raise RuntimeError(f"the registry gave the raw schema several ids: {sorted(ids)}")
        self.raw_id = ids.pop()

    def _apply(self):
        admin = clients.admin(self.settings, self.bootstrap)
        plan = kafka_topics.plan(
            self.declared, kafka_topics.describe(admin, self.bootstrap, self.declared)
        )
        kafka_topics.apply(admin, self.bootstrap, plan)

    def create(self, topics, **config):
        """Create topics with append times."""
        made = [NewTopic(name, self.partitions, 1, config=APPEND | config) for name in topics]
        for future in self.admin.create_topics(made).values():
            future.result(30)

    def delete(self, topics):
        """Delete topics, and wait until they are gone."""
        there = set(self.admin.list_topics(timeout=10).topics)
        doomed = [name for name in topics if name in there]
        if not doomed:
            return
        for future in self.admin.delete_topics(doomed).values():
            try:
                future.result(30)
            except KafkaException as error:
                if error.args[0].code() != KafkaError.UNKNOWN_TOPIC_OR_PART:
                    raise
        while set(doomed) & set(self.admin.list_topics(timeout=10).topics):
            time.sleep(0.1)

    def delete_named(self, part):
        """Delete every topic whose name holds this text."""
        self.delete([name for name in self.admin.list_topics(timeout=10).topics if part in name])

    def fresh_governed(self, *, raw=False, publish=True):
        """Milepost's topics as on the first day, its policy published; raw ones too if asked."""
        self.delete([*self.governed, *(workload.TOPICS if raw else ())])
        self._apply()
        if publish:
            self.publish()

    def publish(self):
        """Put the policy in force on every partition."""
        until = time.monotonic() + LED_S
        while True:
            try:
                self._publish()
            except UnreachableError:  # a new partition has no leader in its first moments
                if time.monotonic() > until:
                    raise
                time.sleep(0.2)
            else:
                return

    def _publish(self):
        with Registry.of(self.settings, self.stack.registry_url) as registry:
            bundles.publish(
                self.settings, self.bootstrap, registry, load_bundle(), by="benchmark", why="run"
            )

    def load(self, records, topics=workload.TOPICS):
        """Write records to topics in their order; as many as there were."""
        producer = Producer(
            {
                "bootstrap.servers": self.bootstrap,
                "partitioner": "murmur2_random",
                "linger.ms": 20,
                "acks": "all",
                "enable.idempotence": True,
                "queue.buffering.max.messages": 500_000,
            }
        )
        count = 0
        for topic, key, value in records:
            while True:
                try:
                    producer.produce(topics[topic], value, key)
                    break
                except BufferError:
                    producer.poll(0.05)
            count += 1
            if count % 1000 == 0:
                producer.poll(0)
        if producer.flush(60):
            raise RuntimeError("the input could not be written")
        return count

    def ends(self, topics, *, stable=True):
        """Where each partition ends for readers of committed records: stable offsets."""
        asked = {
            TopicPartition(topic, number): OffsetSpec.latest()
            for topic in topics
            for number in range(self.partitions)
        }
        level = IsolationLevel.READ_COMMITTED if stable else IsolationLevel.READ_UNCOMMITTED
        while True:
            try:
                found = self.admin.list_offsets(asked, isolation_level=level, request_timeout=10)
                return {(at.topic, at.partition): f.result().offset for at, f in found.items()}
            except KafkaException as error:  # in a topic's first moments
                if not error.args[0].retriable():
                    raise
                time.sleep(0.05)
