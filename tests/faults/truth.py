"""What must be true after a campaign, whatever happened in it. Each check yields what is wrong.

Knows the ground truth three ways: what Kafka acknowledged to the platforms, what an undisturbed run
in memory makes of the same records, and what the topics prove by themselves (`milepost verify`).
"""

from __future__ import annotations

import heapq
import re
from collections.abc import Iterator

import httpx
from confluent_kafka import IsolationLevel, TopicPartition
from confluent_kafka.admin import AdminClient, OffsetSpec
from governed_stack import until
from sqlalchemy import create_engine, text
from witness import PARTITIONS, Transcript, told

from connectors.portal import tables
from connectors.sinks.database import database_url
from pipeline.contract import names
from pipeline.contract.policy_tables import compile_policy
from pipeline.kafka.reading import LogReader, Stored
from pipeline.settings import load
from pipeline.testing.driver import TopologyDriver

SETTLE_S = 60
CRASH = re.compile("was ended by (?:SIGSEGV|SIGABRT|SIGBUS|SIGFPE)")
CRASH_CODES = frozenset({"134", "135", "136", "139"})
FOREIGN_IDS = 10_000
OUTPUTS_KEPT = 5_000
REVISIONS = "select milestone_id, revision from milestone_revision"
NEWEST = "select milestone_id, revision from milestone"
ENTITIES = "select tenant, entity_type, entity_id, status, status_seq from entity"
ENTRIES = "select state, count(*) from erp_entries group by state"


def everything_wrong(arena) -> list[str]:
    """Stop the traffic, let everything settle, end the governors in order, and check all of it."""
    arena.traffic.stop()
    arena.decided()
    arena.stop_governors()
    wrong = [*arena.traffic.failures, *crashes(arena)]
    wrong += transactions(arena)
    wrong += readers(arena)
    wrong += arena.witness.anomalies
    wrong += sinks(arena)
    wrong += verified(arena)
    wrong += undisturbed(arena)
    return wrong


def crashes(arena) -> Iterator[str]:
    """No process ended by a fault of its own but where a test asked for it."""
    seen = 0
    for process in arena.processes:
        found = CRASH.findall(process.log())
        seen += len(found)
    if seen != arena.crashes:
        yield f"{seen} workers crashed, {arena.crashes} were made to"
    for ended, count in arena.exits.items():
        if ended.rpartition(" ")[2] in CRASH_CODES:
            yield f"{ended}, {count} times"


def verified(arena) -> Iterator[str]:
    """`milepost verify` finds nothing but what a test had retention take."""
    for item in arena.verify().violations:
        if item.rule != "lost" or (item.topic, item.partition, item.offset) not in arena.lost:
            yield f"verify: {item}"


def readers(arena) -> Iterator[str]:
    """Who reads afterwards finds what the witness saw, in that order; every record has its fate."""
    afterwards = Transcript()
    with LogReader(arena.settings, arena.bootstrap) as reader:
        for topic in Transcript.TOPICS:
            spans = {n: reader.settled(topic, n) for n in range(PARTITIONS)}
            for record in reader.read(topic, spans):
                afterwards.take(
                    topic, record.partition, record.offset, record.key or b"", record.value
                )
    arena.witness.until(
        lambda: arena.witness.digests() == afterwards.digests() or arena.witness.anomalies,
        SETTLE_S,
        "the witness has read what a later reader finds",
    )
    yield from (f"afterwards: {anomaly}" for anomaly in afterwards.anomalies)
    for place, offsets in arena.traffic.acked.items():
        undecided = [offset for offset in offsets if offset not in afterwards.verdicts[place]]
        if undecided:
            yield f"{place}: {len(undecided)} acknowledged without a verdict, {undecided[:5]}"


def transactions(arena) -> Iterator[str]:
    """Every transaction on every partition has ended: what is stable is what is written."""
    admin = AdminClient({"bootstrap.servers": arena.bootstrap})
    places = [
        TopicPartition(topic, number)
        for topic, found in admin.list_topics(timeout=20).topics.items()
        for number in found.partitions
    ]

    def open_ones() -> list[str]:
        written, stable = (_ends(admin, places, level) for level in (0, 1))
        return [
            f"{topic}[{number}]: a transaction is open at {stable[topic, number]}"
            for topic, number in written
            if stable[topic, number] < written[topic, number]
        ]

    try:  # one of a worker that was killed has to time out
        until(lambda: not open_ones(), SETTLE_S, "the end of every transaction")
    except AssertionError:
        yield from open_ones()


def _ends(admin: AdminClient, places: list[TopicPartition], level: int) -> dict:
    """Ends of partitions, by isolation level: 0 all that is written, 1 what is stable."""
    asked = admin.list_offsets(
        {place: OffsetSpec.latest() for place in places}, isolation_level=IsolationLevel(level)
    )
    return {
        (place.topic, place.partition): answer.result(20).offset for place, answer in asked.items()
    }


