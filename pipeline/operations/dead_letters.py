"""Dead letters: what is there and why, what became of it since, and sending records through again.

A replay goes through the replay topic with the record's original place and time, so it is judged as
if it had come when it came; a second replay of one record is a duplicate to the kernel. Must never
change a dead letter.
"""

from __future__ import annotations

import uuid
from collections import Counter
from collections.abc import Iterable, Iterator, Mapping
from enum import StrEnum
from typing import Any, NamedTuple

from pipeline.contract import codec, headers, names
from pipeline.governance.claims import Origin, Raw
from pipeline.governance.vocabulary import Disposition
from pipeline.kafka import clients
from pipeline.kafka.clients import Position
from pipeline.kafka.reading import Stored
from pipeline.operations import trail
from pipeline.operations.proof.evidence import Evidence
from pipeline.settings import Settings

Record = dict[str, Any]
_BATCH = 500
_COUNT_DIGITS = 10


class State(StrEnum):
    """Where a dead letter's record stands now."""

    OPEN = "open"
    """Nobody has sent it through again."""
    SENT = "sent"
    """Sent through again and not decided yet, or waiting again."""
    REPAIRED = "repaired"
    """Sent through again and governed."""
    FAILED = "failed again"
    """Sent through again, and in the dead letter once more: the newer letter counts."""


class Since(NamedTuple):
    """What became of a dead letter's record since."""

    state: State
    fate: str = ""
    reason: str = ""


OPEN = Since(State.OPEN)


class Letter(NamedTuple):
    """One dead letter; times ms UTC."""

    partition: int
    offset: int
    dead_ms: int
    reason: str
    failure: str
    stage: str
    detail: str
    fingerprint: str
    retryable: bool
    policy: str
    origin: Origin
    key: bytes | None
    value: bytes | None
    headers: list[tuple[str, bytes | None]]
    since: Since = OPEN

    @property
    def name(self) -> str:
        """How commands name it: partition:offset."""
        return f"{self.partition}:{self.offset}"

    @property
    def place(self) -> Position:
        """Where its record first came in."""
        return Position(self.origin.topic, self.origin.partition, self.origin.offset)

    @property
    def event(self) -> Record | None:
        """The raw event, if its bytes can be read by the committed schema."""
        try:
            codec.schema_id(self.value)
            return codec.decode(self.value or b"", codec.committed("raw-event"))
        except codec.UndecodableError:
            return None

    @property
    def platform(self) -> str:
        """Who sent it; if its bytes don't tell, whose topic it came in on."""
        event = self.event
        if event is not None:
            return str(event["platform"])
        return self.origin.topic.removeprefix(names.RAW_PREFIX).partition(".")[0]

    @property
    def omitted(self) -> str:
        """What the letter had to leave out for its size; empty for nearly all."""
        return self._text(headers.OMITTED)

    @property
    def replays(self) -> int:
        """How often it had been sent through again when it came here."""
        return _count(self.headers) or 0

    def _text(self, header: str) -> str:
        return (dict(self.headers).get(header) or b"").decode("utf-8", "replace")

    def document(self) -> Record:
        """As one JSON value; bytes as hex."""
        return {
            "id": self.name,
            "reason": self.reason,
            "meaning": trail.meaning(self.reason),
            "class": self.failure,
            "stage": self.stage,
            "detail": self.detail,
            "fingerprint": self.fingerprint,
            "retryable": self.retryable,
            "policy": self.policy,
            "origin": self.origin._asdict(),
            "dead": self.dead_ms,
            "since": self.since._asdict(),
            "replays": self.replays,
            "replay": {
                "id": self._text(names.HEADER_REPLAY_ID),
                "by": self._text(names.HEADER_REPLAY_BY),
                "why": self._text(names.HEADER_REPLAY_WHY),
            }
            if self.replays
            else None,
            "key": None if self.key is None else self.key.decode("utf-8", "replace"),
            "platform": self.platform,
            "omitted": self.omitted,
            "event": self.event,
            "value_hex": None if self.value is None else self.value.hex(),
            "headers": {
                name: (value or b"").decode("utf-8", "backslashreplace")
                for name, value in self.headers
            },
        }


class Filter(NamedTuple):
    """Which dead letters; empty fields match everything. `since_ms` is the original time."""

    reason: str = ""
    platform: str = ""
    key: str = ""
    fingerprint: str = ""
    since_ms: int = 0
    until_ms: int = 1 << 62
    retryable: bool = False
    open: bool = False
    """Only those that nobody has sent through again, the newest letter of each record."""
    ids: frozenset[str] = frozenset()

    def takes(self, letter: Letter) -> bool:
        """Whether a dead letter is meant."""
        key = "" if letter.key is None else letter.key.decode("utf-8", "replace")
        return (
            (not self.reason or letter.reason == self.reason)
            and (not self.key or self.key in key)
            and (not self.fingerprint or letter.fingerprint == self.fingerprint)
            and self.since_ms <= letter.origin.received < self.until_ms
            and (letter.retryable or not self.retryable)
            and (letter.since.state is State.OPEN or not self.open)
            and (not self.ids or letter.name in self.ids)
            and (not self.platform or letter.platform == self.platform)
        )


