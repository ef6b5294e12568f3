"""The audit trail: the ledger's blocks exploded into rows, with the fate each claim has now.

Read from the topics; answers what was decided about an entity, an event or a platform's claims, and
why something isn't there. Must never write.
"""

from __future__ import annotations

import difflib
import json
from collections.abc import Callable, Collection, Iterable, Iterator, Mapping
from typing import Any, Final, NamedTuple

from pipeline.contract import names
from pipeline.contract.topics import Declared
from pipeline.governance.identity import entity_key
from pipeline.governance.reasons import MEANINGS, Reason
from pipeline.governance.vocabulary import Action, Disposition
from pipeline.kafka.clients import Position
from pipeline.kafka.reading import Span, Stored
from pipeline.operations.proof.evidence import Evidence

Record = dict[str, Any]

BACKLOG_MAX: Final = 50_000
"""Undecided records that are searched for a name; beyond it they are only counted."""
CLOSE_MAX: Final = 3
REROUTED: Final = "rerouted"
_OWN_KEY: Final = b"\0partition"
_DEAD: Final = b"dead_lettered"
_OWN_RECORDS: Final = {
    names.LINKS: "a link between entities",
    names.CONTROL: "a control record",
}
"""Inputs that Milepost writes itself: what a record of each is."""


class Entry(NamedTuple):
    """One input record and what became of it: a verdict, then transitions; times ms UTC."""

    partition: int
    seq: int
    topic: str
    offset: int
    published_ms: int
    policy_version: str
    verdict: Record
    transitions: list[Record]

    @property
    def fate(self) -> str:
        """What it is now: the last transition's, else the verdict's."""
        return str(self.transitions[-1]["after"] if self.transitions else self._now("disposition"))

    @property
    def reason(self) -> str:
        """Why it is that."""
        return str(self.transitions[-1]["reason"] if self.transitions else self._now("reason"))

    @property
    def meaning(self) -> str:
        """What that says to a person."""
        return meaning(self.reason, self.fate)

    @property
    def event_type(self) -> str:
        """What it said, once that was known; empty if it never was."""
        return str(self.transitions[-1]["event_type"] if self.transitions else "") or str(
            self.verdict["event_type"]
        )

    @property
    def what(self) -> str:
        """What the record is or said; empty where the ledger has no meaning of it."""
        return _OWN_RECORDS.get(self.topic) or self.event_type

    @property
    def place(self) -> Position:
        """Where the record is."""
        return Position(self.topic, self.partition, self.offset)

    def _now(self, name: str) -> Any:
        return self.verdict[name]

    def document(self) -> Record:
        """As one JSON value."""
        return {
            "ledger": {"partition": self.partition, "seq": self.seq},
            "raw": self.place._asdict(),
            "published": self.published_ms,
            "policy_version": self.policy_version,
            "fate": self.fate,
            "reason": self.reason,
            "meaning": self.meaning,
            **{name: value for name, value in self.verdict.items() if name != "digest"},
            "digest": self.verdict["digest"].hex(),
            "transitions": self.transitions,
        }


class Undecided(NamedTuple):
    """A record that is there and not decided yet."""

    place: Position
    received_ms: int


class Story(NamedTuple):
    """Everything about one entity or event, or why there is nothing."""

    entries: list[Entry]
    approved: list[Record]
    """Approved records, each with `published`: when its block was appended."""
    undecided: list[Undecided]
    backlog: int
    """Input records that are not decided yet, whatever they are about."""
    read_ms: int
    """When something was decided last; 0: never."""
    close: list[str]
    """Keys that look like what was asked for, if nothing was found."""


class Standing(NamedTuple):
    """What stood of an entity at a time, as it was known at a time."""

    key: str
    status: str
    standing: list[Record]
    """Newest known revision of each standing milestone, in order of when it occurred."""


_OF_RETRACTIONS: Final = {
    Disposition.APPROVED.value: "It took back what its author or its owner had said",
    Disposition.STALE.value: "It took back what did not stand: nothing else changed",
}
"""What `retracted_by_author` says of the record that took something back, by its fate."""


def meaning(reason: str, fate: str = "") -> str:
    """What a reason says to a person; one of a newer Milepost says its name.

    Args:
        reason: why.
        fate: of the record; empty: what the reason says of any.

    """
    if reason == Reason.RETRACTED_BY_AUTHOR and fate in _OF_RETRACTIONS:
        return _OF_RETRACTIONS[fate]
    try:
        return MEANINGS[Reason(reason)].text
    except ValueError:
        return reason


def key_of(record: Record) -> str:
    """Key of the entity that an approved record is about."""
    return entity_key(record["tenant"], record["entity_type"], record["entity_id"])


