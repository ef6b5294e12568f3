"""A Kafka and a registry of their own for tests of the governed path, with a worker in a process.

One stack serves all modules that borrow it, so every test uses entities of its own.
"""

from __future__ import annotations

import contextlib
import http.server
import itertools
import json
import os
import shutil
import signal
import subprocess
import sys
import tempfile
import threading
import time
import uuid
from collections import defaultdict
from pathlib import Path
from typing import NamedTuple

import httpx
from confluent_kafka import KafkaError, Producer, TopicPartition
from confluent_kafka.admin import AdminClient

from connectors.addressing import Addressing
from connectors.formats.reading import raw_event
from pipeline.contract import codec, names
from pipeline.contract import topics as declarations
from pipeline.contract.bundle import Bundle, load_bundle
from pipeline.governance.identity import partition_of
from pipeline.kafka import bundles, clients, topics
from pipeline.kafka.decoding import Decoder
from pipeline.kafka.reading import LogReader
from pipeline.kafka.registration import register
from pipeline.kafka.registry import Registry
from pipeline.local.stack import LocalStack
from pipeline.operations.proof.evidence import TopicEvidence
from pipeline.operations.verify import Audit, verify
from pipeline.settings import Settings
from pipeline.testing.replaying.published import published
from pipeline.testing.replaying.replay import KernelReplay

ROOT = Path(__file__).parents[1]
DECLARED = declarations.load()
PARTITIONS = 4
TMS = "logistics.raw.tms-na.v1"
CARRIERS = "logistics.raw.carriers.v1"
WMS = "logistics.raw.wms-3pl.v1"
GARBAGE = b"<html>502 Bad Gateway</html>"


def unbraked(bundle):
    """The bundle, so that floods of bad records don't pause the input for the tests that follow."""
    brake = bundle.heading.brake.model_copy(update={"run": 1_000_000, "window": 10_000_000})
    heading = bundle.heading.model_copy(update={"brake": brake})
    return bundle.model_copy(update={"heading": heading})


def until(condition, seconds=30.0, what="the condition"):
    """Poll until it is true; its value."""
    end = time.monotonic() + seconds
    while not (value := condition()):
        if time.monotonic() > end:
            raise AssertionError(f"{what} did not come true in {seconds} s")
        time.sleep(0.02)
    return value


class Fate(NamedTuple):
    """What the ledger says of a record: its verdict, and the transitions since."""

    row: dict
    partition: int
    seq: int
    written_ms: int
    policy_version: str
    transitions: list

    @property
    def now(self):
        last = self.transitions[-1] if self.transitions else None
        return (last["after"], last["reason"]) if last else self.verdict

    @property
    def verdict(self):
        return self.row["disposition"], self.row["reason"]


class Watch:
    """Reads ledger, approved records and dead letters as they are committed."""

    TOPICS = (names.DECISIONS, names.APPROVED, names.DEAD_LETTER)

    def __init__(self, settings, bootstrap):
        self.fates = {}
        """By (topic, partition, offset) of the input record."""
        self.approved = []
        self.letters = []
        self.blocks = []
        self._by_seq = {}
        self.positions = {
            (topic, number): 0 for topic in self.TOPICS for number in range(PARTITIONS)
        }
        """How far each partition was read, by topic and number."""
        self._consumer = clients.consumer(
            settings,
            bootstrap,
            "test-watch",
            "earliest",
            **{"fetch.wait.max.ms": 20, "enable.partition.eof": True},
        )
        self._consumer.assign([TopicPartition(*place, 0) for place in self.positions])

    def look(self):
        """Take in what was committed since."""
        messages = self._consumer.consume(1, 0.02)
        for message in messages + self._consumer.consume(5_000, 0):
            place, offset = (message.topic(), message.partition()), message.offset()
            if message.error() is None:
                self._take(message)
                self.positions[place] = offset + 1
            elif message.error().code() == KafkaError._PARTITION_EOF:
                self.positions[place] = offset

    def _take(self, message):
        topic, number, value = message.topic(), message.partition(), message.value()
        if topic == names.DEAD_LETTER:
            self.letters.append((message.key(), value, dict(message.headers())))
        elif topic == names.APPROVED:
            body = codec.decode(value, codec.committed("approved-milestone"))
            body["published_ms"] = message.timestamp()[1]
            self.approved.append(body)
        else:
            block = codec.decode(value, codec.committed("decision-block"))
            self.blocks.append(block)
            self._explode(block, number, message.timestamp()[1])

    def _explode(self, block, number, written_ms):
        for place, row in enumerate(block["decisions"]):
            topic, seq = block["inputs"][row["input"]]["topic"], block["first_seq"] + place
            fate = Fate(row, number, seq, written_ms, block["policy_version"], [])
            assert (topic, number, row["offset"]) not in self.fates, "decided about twice"
            self.fates[topic, number, row["offset"]] = self._by_seq[number, seq] = fate
        for row in block["transitions"]:
            self._by_seq[number, row["seq"]].transitions.append(row)

    def until(self, condition, seconds=30.0, what="the condition"):
        def met():
            found = condition()
            if not found:
                self.look()
            return found

        return until(met, seconds, what)

    def close(self):
        self._consumer.close()


