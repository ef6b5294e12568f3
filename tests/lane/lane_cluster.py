"""Topics, records and counting workers: what the tests of the lane are made of."""

import contextlib
import json
import queue
import subprocess
import sys
import threading
import time
import uuid
from pathlib import Path

import psutil
from confluent_kafka import Consumer, Producer, TopicPartition
from confluent_kafka.admin import AdminClient, NewTopic

APP = Path(__file__).with_name("counter_app.py")
PARTITIONS = 4


def until(condition, seconds=30.0, what="the condition"):
    """Poll until it is true; its value."""
    end = time.monotonic() + seconds
    while not (value := condition()):
        assert time.monotonic() < end, f"{what} did not come true in {seconds} s"
        time.sleep(0.02)
    return value


class Worker:
    """A counting worker in a process of its own."""

    def __init__(self, spec, log):
        self.told = []
        self._lines = queue.SimpleQueue()
        self._log = log
        with log.open("ab") as stderr:
            self.process = subprocess.Popen(
                [sys.executable, str(APP), json.dumps(spec)],
                stdin=subprocess.PIPE,
                stdout=subprocess.PIPE,
                stderr=stderr,
                text=True,
            )
        self._reader = threading.Thread(target=self._read, daemon=True)
        self._reader.start()

    def _read(self):
        for line in self.process.stdout:
            if line.startswith("{"):
                self._lines.put(json.loads(line))

    def events(self, what):
        while not self._lines.empty():
            self.told.append(self._lines.get())
        return [event for event in self.told if event["what"] == what]

    def wait_for(self, what, number=1, seconds=30.0):
        def enough():
            found = self.events(what)
            if len(found) >= number:
                return found
            assert self.process.poll() is None, f"the worker is gone:\n{self.log()}"
            return None

        return until(enough, seconds, f"{what} {number} times")[number - 1]

    def owns(self, partitions, seconds=30.0):
        until(lambda: self.owns_now(partitions), seconds, f"owning {partitions}")

    def owns_now(self, partitions):
        found = self.events("assigned")
        return bool(found) and found[-1]["partitions"] == sorted(partitions)

    def status(self):
        return psutil.Process(self.process.pid).status()

    def say(self, line):
        self.process.stdin.write(line + "\n")
        self.process.stdin.flush()

    def log(self):
        return self._log.read_text(errors="replace")

    def end(self, signal_number, seconds=30.0):
        with contextlib.suppress(ProcessLookupError):
            self.process.send_signal(signal_number)
        return self.process.wait(seconds)

    def close(self):
        if self.process.poll() is None:
            self.process.kill()
        self.process.wait(10)
        self._reader.join(5)
        self.process.stdin.close()
        self.process.stdout.close()


