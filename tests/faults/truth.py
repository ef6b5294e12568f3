"""What must be true after a campaign, whatever happened in it. Each check yields what is wrong.

Knows the ground truth three ways: what Kafka acknowledged to the platforms, what an undisturbed run
in memory makes of the same records, and what the topics prove by themselves (`milepost verify`).
"""

from __future__ import annotations

import heapq
import shutil
import tempfile
from collections import Counter
from collections.abc import Callable, Iterable, Iterator
from pathlib import Path

import httpx
from confluent_kafka import IsolationLevel, TopicPartition
from confluent_kafka.admin import AdminClient, OffsetSpec
from governed_stack import until
from running import LAST
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
FOREIGN_IDS = 10_000
OUTPUTS_KEPT = 5_000
REVISIONS = "select milestone_id, revision from milestone_revision"
NEWEST = "select milestone_id, revision from milestone"
ENTITIES = "select tenant, entity_type, entity_id, status, status_seq from entity"
ENTRIES = "select key, state, reason from erp_entries"
DONE = "select key from erp_entries where state = 'DONE'"
READ = "select partition, next_offset from erp_applied"
TRAIL = (
    "select revision, kind, state, reason, words from erp_entries"
    " where milestone_id = :milestone and posting = :posting order by id"
)
ON_ITS_WAY = "select key from erp_entries where state in ('PENDING', 'SENDING')"
PAGE = 1_000


def everything_wrong(arena) -> list[str]:
    """Stop the traffic, let everything settle, end the governors in order, and check all of it.

    A check that breaks off, for whatever reason, is wrong itself and keeps no other from its work.
    """
    wrong: list[str] = []
    for check in CHECKS:
        try:
            wrong.extend(check(arena))
        except Exception as error:  # noqa: BLE001  what broke a check must not hide the others
            wrong.append(f"the check of {check.__name__.replace('_', ' ')}: {described(error)}")
    return wrong


def described(error: Exception) -> str:
    """What an error says, with its kind if it is none of a check's own, and with its notes."""
    kind = "" if isinstance(error, AssertionError) else f"{type(error).__name__}: "
    return "; ".join([f"{kind}{error}", *getattr(error, "__notes__", ())])


def traffic_acknowledged(arena) -> list[str]:
    """Kafka has acknowledged everything that was sent."""
    arena.traffic.stop()
    return arena.traffic.failures


def everything_decided(arena) -> list[str]:
    """Everything that was acknowledged is decided about."""
    arena.decided()
    return []


def governors_end(arena) -> list[str]:
    """Governors end in order when they are told to."""
    arena.stop_governors()
    return []


def witness_content(arena) -> list[str]:
    """Who was there all the time saw nothing that should not be."""
    return arena.witness.anomalies


def ends(arena) -> list[str]:
    """No process has ended but where somebody had it end."""
    return arena.unasked(frozenset())


def verified(arena) -> Iterator[str]:
    """`milepost verify` finds what a test had retention take, and nothing else."""
    taken = set()
    for item in arena.verify().violations:
        place = item.topic, item.partition, item.offset
        if item.rule == "lost" and place in arena.lost:
            taken.add(place)
        else:
            yield f"verify: {item}"
    for place in sorted(arena.lost - taken):
        yield f"verify does not say that retention took what was at {place}"


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


def portals(arena) -> Iterator[str]:
    """Each portal shows exactly what is approved."""
    engines = {p.name: create_engine(tables.database_url(load(p.env))) for p in arena.portals}
    try:
        for name, engine in engines.items():
            yield from _portal(arena, name, engine)
        yield from _agreed(engines)
    finally:
        for engine in engines.values():
            engine.dispose()


def erp(arena) -> Iterator[str]:
    """The ERP has booked each posting that is due once, and no other."""
    outbox = create_engine(database_url(arena.settings))
    try:
        yield from _erp(arena, outbox)
    finally:
        outbox.dispose()


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