class Worker:
    """`milepost run governor --worker` in a process of its own."""

    def __init__(self, environment, log):
        self.log_file = log
        command = [sys.executable, "-m", "pipeline.cli.main", "run", "governor", "--worker"]
        with log.open("ab") as out:
            self.process = subprocess.Popen(
                command, env=environment, cwd=ROOT, stdout=out, stderr=out
            )

    @property
    def running(self):
        return self.process.poll() is None

    def log(self):
        return self.log_file.read_text(errors="replace")

    @property
    def governs(self):
        """Partitions that it was assigned last, their state in place; a loss since is not told."""
        told = [line for line in self.log().splitlines() if '"partitions_assigned"' in line]
        return json.loads(told[-1])["partitions"] if told else []

    def end(self, number=signal.SIGTERM, seconds=45):
        with contextlib.suppress(ProcessLookupError):
            self.process.send_signal(number)
        return self.process.wait(seconds)

    def kill(self):
        return self.end(signal.SIGKILL)


class Gate:
    """Stands before the registry; can answer for it, hang up, or take its time."""

    def __init__(self, registry_url):
        self.closed = False
        self.status = 503
        """What it answers while it is closed; 0: it hangs up."""
        self.slow_s = 0.0
        self.asked = []
        base = registry_url.partition("/apis/")[0]
        gate, client = self, httpx.Client(timeout=20)

        class Forward(http.server.BaseHTTPRequestHandler):
            protocol_version = "HTTP/1.1"

            def forward(self):
                length = int(self.headers.get("content-length") or 0)
                body = self.rfile.read(length) if length else None
                gate.asked.append(self.path)
                time.sleep(gate.slow_s)
                if gate.closed and not gate.status:
                    self.close_connection = True
                    return
                if gate.closed:
                    status, kind, content = gate.status, "text/plain", b"closed by the test"
                else:
                    told = {"content-type": self.headers.get("content-type") or "application/json"}
                    answer = client.request(
                        self.command, base + self.path, content=body, headers=told
                    )
                    status, content = answer.status_code, answer.content
                    kind = answer.headers.get("content-type", "application/json")
                self.send_response(status)
                self.send_header("content-type", kind)
                self.send_header("content-length", str(len(content)))
                self.end_headers()
                self.wfile.write(content)

            do_GET = do_POST = do_PUT = forward  # noqa: N815  the base class's names

            def log_message(self, *_):
                """Say nothing."""

        class Server(http.server.ThreadingHTTPServer):
            daemon_threads = True

            def handle_error(self, *_):
                """A worker was killed in the middle of a request."""

        self._server = Server(("127.0.0.1", 0), Forward)
        self._client = client
        self.url = registry_url.replace(base, f"http://127.0.0.1:{self._server.server_port}")
        self._thread = threading.Thread(target=self._server.serve_forever, daemon=True)
        self._thread.start()

    def close(self):
        self._server.shutdown()
        self._server.server_close()
        self._thread.join(5)
        self._client.close()