def entries(
    evidence: Evidence,
    wanted: Callable[[Entry], bool],
    *,
    holding: Collection[bytes] = (),
    start: Mapping[int, int] | None = None,
    partitions: Iterable[int] | None = None,
) -> list[Entry]:
    """Ledger entries that are wanted, in order of time.

    Args:
        evidence: the topics.
        wanted: asked for each entry as it was decided.
        holding: a block that has a wanted entry or a transition of one holds one of these bytes, in
            lower case: others are passed over undecoded. Empty: every block is looked into.
        start: first offset of the ledger by partition; default: all of it.
        partitions: only these; default: all.

    Raises:
        UnreachableError: Kafka or the registry is away.

    """
    found: dict[tuple[int, int], Entry] = {}
    for record in _blocks(evidence, start, partitions):
        if holding:
            value = (record.value or b"").lower()
            if not any(part in value for part in holding):
                continue
        block = evidence.decode(record.value, "decision-block")
        for entry in _explode(record, block):
            if wanted(entry):
                found[entry.partition, entry.seq] = entry
        for row in block["transitions"]:
            entry_then = found.get((record.partition, row["seq"]))
            if entry_then is not None:
                entry_then.transitions.append({**row, "published": record.timestamp_ms})
    return sorted(found.values(), key=lambda entry: (entry.published_ms, *entry[:2]))


def _blocks(
    evidence: Evidence,
    start: Mapping[int, int] | None = None,
    partitions: Iterable[int] | None = None,
) -> Iterator[Stored]:
    """The ledger's records."""
    numbers = evidence.partitions(names.DECISIONS) if partitions is None else partitions
    for number in numbers:
        span = evidence.span(names.DECISIONS, number)
        first = max(span.start, (start or {}).get(number, 0))
        yield from evidence.records(names.DECISIONS, number, Span(first, span.end))


def _explode(record: Stored, block: Record) -> Iterator[Entry]:
    for place, row in enumerate(block["decisions"]):
        topic = block["inputs"][row["input"]]["topic"]
        verdict = {name: value for name, value in row.items() if name not in {"input", "offset"}}
        yield Entry(
            record.partition,
            block["first_seq"] + place,
            topic,
            row["offset"],
            record.timestamp_ms,
            block["policy_version"],
            verdict,
            [],
        )


def story(evidence: Evidence, declared: Declared, name: str) -> Story:
    """Everything about an entity or an event.

    Args:
        evidence: the topics.
        declared: topics.yaml, which says what the inputs are.
        name: an entity's key (`acme/shipment/S1`), its bare id, or a source event id.

    Raises:
        UnreachableError: Kafka or the registry is away.

    """
    asked = _Asked(name)
    refused = _refused(evidence, asked)

    def wanted(entry: Entry) -> bool:
        return asked.meets(entry.verdict) or entry.place in refused

    # A record that was refused early names no entity in its row
    holding = [asked.filter] if asked.filter else []
    if holding and refused:
        holding.append(_DEAD)
    found = entries(evidence, wanted, holding=holding)
    keys = {entry.verdict["entity"] for entry in found} - {""}
    undecided, backlog, read_ms = _tail(evidence, declared, asked)
    return Story(
        found,
        _approved(evidence, keys, found),
        undecided,
        backlog,
        read_ms,
        [] if found or undecided else _close(evidence, name),
    )


class _Asked:
    """A name, and what answers to it."""

    def __init__(self, name: str) -> None:
        self._name = name
        self._folded = name.casefold()
        escaped = name.replace("%", "%25").replace("/", "%2F").casefold()
        self._tail = f"/{escaped}"
        # A bare id with a slash is escaped in keys, and as it is in event ids
        plain = name.isascii() and (escaped == self._folded or name.count("/") == 2)
        self.filter = name.lower().encode() if plain else b""

    def is_key(self, key: str) -> bool:
        """Whether a record's key is the entity's."""
        folded = key.casefold()
        return folded == self._folded or folded.endswith(self._tail)

    def meets(self, row: Record) -> bool:
        """Whether a verdict is about it."""
        return self.is_key(row["entity"]) or bool(row["claim"] == self._name)

    def in_record(self, record: Stored) -> bool:
        """Whether an undecided record looks like it is about it."""
        key = (record.key or b"").decode("utf-8", "replace")
        return self.is_key(key) or self._name.encode() in (record.value or b"")


def _refused(evidence: Evidence, asked: _Asked) -> frozenset[Position]:
    """Origins of dead letters under the entity's key: some were refused before it was known."""
    found = set()
    for number in evidence.partitions(names.DEAD_LETTER):
        span = evidence.span(names.DEAD_LETTER, number)
        for record in evidence.records(names.DEAD_LETTER, number, span):
            if not asked.is_key((record.key or b"").decode("utf-8", "replace")):
                continue
            told = dict(record.headers)
            place = [told.get(f"__connect.errors.{name}") for name in ("partition", "offset")]
            topic = (told.get("__connect.errors.topic") or b"").decode()
            if None not in place:
                found.add(Position(topic, *(int(part or b"0") for part in place)))
    return frozenset(found)


