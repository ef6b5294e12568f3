"""Dead letters: what is there and why, and sending records through again.

A replay goes through the replay topic with the record's original place and time, so it is judged as
if it had come when it came; a second replay of one record is a duplicate to the kernel.
Must never change a record that is replayed unedited.
"""

from __future__ import annotations

import json
import uuid
from collections import Counter
from collections.abc import Iterable, Iterator
from typing import Any, NamedTuple

from pipeline.contract import codec, headers, names
from pipeline.governance.claims import Origin
from pipeline.kafka import clients
from pipeline.kafka.reading import Stored, read_to_end
from pipeline.settings import Settings

Record = dict[str, Any]
_BATCH = 500


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

    @property
    def name(self) -> str:
        """How commands name it: partition:offset."""
        return f"{self.partition}:{self.offset}"

    def event(self) -> Record | None:
        """The raw event, if its bytes can be read by the committed schema."""
        try:
            codec.schema_id(self.value)
            return codec.decode(self.value or b"", codec.committed("raw-event"))
        except codec.UndecodableError:
            return None

    @property
    def platform(self) -> str:
        """Who sent it, as far as that can be told."""
        event = self.event()
        return "" if event is None else str(event["platform"])

    def document(self) -> Record:
        """As one JSON value; bytes as hex."""
        return {
            "id": self.name,
            "reason": self.reason,
            "class": self.failure,
            "stage": self.stage,
            "detail": self.detail,
            "fingerprint": self.fingerprint,
            "retryable": self.retryable,
            "policy": self.policy,
            "origin": self.origin._asdict(),
            "dead": self.dead_ms,
            "key": None if self.key is None else self.key.decode("utf-8", "replace"),
            "platform": self.platform,
            "event": self.event(),
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
            and (not self.ids or letter.name in self.ids)
            and (not self.platform or letter.platform == self.platform)
        )


def read(settings: Settings, bootstrap: str, wanted: Filter) -> Iterator[Letter]:
    """Dead letters that a filter takes, in order of partition and offset.

    Raises:
        UnreachableError: Kafka is away.

    """
    for record in read_to_end(settings, bootstrap, names.DEAD_LETTER):
        letter = _letter(record)
        if letter is not None and wanted.takes(letter):
            yield letter


def _letter(record: Stored) -> Letter | None:
    """A dead letter of ours; None: somebody else wrote to the topic."""
    found = dict(record.headers)

    def text(name: str) -> str:
        return (found.get(names.DEAD_LETTER_PREFIX + name) or b"").decode("utf-8", "replace")

    try:
        origin = Origin(**json.loads(text("origin")))
    except (TypeError, ValueError):
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
        letters: which ones.
        by: who does it.
        why: for the record.
        dry_run: only count.

    Raises:
        DeliveryError: Kafka did not acknowledge; do it again, repeats are recognised.

    """
    identity = str(uuid.uuid4())
    reasons: Counter[str] = Counter()
    batch: list[clients.Outgoing] = []
    producer = None if dry_run else clients.producer(settings, bootstrap)

    def flush() -> None:
        if producer is not None and batch:
            clients.deliver(producer, batch)
        batch.clear()

    for letter in letters:
        reasons[letter.reason] += 1
        batch.append(_outgoing(letter, identity, by, why))
        if len(batch) >= _BATCH:
            flush()
    flush()
    return Replay(identity, reasons.total(), dict(reasons))


def _outgoing(letter: Letter, identity: str, by: str, why: str) -> clients.Outgoing:
    found = dict(letter.headers)
    count = int(found.get(names.HEADER_REPLAY_COUNT) or b"0") + 1
    ours = (names.DEAD_LETTER_PREFIX, "__connect.errors.", "kafka_dlt-", "__streams.errors.")
    kept = [
        (name, value)
        for name, value in letter.headers
        if not name.startswith(ours) and not name.startswith("milepost.replay.")
    ]
    stamped = headers.forwarded(kept, letter.origin, 0)
    stamped += [
        (names.HEADER_REPLAY_ID, identity.encode()),
        (names.HEADER_REPLAY_BY, by.encode()),
        (names.HEADER_REPLAY_WHY, why.encode()),
        (names.HEADER_REPLAY_COUNT, str(count).encode()),
    ]
    return clients.Outgoing(
        names.REPLAY, letter.value, letter.key, tuple(stamped), letter.origin.partition
    )