class Governed:
    """The stack: topics and schemas are there; bundles and workers when asked for."""

    WATCH = Watch

    def __init__(self):
        self.folder = Path(tempfile.mkdtemp(prefix="governed-"))
        cache = os.environ.get("MILEPOST_CACHE_DIR")
        self._stack = LocalStack(self.folder / "stack", cache_dir=Path(cache) if cache else None)
        self._stack.start()
        self.bootstrap = self._stack.bootstrap
        self.registry_url = self._stack.registry_url
        self.settings = Settings(
            bootstrap_servers=self.bootstrap,
            registry_url=self.registry_url,
            state_dir=self.folder / "state",
        )
        self.gate = Gate(self.registry_url)
        self.registry = Registry(self.registry_url)
        admin = clients.admin(self.settings, self.bootstrap)
        wanted = topics.plan(DECLARED, topics.describe(admin, self.bootstrap, DECLARED))
        topics.apply(admin, self.bootstrap, wanted)
        list(register(self.registry, ROOT / "schemas", DECLARED))
        self.producer = clients.producer(
            self.settings, self.bootstrap, **{"linger.ms": 0, "message.max.bytes": 60_000_000}
        )
        self.watch = self.WATCH(self.settings, self.bootstrap)
        self.worker = None
        self.workers = []
        """All that were started."""
        self._hanging = {}
        """Producers with an open transaction, by the input that they make unreadable."""
        self.bundle = unbraked(load_bundle())
        self._count = itertools.count(1)
        self._raw_ids = {}

    def close(self):
        for worker in self.workers:
            if worker.running:
                worker.kill()
        self.watch.close()
        self.gate.close()
        self.registry.close()
        self._stack.stop()
        shutil.rmtree(self.folder, ignore_errors=True)

    # Workers and bundles

    def environment(self, **more):
        kept = {k: v for k, v in os.environ.items() if not k.startswith("MILEPOST_")}
        return kept | {
            "MILEPOST_BOOTSTRAP_SERVERS": self.bootstrap,
            "MILEPOST_REGISTRY_URL": self.gate.url,
            "MILEPOST_STATE_DIR": str(self.folder / "state"),
            "MILEPOST_TICK_MS": "500",
            "MILEPOST_LOG_FORMAT": "json",
            "PYTHONPATH": str(ROOT),
            **more,
        }

    def start(self, **environment):
        """Start a worker."""
        self.worker = self.join(**environment)
        return self.worker

    def join(self, **environment):
        """Start a worker beside those that run; it needs a slot of its own."""
        log = self.folder / f"worker-{next(self._count)}.log"
        self.workers.append(Worker(self.environment(**environment), log))
        return self.workers[-1]

    def bundle_with(self, **changes):
        """The shipped bundle, changed at places named `a__b`; as a new version."""
        content = self.bundle.model_dump(by_alias=True)
        content["heading"]["version"] = f"t-{uuid.uuid4().hex[:8]}"
        for place, value in changes.items():
            *way, last = place.split("__")
            inner = content
            for name in way:
                inner = inner[int(name) if name.isdigit() else name]
            inner[last] = value
        return Bundle.model_validate(content)

    def publish(self, bundle):
        """Publish and activate a bundle; wait until every partition's ledger shows it.

        Before a first worker is started there is nothing to wait for.
        """
        bundles.publish(self.settings, self.bootstrap, self.registry, bundle, by="test", why="test")
        if any(worker.running for worker in self.workers):
            self.governed_by(bundle)

    def governed_by(self, bundle):
        """Wait until a bundle is in force in every partition, as the newest blocks have it."""

        def met():
            found = {block["partition"]: block["policy_version"] for block in self.watch.blocks}
            return found == dict.fromkeys(range(PARTITIONS), bundle.version)

        self.watch.until(met, what=f"bundle {bundle.version} in force")

    # Records in

    def name(self, prefix="S"):
        """An id that no other test uses."""
        return f"{prefix}{uuid.uuid4().hex[:10].upper()}"

    def raw_id(self, topic):
        if topic not in self._raw_ids:
            self._raw_ids[topic] = self.registry.id_for(names.subject(topic), "raw-event")
        return self._raw_ids[topic]

    def event(self, entity_id, status, **given):
        """A raw event of North America's TMS that happened a minute ago."""
        return raw_event(
            **{
                "event_id": self.name("E"),
                "platform": "tms-na",
                "entity_type": "shipment",
                "entity_id": entity_id,
                "native_status": status,
                "classifier": "ACTUAL",
                "occurred": int(time.time() * 1000) - 60_000,
                "occurred_precision": "SECOND",
            }
            | given
        )

    def send(self, *events):
        """Write raw events where they belong; their places."""
        addressing = Addressing(self.bundle)
        outgoing = []
        for event in events:
            topic, key = addressing.address(event)
            value = codec.encode(event, codec.committed("raw-event"), self.raw_id(topic))
            outgoing.append(clients.Outgoing(topic, value, key))
        return [tuple(place) for place in clients.deliver(self.producer, outgoing)]

    def put(self, topic, key, value, *, headers=(), partition=None):
        """Write bytes as they are; their place."""
        number = partition_of(key, PARTITIONS) if partition is None else partition
        record = clients.Outgoing(topic, value, key, tuple(headers), number)
        return tuple(clients.deliver(self.producer, [record])[0])

    def hang(self, topic):
        """Make an input unreadable from here on: a transaction that does not end is in the way."""
        producer = Producer(
            {
                "bootstrap.servers": self.bootstrap,
                "transactional.id": f"hanging-{next(self._count)}",
                "transaction.timeout.ms": 600_000,
            }
        )
        producer.init_transactions(30)
        producer.begin_transaction()
        for number in range(PARTITIONS):
            producer.produce(topic, b"never committed", partition=number)
        assert producer.flush(30) == 0
        self._hanging[topic] = producer

    def let_go(self):
        """Make every input readable again."""
        for topic in list(self._hanging):
            self._hanging.pop(topic).abort_transaction(30)

    def put_large(self, topic, key, size):
        """Write a record that compression lets through; its place."""
        producer = clients.producer(
            self.settings,
            self.bootstrap,
            **{"compression.type": "zstd", "message.max.bytes": 60_000_000},
        )
        record = clients.Outgoing(topic, b"\0" * size, key, (), partition_of(key, PARTITIONS))
        return tuple(clients.deliver(producer, [record])[0])

    # What became of them

    def fate(self, place, seconds=30.0):
        """The fate of the record at a place, once it is decided."""
        try:
            return self.watch.until(
                lambda: self.watch.fates.get(place), seconds, f"a verdict about {place}"
            )
        except AssertionError as error:
            raise AssertionError(f"{error}; the worker says: {self.worker.log()[-3000:]}") from None

    def fates(self, places, seconds=30.0):
        return [self.fate(place, seconds) for place in places]

    def story(self, entity_id, entity_type="shipment", tenant="acme"):
        """Approved records of an entity, in order."""
        self.watch.look()
        return [
            body
            for body in self.watch.approved
            if (body["tenant"], body["entity_type"], body["entity_id"])
            == (tenant, entity_type, entity_id)
        ]

    def letter(self, place, seconds=30.0):
        """The dead letter whose origin is a place: key, value and headers."""
        origin = '"topic":"{}","partition":{},"offset":{},'.format(*place).encode()

        def found():
            return next(
                (
                    letter
                    for letter in reversed(self.watch.letters)
                    if origin in letter[2]["milepost.dlq.origin"]
                ),
                None,
            )

        return self.watch.until(found, seconds, f"a dead letter about {place}")

    def verify(self, *, deep=False):
        """What `milepost verify` finds; deep: everything is decided anew, to the end."""
        find = published(self.settings, self.bootstrap, self.registry)
        audit = Audit(replay=KernelReplay(find) if deep else None)
        with LogReader(self.settings, self.bootstrap) as reader:
            report = verify(TopicEvidence(reader, Decoder(self.registry)), DECLARED, audit)
        assert not any(item.why for item in report.replayed), report.violations
        return report

    def forget(self, topic, partition, before):
        """Let retention take what lies before an offset."""
        asked = TopicPartition(topic, partition, before)
        admin = AdminClient({"bootstrap.servers": self.bootstrap})
        admin.delete_records([asked])[asked].result(20)

    def key(self, entity_id, entity_type="shipment"):
        return f"acme/{entity_type}/{entity_id}".encode()


def per_entity(approved):
    """Approved records by entity, in the order of the topic."""
    found = defaultdict(list)
    for body in approved:
        found[body["tenant"], body["entity_type"], body["entity_id"]].append(body)
    return found


_shared: list[Governed] = []
_borrowers: list[object] = []


@contextlib.contextmanager
def borrowed():
    """The stack that all modules share, with the shipped bundle in force and a worker running."""
    token = object()
    if not _shared:
        made = Governed()
        _shared.append(made)
        made.publish(made.bundle)
        made.start()
    _borrowers.append(token)
    try:
        yield _shared[0]
    finally:
        _borrowers.remove(token)
        if not _borrowers:
            _shared.pop().close()