def _agreed(engines: dict) -> Iterator[str]:
    """Every portal tells the same status of the same entities, whatever became of its database."""

    def told() -> list[set]:
        return [_rows(engine, ENTITIES) for engine in engines.values()]

    def same() -> bool:
        first, *others = told()
        return all(other == first for other in others)

    try:
        until(same, SETTLE_S, "portals tell the same")
    except AssertionError as error:
        first, *others = told()
        yield f"{error}: {[sorted(other ^ first)[:3] for other in others]}"


def _erp(arena, engine) -> Iterator[str]:
    bookings, books = arena.witness.bookings, Books(arena.erp_url)
    due, allowed = bookings.due(), bookings.allowed()

    def settled() -> bool:
        on_its_way = _rows(engine, ON_ITS_WAY)
        return not on_its_way and due <= bookings.booked(books.postings())

    try:
        until(settled, SETTLE_S, "the ERP has booked all that is due")
    except AssertionError as error:
        yield f"{error}; {_sink(arena, engine)}"
    if not due:
        yield "no posting is due: that the ERP lost none shows nothing"
    booked = bookings.booked(books.postings())
    for what, found in (
        ("are due and not booked", due - booked),
        ("are booked and not due", booked - due - allowed),
    ):
        if found:
            named = [_told_of(engine, effect) for effect, _ in sorted(found)[:3]]
            yield f"{len(found)} of {len(due)} postings {what}, {'; '.join(named)}"
    summary = books.summary()
    for name in ("double_postings", "double_effects", "out_of_order"):
        if summary[name]:
            yield f"the ERP counts {summary[name]} {name.replace('_', ' ')}"
    done = {key for (key,) in _rows(engine, DONE)}
    keys = {posting["key"] for posting in books.postings()}
    if keys != done:
        yield f"booked but not done, or done but not booked: {sorted(keys ^ done)[:5]}"


def _sink(arena, engine) -> str:
    """What the ERP's sink has done and not done, and where it is kept for whoever asks why."""
    read = sorted(_rows(engine, READ))
    there = [arena.witness.next[names.APPROVED, number] for number in range(PARTITIONS)]
    states = Counter((state, reason) for _, state, reason in _rows(engine, ENTRIES))
    kept = Path(tempfile.mkdtemp(prefix="erp-of-a-campaign-"))
    shutil.copytree(arena.settings.state_dir / "erp", kept / "erp")
    shutil.copy(arena.erp_sink.log_file, kept)
    return (
        f"its sink {'runs' if arena.erp_sink.running else 'has ended'}, has read up to {read} of "
        f"{there}, has {states} and said last: {arena.erp_sink.said()[-LAST:]} (kept in {kept})"
    )


def _told_of(engine, effect: tuple[str, str]) -> str:
    """All entries of a posting in the outbox, in order."""
    milestone, posting = effect
    with engine.connect() as connection:
        rows = connection.execute(text(TRAIL), {"milestone": milestone, "posting": posting})
        return f"{milestone} {posting}: {[tuple(row) for row in rows] or 'no entry'}"


class Books:
    """What an ERP has booked, asked for by HTTP."""

    def __init__(self, url: str) -> None:
        self._url = url
        self._read: list[dict] = []

    def postings(self) -> list[dict]:
        """All of them, in their order."""
        while True:
            after = self._read[-1]["number"] if self._read else 0
            page = self._ask("postings", after=after, limit=PAGE)
            self._read += page
            if len(page) < PAGE:
                return self._read

    def summary(self) -> dict:
        """What they count."""
        return self._ask("summary")

    def _ask(self, path: str, **given: int):
        answer = httpx.get(f"{self._url}/{path}", params=given, timeout=30)
        return answer.raise_for_status().json()


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


CHECKS: tuple[Callable[..., Iterable[str]], ...] = (
    traffic_acknowledged,
    everything_decided,
    governors_end,
    transactions,
    readers,
    witness_content,
    portals,
    erp,
    verified,
    undisturbed,
    ends,
)
"""In this order: the first ones bring about what the others look at."""
