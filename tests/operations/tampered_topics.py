"""Topics of a governed run in memory that tests tamper with, and what verify then says."""

from copied_topics import RecordedDriver

from connectors.simulation.address import Addresses, encode
from connectors.simulation.bundle import demo_bundle
from connectors.simulation.traffic import compose
from pipeline.contract import codec, names
from pipeline.contract import topics as declarations
from pipeline.contract.bundle import load_bundle
from pipeline.contract.policy_tables import compile_policy
from pipeline.operations.verify import verify

DECLARED = declarations.load()
STORY = "entity-status"
STORY = "entity-status"
NOW_MS = 1_790_000_000_000
TMS = "logistics.raw.tms-na.v1"


def run(seed=5, events=900):
    """A seeded world's traffic through the topology, with everything that ends in every topic."""
    bundle = demo_bundle(load_bundle())
    traffic = compose(seed, NOW_MS, events=events)
    driver = RecordedDriver([compile_policy(bundle)], start_ms=traffic.world.now_ms + 1_000)
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


def decided_inputs(topics):
    return rows_of(topics, TMS)


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
