"""Topics of a governed run in memory that tests tamper with, and what verify then says."""

import json

from copied_topics import CopiedTopics, RecordedDriver

from connectors.simulation.address import Addresses, encode
from connectors.simulation.bundle import demo_bundle
from connectors.simulation.traffic import compose
from pipeline.contract import codec, names
from pipeline.contract import topics as declarations
from pipeline.contract.bundle import load_bundle
from pipeline.contract.policy_tables import compile_policy
from pipeline.governance.ledger import approved_digest, chain_hash
from pipeline.governance.vocabulary import ControlKind
from pipeline.operations.verify import verify

DECLARED = declarations.load()
BLOCK = "decision-block"
POLICY = compile_policy(demo_bundle(load_bundle()))
STORY = "entity-status"
NOW_MS = 1_790_000_000_000
OWN_KEY = b"\0partition"
TMS = "logistics.raw.tms-na.v1"


def run(seed=5, events=900):
    """A seeded world's traffic through the topology, with everything that ends in every topic."""
    bundle = demo_bundle(load_bundle())
    traffic = compose(seed, NOW_MS, events=events)
    driver = RecordedDriver([POLICY], start_ms=traffic.world.now_ms + 1_000)
    addresses = Addresses(bundle)
    at_s = 0.0
    for count, sending in enumerate(traffic.sendings):
        if sending.at_s > at_s + 0.5:
            driver.advance(int((sending.at_s - at_s) * 1_000))
            at_s = sending.at_s
        statement = sending.statement
        number = addresses.partition(statement, driver.partitions) + (count % 40 == 0)
        key, value = addresses.key(statement), encode(statement, 1)
        if count % 45 == 1:
            value = b"<html>%d" % count
        driver.pipe_bytes(addresses.topic(statement), key, value, partition=number % 4)
    for kind in (ControlKind.SUSPEND, ControlKind.RELEASE):
        driver.control(kind, platform="wms-3pl", issued_by="ops", why="an alert each")
    for _ in range(30):
        driver.advance(1_000)
    return driver


def check(topics):
    return verify(topics, DECLARED)


def broken(topics):
    """Names of the rules that don't hold."""
    return set(check(topics).broken)


def rows_of(topics, topic, least=3):
    """A partition of the topic that has at least so many records."""
    return next(
        rows
        for (name, _), rows in topics.records_of.items()
        if name == topic and len(rows) >= least
    )


def place_of(record):
    return record.topic, record.partition, record.offset


def first_places(topics):
    """By name of each rule that doesn't hold: topic, partition and offset of its first place."""
    report = check(topics)
    assert report.first.keys() == report.broken.keys()
    return {rule: tuple(found[1:4]) for rule, found in report.first.items()}


def own_state(topics, number):
    """Where the state speaks of its partition: a state that is not the ledger's is told there."""
    rows = topics.records_of[names.CHANGELOG, number]
    return place_of([record for record in rows if record.key == OWN_KEY][-1])


def altered(record, **changes):
    name = {
        names.APPROVED: "approved-milestone",
        names.DECISIONS: "decision-block",
        names.ENTITY_STATUS: "entity-status",
    }[record.topic]
    schema = codec.committed(name)
    body = codec.decode(record.value, schema) | changes
    return record._replace(value=codec.encode(body, schema, codec.schema_id(record.value)))


def body_of(record, name="approved-milestone"):
    return codec.decode(record.value, codec.committed(name))


def reseal(topics, number):
    """Put right whatever shows that a partition was tampered with: who can write, can do this too.

    Digests of approved records, the hash chain of the blocks, and what the state says of both.
    """
    running, digests = b"", [""]
    for record in topics.records_of[names.APPROVED, number]:
        running = approved_digest(running, record.value)
        digests.append(running.hex())
    rows, chain = topics.records_of[names.DECISIONS, number], ""
    for at, record in enumerate(rows):
        count = body_of(record, BLOCK)["approved_count"]
        rows[at] = altered(record, previous_hash=chain, approved_digest=digests[count])
        chain = chain_hash(rows[at].value[5:])
    states = topics.records_of[names.CHANGELOG, number]
    at = max(at for at, record in enumerate(states) if record.key == OWN_KEY)
    own = json.loads(states[at].value) | {"chain": chain, "approved_digest": digests[-1]}
    states[at] = states[at]._replace(value=json.dumps(own).encode())


class Growing(CopiedTopics):
    """Topics that grow while they are read: each span is that of the moment it is asked for."""

    def __init__(self, driver, feed):
        super().__init__()
        self._driver = driver
        self._feed = feed
        self._refresh()

    def _refresh(self):
        now = self._driver.copies()
        self.records_of, self.spans = now.records_of, now.spans

    def span(self, topic, partition):
        before = super().span(topic, partition)
        self._feed(self._driver)
        self._refresh()
        return before


def more_of(seed):
    """What a governor governs on while somebody looks: some records each time it is called."""
    more = iter(compose(seed, NOW_MS, events=400).sendings)
    addresses = Addresses(demo_bundle(load_bundle()))

    def feed(driver):
        for _ in range(3):
            sending = next(more, None)
            if sending is None:
                return
            statement = sending.statement
            driver.pipe_bytes(
                addresses.topic(statement),
                addresses.key(statement),
                encode(statement, 1),
                partition=addresses.partition(statement, driver.partitions),
            )

    return feed