def sinks(arena) -> Iterator[str]:
    """The portal shows exactly what is approved; the ERP has booked each posting once."""
    portals = {p.name: create_engine(tables.database_url(load(p.env))) for p in arena.portals}
    outbox = create_engine(database_url(arena.settings))
    try:
        for name, engine in portals.items():
            yield from _portal(arena, name, engine)
        yield from _agreed(portals)
        yield from _erp(arena, outbox)
    finally:
        for engine in (*portals.values(), outbox):
            engine.dispose()


def _rows(engine, query: str) -> set:
    with engine.connect() as connection:
        return {tuple(row) for row in connection.execute(text(query))}


def _portal(arena, name: str, engine) -> Iterator[str]:
    approved = arena.witness.revisions

    def shown() -> bool:
        return _rows(engine, REVISIONS) >= approved.keys()

    try:
        until(shown, SETTLE_S, f"{name} shows all that is approved")
    except AssertionError as error:
        yield f"{error}: {len(_rows(engine, REVISIONS))} of {len(approved)}"
    more = _rows(engine, REVISIONS) - approved.keys()
    if more:
        yield f"{name} shows {len(more)} revisions that nobody approved, {sorted(more)[:3]}"
    newest: dict[str, int] = {}
    for milestone, revision in approved:
        newest[milestone] = max(revision, newest.get(milestone, 0))
    wrong = _rows(engine, NEWEST) ^ newest.items()
    if wrong:
        yield f"{name} shows other milestones as the newest, {sorted(wrong)[:3]}"


def _agreed(portals: dict) -> Iterator[str]:
    """Every portal tells the same status of the same entities, whatever became of its database."""

    def told() -> list[set]:
        return [_rows(engine, ENTITIES) for engine in portals.values()]

    def same() -> bool:
        first, *others = told()
        return all(other == first for other in others)

    try:
        until(same, SETTLE_S, "portals tell the same")
    except AssertionError as error:
        first, *others = told()
        yield f"{error}: {[sorted(other ^ first)[:3] for other in others]}"


def _erp(arena, engine) -> Iterator[str]:
    def states() -> dict[str, int]:
        with engine.connect() as connection:
            return dict(map(tuple, connection.execute(text(ENTRIES))))

    def quiet() -> bool:
        counts = states()
        return not counts.get("PENDING") and not counts.get("SENDING")

    try:
        until(quiet, SETTLE_S, "the outbox has nothing on its way")
    except AssertionError as error:
        yield f"{error}: {states()}"
    books = httpx.get(f"{arena.erp_url}/summary").json()
    for name in ("double_postings", "double_effects", "out_of_order"):
        if books[name]:
            yield f"the ERP counts {books[name]} {name.replace('_', ' ')}"
    if books["postings"] != states().get("DONE", 0):
        yield f"the ERP booked {books['postings']}, the outbox says {states()}"


def undisturbed(arena) -> Iterator[str]:
    """The story that a run in memory tells of the same records, in the order they were appended."""
    expected = _story(arena)
    found = {
        name: standing
        for name, (entity, standing) in arena.witness.standing.items()
        if "/".join(entity).encode() not in arena.strangers
    }
    for name in expected.keys() | found.keys():
        if expected.get(name) != found.get(name):
            yield f"{name}: {found.get(name)}, undisturbed {expected.get(name)}"


def _story(arena) -> dict[str, tuple]:
    driver = TopologyDriver([compile_policy(arena.bundle)], PARTITIONS, 0)
    standing: dict[str, tuple] = {}

    def note() -> None:
        for record in driver.records(names.APPROVED):
            standing[record["milestone_id"]] = told(record)
        driver.outputs.clear()

    for record in _appended(arena):
        value = None if record.value is None else _renumbered(record.value)
        driver.pipe_bytes(
            record.topic,
            record.key,
            value,
            partition=record.partition,
            at_ms=record.timestamp_ms,
        )
        if len(driver.outputs) > OUTPUTS_KEPT:
            note()
    note()
    return standing


def _appended(arena) -> Iterator[Stored]:
    """All that worlds' platforms wrote, in the order it was appended."""
    with LogReader(arena.settings, arena.bootstrap) as reader:
        logs = []
        for topic in {topic for topic, _ in arena.traffic.acked}:
            spans = {n: reader.span(topic, n) for n in range(PARTITIONS)}
            logs += _by_partition(list(reader.read(topic, spans)))
    for record in heapq.merge(*logs, key=lambda record: record.timestamp_ms):
        if record.key not in arena.strangers:
            yield record


def _by_partition(records: list[Stored]) -> list[list[Stored]]:
    return [[r for r in records if r.partition == number] for number in range(PARTITIONS)]


def _renumbered(value: bytes) -> bytes:
    """The same record under the driver's schema id, if it names a real one."""
    known = value[:1] == b"\0" and int.from_bytes(value[1:5], "big") < FOREIGN_IDS
    return b"\0\0\0\0\1" + value[5:] if known else value