class Cluster:
    """Topics of one test, and its workers."""

    def __init__(self, bootstrap, folder):
        self.bootstrap = bootstrap
        self.folder = folder
        self.name = "lane-" + uuid.uuid4().hex[:8]
        self.workers = []
        self.topics = []
        self.admin = AdminClient({"bootstrap.servers": bootstrap})
        self.producer = Producer(
            {"bootstrap.servers": bootstrap, "linger.ms": 0, "enable.idempotence": True}
        )
        self.control = self.topic("control")
        self.out = self.topic("out")
        self.changelog = self.topic("changelog", **{"cleanup.policy": "compact"})
        self.outputs = []
        self.reader = Consumer(
            {
                "bootstrap.servers": bootstrap,
                "group.id": self.name + "-reader",
                "isolation.level": "read_committed",
                "enable.auto.commit": False,
                "fetch.wait.max.ms": 50,
            }
        )
        self.reader.assign([TopicPartition(self.out, number, 0) for number in range(PARTITIONS)])

    def topic(self, name, partitions=PARTITIONS, **config):
        topic = f"{self.name}.{name}"
        config = {"message.timestamp.type": "LogAppendTime", **config}
        made = self.admin.create_topics([NewTopic(topic, partitions, 1, config=config)])
        made[topic].result(20)
        self.topics.append(topic)
        return topic

    def write(self, topic, count, keys=7, value=b"x"):
        """Write records in turn over partitions."""
        for number in range(count):
            partition = number % PARTITIONS
            key = b"%s:%d:%d" % (topic.rsplit(".", 1)[1].encode(), partition, number % keys)
            self.producer.produce(topic, value, key, partition)
            self.producer.poll(0)
        assert self.producer.flush(20) == 0

    def write_one(self, topic, partition, key, value):
        self.producer.produce(topic, value, key, partition)
        assert self.producer.flush(20) == 0

    def write_in_transaction(self, topic, count):
        producer = Producer(
            {"bootstrap.servers": self.bootstrap, "transactional.id": self.name + "-writer"}
        )
        producer.init_transactions(20)
        producer.begin_transaction()
        for number in range(count):
            producer.produce(topic, b"x", b"k%d" % (number % PARTITIONS), number % PARTITIONS)
        producer.commit_transaction(20)
        producer.close()

    @contextlib.contextmanager
    def holding_offsets(self):
        """A producer whose open transaction commits an offset of the group."""
        producer = Producer(
            {"bootstrap.servers": self.bootstrap, "transactional.id": self.name + "-before"}
        )
        member = Consumer({"bootstrap.servers": self.bootstrap, "group.id": self.name})
        producer.init_transactions(20)
        producer.begin_transaction()
        held = TopicPartition(self.control, 0, 0)
        producer.send_offsets_to_transaction([held], member.consumer_group_metadata(), 20)
        try:
            yield producer
        finally:
            member.close()
            producer.close()

    def spec(self, inputs, slot="0", **more):
        return {
            "client": {"bootstrap.servers": self.bootstrap},
            "group": self.name,
            "slot": slot,
            "control_topic": self.control,
            "changelog_topic": self.changelog,
            "inputs": list(inputs),
            "out": self.out,
            "datadir": str(self.folder / f"data-{slot}"),
            "heartbeat_ms": 300,
            "session_ms": 20_000,
            **more,
        }

    def start(self, inputs, slot="0", **more):
        log = self.folder / f"worker-{slot}.log"
        worker = Worker(self.spec(inputs, slot, **more), log)
        self.workers.append(worker)
        return worker

    def read(self):
        """All committed outputs so far: (partition, key, value, origin)."""
        for message in self.reader.consume(10_000, 0.05):
            if message.error() is None:
                origin = dict(message.headers() or ()).get("origin", b"").decode()
                row = (message.partition(), message.key(), message.value(), origin)
                self.outputs.append(row)
        return self.outputs

    def counted(self):
        return [row for row in self.read() if row[3]]

    def told(self, kind):
        return [row for row in self.read() if row[1] == kind]

    def wait_counted(self, count, seconds=40.0):
        until(lambda: len(self.counted()) >= count, seconds, f"{count} records counted")

    def wait_told(self, kind, condition=bool, seconds=30.0):
        return until(lambda: condition(found := self.told(kind)) and found, seconds, repr(kind))

    def check_once(self, count):
        """Each input record once, and each key's count without a gap, in order."""
        self.write_one(self.control, 0, b"end", b"x")
        self.wait_counted(count + 1)
        assert self.check_no_repeats() == count

    def check_no_repeats(self):
        """No input record twice, no hole in a key's count; how many there are."""
        rows = [row for row in self.counted() if row[1] != b"end"]
        origins = [(row[0], row[3]) for row in rows]
        assert len(set(origins)) == len(origins), "an input record was decided twice"
        counts = {}
        for partition, key, value, _ in rows:
            counts.setdefault((partition, key), []).append(int(value))
        for key, numbers in counts.items():
            assert numbers == list(range(1, len(numbers) + 1)), key
        return len(rows)

    def forget(self, topic, partition, before):
        """Let retention take what lies before an offset."""
        asked = TopicPartition(topic, partition, before)
        self.admin.delete_records([asked])[asked].result(20)

    def close(self):
        for worker in self.workers:
            worker.close()
        self.reader.close()
        for deleted in self.admin.delete_topics(self.topics).values():
            deleted.result(20)
