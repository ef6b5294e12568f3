"""A governed run of any length in files, and those files as evidence: what an audit reads, without
a broker's and a consumer's memory around it."""

import bisect
import json
import pickle

from connectors.simulation.address import Addresses, encode
from connectors.simulation.bundle import demo_bundle
from connectors.simulation.traffic import compose
from pipeline.contract import codec, names
from pipeline.contract.bundle import load_bundle
from pipeline.contract.policy_tables import compile_policy
from pipeline.kafka.reading import Span, Stored
from pipeline.testing.driver import TopologyDriver

NOW_MS = 1_790_000_000_000
BATCH = 500
INDEX_EVERY = 1_000
OUTPUTS = (
    names.DECISIONS, names.APPROVED, names.ENTITY_STATUS, names.DEAD_LETTER, names.CHANGELOG,
    names.ALERTS,
)  # fmt: skip


class _Log:
    """One partition of a topic, being written."""

    def __init__(self, folder, topic, partition):
        self.path = folder / f"{topic}={partition}"
        self.file = self.path.open("wb")
        self.end = 0
        self.count = 0
        self.index = []

    def add(self, stored):
        if self.count % INDEX_EVERY == 0:
            self.index.append((stored.offset, self.file.tell()))
        self.count += 1
        pickle.dump(tuple(stored), self.file, protocol=5)
        self.end = stored.offset + 1

    def close(self):
        self.file.close()
        told = {"end": self.end, "index": self.index}
        self.path.with_name(self.path.name + ".json").write_text(json.dumps(told))


class FilingDriver(TopologyDriver):
    """A driver that takes records in batches and files what goes in and comes out."""

    def __init__(self, folder, *args, **named):
        self._folder = folder
        self._logs = {}
        super().__init__(*args, **named)

    def log(self, topic, partition):
        place = topic, partition
        if place not in self._logs:
            self._logs[place] = _Log(self._folder, topic, partition)
        return self._logs[place]

    def pipe_all(self, records):
        for topic, partition, key, value in records:
            self._append(topic, partition, key, value, None, self.now_ms)
        self._settle()

    def _append(self, topic, partition, key, value, headers, at_ms):
        place = super()._append(topic, partition, key, value, headers, at_ms)
        self.inputs[topic, partition][-1] = None  # counted, kept in the file
        self.log(topic, partition).add(Stored(*place, at_ms, key, value, list(headers or ())))
        return place

    def _take(self, partition, records):
        super()._take(partition, records)
        written = set()
        for topic, number, key, value, headers in self.outputs:
            if topic in {names.LINKS, names.REKEYED}:
                continue
            log = self.log(topic, number)
            log.add(Stored(topic, number, log.end, self.now_ms, key, value, list(headers or ())))
            written.add(log)
        for log in written:
            log.end += 1  # the transaction's marker
        self.outputs.clear()

    def close(self):
        for topic in OUTPUTS:
            for number in range(self.partitions):
                self.log(topic, number)
        for log in self._logs.values():
            log.close()


def policies():
    return [compile_policy(demo_bundle(load_bundle()))]


def write(folder, events, seed=5, partitions=4):
    """Govern a seeded world's traffic and file every topic."""
    folder.mkdir(parents=True)
    bundle = demo_bundle(load_bundle())
    traffic = compose(seed, NOW_MS, events=events, run_s=events / 2_000)
    driver = FilingDriver(
        folder, policies(), partitions=partitions, start_ms=traffic.world.now_ms + 1_000
    )
    addresses = Addresses(bundle)
    batch = []
    for count, sending in enumerate(traffic.sendings):
        statement = sending.statement
        number = addresses.partition(statement, partitions) + (count % 40 == 0)
        value = b"<html>%d" % count if count % 45 == 1 else encode(statement, 1)
        topic, key = addresses.topic(statement), addresses.key(statement)
        batch.append((topic, number % partitions, key, value))
        if len(batch) == BATCH:
            driver.pipe_all(batch)
            driver.advance(250)
            batch = []
    driver.pipe_all(batch)
    for _ in range(30):
        driver.advance(1_000)
    driver.close()


class FiledTopics:
    """Filed topics, as an audit reads them."""

    def __init__(self, folder):
        self._folder = folder
        self._told = {}
        for path in folder.glob("*.json"):
            topic, _, number = path.stem.rpartition("=")
            self._told[topic, int(number)] = json.loads(path.read_text())

    def partitions(self, topic):
        return sorted(number for name, number in self._told if name == topic)

    def span(self, topic, partition):
        return Span(0, self._told.get((topic, partition), {"end": 0})["end"])

    def records(self, topic, partition, span):
        if (topic, partition) not in self._told or span.start >= span.end:
            return
        index = self._told[topic, partition]["index"]
        with (self._folder / f"{topic}={partition}").open("rb") as file:
            at = bisect.bisect_right(index, [span.start, 1 << 62]) - 1
            file.seek(index[max(at, 0)][1] if index else 0)
            while True:
                try:
                    record = Stored(*pickle.load(file))
                except EOFError:
                    return
                if record.offset >= span.end:
                    return
                if record.offset >= span.start:
                    yield record

    def since(self, topic, partition, time_ms):
        span = self.span(topic, partition)
        rows = self.records(topic, partition, span)
        return next((row.offset for row in rows if row.timestamp_ms >= time_ms), span.end)

    def written(self, number):
        return codec.committed({1: "raw-event", 2: "link", 3: "control"}[number])

    def decode(self, value, name):
        codec.schema_id(value)
        return codec.decode(value or b"", codec.committed(name))