def _approved(evidence: Evidence, keys: set[str], found: list[Entry]) -> list[Record]:
    """Approved records of entities, with the time of the block that published each."""
    published = {
        (row["milestone_id"], row["revision"]): row["published"]
        for entry in found
        for row in [{**entry.verdict, "published": entry.published_ms}, *entry.transitions]
        if row["revision"]
    }
    records = []
    for number in evidence.partitions(names.APPROVED) if keys else []:
        span = evidence.span(names.APPROVED, number)
        for record in evidence.records(names.APPROVED, number, span):
            if (record.key or b"").decode("utf-8", "replace") in keys:
                body = evidence.decode(record.value, "approved-milestone")
                name = body["milestone_id"], body["revision"]
                records.append({**body, "published": published.get(name, record.timestamp_ms)})
    return records


def _tail(
    evidence: Evidence, declared: Declared, asked: _Asked
) -> tuple[list[Undecided], int, int]:
    """Undecided records that may be meant, how many there are at all, and how far all was read."""
    positions: dict[tuple[str, int], int] = {}
    read_ms = 0
    for number in evidence.partitions(names.CHANGELOG):
        own = _own_state(evidence, number)
        if own is not None:
            read_ms = max(read_ms, own.timestamp_ms)
            for topic, position in json.loads(own.value or b"{}")["positions"].items():
                positions[topic, number] = position
    backlog, found = 0, []
    for topic in (item.name for item in declared.inputs if item.name != names.CONTROL):
        for number in evidence.partitions(topic):
            span = evidence.span(topic, number)
            behind = Span(max(span.start, positions.get((topic, number), 0)), span.end)
            if behind.end - behind.start > BACKLOG_MAX:
                backlog += behind.end - behind.start
                continue
            for record in evidence.records(topic, number, behind):
                backlog += 1
                if asked.in_record(record):
                    place = Position(topic, number, record.offset)
                    found.append(Undecided(place, record.timestamp_ms))
    return found, backlog, read_ms


def _own_state(evidence: Evidence, number: int) -> Stored | None:
    """The newest record of a partition's own state, found from the changelog's end backwards."""
    span = evidence.span(names.CHANGELOG, number)
    end, step = span.end, 64
    while end > span.start:
        first = max(span.start, end - step)
        found = [
            record
            for record in evidence.records(names.CHANGELOG, number, Span(first, end))
            if record.key == _OWN_KEY
        ]
        if found:
            return found[-1]
        end, step = first, step * 8
    return None


def _close(evidence: Evidence, name: str) -> list[str]:
    """Entities whose names look like this one."""
    known: dict[str, str] = {}
    for number in evidence.partitions(names.ENTITY_STATUS):
        span = evidence.span(names.ENTITY_STATUS, number)
        for record in evidence.records(names.ENTITY_STATUS, number, span):
            key = (record.key or b"").decode("utf-8", "replace")
            known[(key if "/" in name else key.rpartition("/")[2]).upper()] = key
    return [known[text] for text in difflib.get_close_matches(name.upper(), known, CLOSE_MAX)]


def state_at(story: Story, *, as_of: int, known_at: int) -> list[Standing]:
    """What stood, entity by entity; none of which nothing stood.

    Args:
        story: of one or more entities.
        as_of: only what had occurred by then, ms UTC.
        known_at: only what was published by then, ms UTC.

    """
    newest: dict[str, dict[str, Record]] = {}
    status: dict[str, str] = {}
    for record in story.approved:
        if record["published"] <= known_at:
            key = key_of(record)
            newest.setdefault(key, {})[record["milestone_id"]] = record
            status[key] = record["status_after"]
    found = []
    for key, milestones in newest.items():
        standing = [
            record
            for record in milestones.values()
            if record["action"] != Action.RETRACT and record["occurred"] <= as_of
        ]
        if standing:
            standing.sort(key=lambda record: (record["occurred"], record["entity_seq"]))
            found.append(Standing(key, status[key], standing))
    return found


def claims(evidence: Evidence, platform: str, since_ms: int) -> list[Entry]:
    """A platform's own claims received since a time, and what became of them.

    A stray has two rows, of which the one where it belongs is given.

    Raises:
        UnreachableError: Kafka or the registry is away.

    """
    start = {
        number: evidence.since(names.DECISIONS, number, since_ms)
        for number in evidence.partitions(names.DECISIONS)
    }
    found = entries(
        evidence,
        lambda entry: bool(
            entry.verdict["platform"] == platform and entry.verdict["received"] >= since_ms
        ),
        start=start,
    )
    arrived = {entry.verdict["digest"] for entry in found if entry.fate != REROUTED}
    return [
        entry for entry in found if entry.fate != REROUTED or entry.verdict["digest"] not in arrived
    ]


def decided(
    evidence: Evidence, sent: Iterable[Position], start: Mapping[int, int]
) -> dict[Position, Entry]:
    """Ledger entries of raw records, as far as they are decided.

    Args:
        evidence: the topics.
        sent: where the records were written.
        start: ends of the ledger's partitions before they were.

    Raises:
        UnreachableError: Kafka or the registry is away.

    """
    places = set(sent)
    numbers = sorted({place.partition for place in places})
    found = entries(evidence, lambda entry: entry.place in places, start=start, partitions=numbers)
    return {entry.place: entry for entry in found}