def read(evidence: Evidence, wanted: Filter) -> Iterator[Letter]:
    """Dead letters that the filter takes, by partition in order, with what became of them since.

    Raises:
        UnreachableError: Kafka or the registry is away.

    """
    fates = _replayed(evidence)
    newest: dict[Position, str] = {}
    letters = [letter for record in _records(evidence) if (letter := _letter(record)) is not None]
    for letter in letters:
        newest[letter.place] = letter.name
    for letter in letters:
        superseded = newest[letter.place] != letter.name
        if superseded:
            since = Since(State.FAILED)
        else:
            since = fates.get((letter.place, letter.replays), OPEN)
        known = letter._replace(since=since)
        if wanted.takes(known):
            yield known


def _records(evidence: Evidence) -> Iterator[Stored]:
    for number in evidence.partitions(names.DEAD_LETTER):
        span = evidence.span(names.DEAD_LETTER, number)
        yield from evidence.records(names.DEAD_LETTER, number, span)


def _replayed(evidence: Evidence) -> Mapping[tuple[Position, int], Since]:
    """What became of the replays of a letter: by its origin, and its own count of replays."""
    sent: dict[Position, tuple[Position, int]] = {}
    first_ms = 1 << 62
    for number in evidence.partitions(names.REPLAY):
        span = evidence.span(names.REPLAY, number)
        for record in evidence.records(names.REPLAY, number, span):
            try:
                found = headers.origin_of(record.headers)
            except ValueError:
                continue
            count = _count(record.headers)
            if found is not None and count is not None:
                origin = Position(*found[0][:3])
                place = Position(names.REPLAY, number, record.offset)
                sent[place] = origin, count - 1
                first_ms = min(first_ms, record.timestamp_ms)
    if not sent:
        return {}
    since = {name: Since(State.SENT) for name in sent.values()}
    start = {
        number: evidence.since(names.DECISIONS, number, first_ms)
        for number in evidence.partitions(names.DECISIONS)
    }
    for entry in trail.entries(evidence, lambda entry: entry.place in sent, start=start):
        name = sent[entry.place]
        since[name] = _since(since[name], entry)
    return since


def _count(given: headers.Given) -> int | None:
    """Which replay of its record this is; None: it doesn't say, or nothing that can be meant."""
    count = dict(given).get(names.HEADER_REPLAY_COUNT) or b""
    return int(count) if count.isdigit() and len(count) < _COUNT_DIGITS else None


def _since(before: Since, entry: trail.Entry) -> Since:
    """The better of two replays counts: the second one of a record is its duplicate."""
    if before.state is State.REPAIRED:
        return before
    fate = entry.fate
    if fate in {Disposition.HELD, trail.REROUTED}:
        return Since(State.SENT, fate, entry.reason)
    if fate == Disposition.DEAD_LETTERED:
        return Since(State.FAILED, fate, entry.reason)
    return Since(State.REPAIRED, fate, entry.reason)


def _letter(record: Stored) -> Letter | None:
    """A dead letter, or None for a record that doesn't say where it came from."""
    found = dict(record.headers)

    def text(name: str) -> str:
        return (found.get(names.DEAD_LETTER_PREFIX + name) or b"").decode("utf-8", "replace")

    try:
        origin = headers.read_origin(found.get(f"{names.DEAD_LETTER_PREFIX}origin") or b"")
    except ValueError:
        return None
    return Letter(
        record.partition,
        record.offset,
        record.timestamp_ms,
        text("reason"),
        text("class"),
        text("stage"),
        text("detail"),
        text("fingerprint"),
        text("retryable") == "true",
        text("policy"),
        origin,
        record.key,
        record.value,
        record.headers,
    )


class Replay(NamedTuple):
    """What was, or would be, sent through again."""

    id: str
    sent: int
    by_reason: dict[str, int]
    left_out: int
    """Letters without their bytes: they can't be sent."""


def replay(
    settings: Settings,
    bootstrap: str,
    letters: Iterable[Letter],
    *,
    by: str,
    why: str,
    dry_run: bool,
) -> Replay:
    """Send dead letters through the replay topic, bytes and original times unchanged.

    Args:
        settings: security settings pass through.
        bootstrap: bootstrap servers.
        letters: which ones; of several letters of one record the last is sent.
        by: who does it.
        why: for the record.
        dry_run: only count.

    Raises:
        DeliveryError: Kafka did not acknowledge; do it again, repeats are recognised.

    """
    identity = str(uuid.uuid4())
    newest = {letter.place: letter for letter in letters}
    going = [letter for letter in newest.values() if not letter.omitted]
    if not dry_run:
        producer = clients.producer(settings, bootstrap)
        for start in range(0, len(going), _BATCH):
            batch = going[start : start + _BATCH]
            clients.deliver(producer, [outgoing(letter, identity, by, why) for letter in batch])
    reasons = Counter(letter.reason for letter in going)
    return Replay(identity, len(going), dict(reasons), len(newest) - len(going))


def outgoing(letter: Letter, identity: str, by: str, why: str) -> clients.Outgoing:
    """What a replay sends: the record's own bytes, its origin, and who sends it again and why."""
    kept = tuple(
        (name, value)
        for name, value in letter.headers
        if not name.startswith((*headers.FAMILIES, names.REPLAY_PREFIX))
    )
    first = Raw(letter.key, letter.value, kept)
    stamped = headers.forwarded(first, letter.key, letter.origin, 0)
    stamped += [
        (names.HEADER_REPLAY_ID, identity.encode()),
        (names.HEADER_REPLAY_BY, by.encode()),
        (names.HEADER_REPLAY_WHY, why.encode()),
        (names.HEADER_REPLAY_COUNT, str(letter.replays + 1).encode()),
    ]
    return clients.Outgoing(
        names.REPLAY, letter.value, letter.key, tuple(stamped), letter.partition
    )
