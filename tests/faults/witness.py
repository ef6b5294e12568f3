"""A reader of committed records who is there all the time, and believes nobody.

It reads ledger, approved records and dead letters as they come, during the faults, and notes what
should not be: an offset twice, a verdict twice, a milestone's revision twice, a gap in an entity's
order, a hole in a ledger. What it has read is held against what a later reader finds.
"""

from __future__ import annotations

import hashlib
import threading
import time
from collections import defaultdict

from bookings import Bookings
from confluent_kafka import KafkaError, TopicPartition

from connectors.sinks.postings import load_postings
from pipeline.contract import codec, names
from pipeline.kafka import clients

PARTITIONS = 4
ANOMALIES_MAX = 50
Place = tuple[str, int]


class Transcript:
    """What one reader has read: enough to compare it with another's, and to find what is wrong."""

    TOPICS = (names.DECISIONS, names.APPROVED, names.DEAD_LETTER)

    def __init__(self) -> None:
        self.anomalies: list[str] = []
        self.verdicts: dict[Place, dict[int, tuple[str, str]]] = defaultdict(dict)
        """By input topic and partition: offset → disposition and reason."""
        self.decided = 0
        self.revisions: dict[tuple[str, int], str] = {}
        """Every approved (milestone, revision), with its entity."""
        self.standing: dict[str, tuple] = {}
        """By milestone: entity, and what its newest revision tells."""
        self.letters = 0
        self.gaps: set[tuple[str, int, int, int, str]] = set()
        """Of what was never read: topic, partition, first offset, the one behind, and why."""
        self.next: dict[Place, int] = defaultdict(int)
        """By topic and partition: the offset to come."""
        self._digests = defaultdict(lambda: hashlib.blake2b(digest_size=16))
        self._entity_seq: dict[tuple, int] = defaultdict(int)
        self._blocks: dict[int, int] = defaultdict(int)

    def complain(self, text: str) -> None:
        if len(self.anomalies) < ANOMALIES_MAX:
            self.anomalies.append(text)

    def digests(self) -> dict[Place, str]:
        """By topic and partition: a digest of all records in the order they were read."""
        return {place: digest.hexdigest() for place, digest in self._digests.items()}

    def take(self, topic: str, number: int, offset: int, key: bytes, value: bytes | None) -> None:
        """Take in a committed record."""
        due = self.next[topic, number]
        if offset < due:
            self.complain(f"{topic}[{number}]: offset {offset} came where at least {due} was due")
        self.next[topic, number] = offset + 1
        body = value or b""
        self._digests[topic, number].update(b"%d %d %b" % (offset, len(body), key + body))
        if topic == names.DEAD_LETTER:
            self.letters += 1
        elif topic == names.APPROVED:
            self._approved(codec.decode(body, codec.committed("approved-milestone")))
        else:
            self._block(codec.decode(body, codec.committed("decision-block")))

    def _block(self, block: dict) -> None:
        number = block["partition"]
        if block["block"] != self._blocks[number]:
            self.complain(
                f"ledger {number}: block {block['block']} came where {self._blocks[number]} was due"
            )
        self._blocks[number] = block["block"] + 1
        self.gaps.update(
            (covered["topic"], number, gap["first"], gap["next"], gap["cause"])
            for covered in block["inputs"]
            for gap in covered["gaps"]
            if gap["cause"] != "MARKER"
        )
        for row in block["decisions"]:
            topic, offset = block["inputs"][row["input"]]["topic"], row["offset"]
            verdicts = self.verdicts[topic, number]
            if offset in verdicts:
                self.complain(f"{topic}[{number}]@{offset} was decided about twice")
            verdicts[offset] = (row["disposition"], row["reason"])
            self.decided += 1

    def _approved(self, record: dict) -> None:
        entity = (record["tenant"], record["entity_type"], record["entity_id"])
        name = record["milestone_id"], record["revision"]
        if name in self.revisions:
            self.complain(f"{entity}: {name} was published twice")
        self.revisions[name] = "/".join(entity)
        due = self._entity_seq[entity] + 1
        if record["entity_seq"] != due:
            self.complain(f"{entity}: entity_seq {record['entity_seq']} came where {due} was due")
        self._entity_seq[entity] = record["entity_seq"]
        self.standing[record["milestone_id"]] = (entity, told(record))


def told(record: dict) -> tuple:
    """What an approved record says that may not depend on when a worker was killed."""
    return tuple(
        record[name]
        for name in ("event_type", "action", "assurance", "occurred", "platform", "source_event_id")
    )


class Witness(Transcript, threading.Thread):
    """Reads along in a thread of its own."""

    def __init__(self, settings, bootstrap: str) -> None:
        Transcript.__init__(self)
        self.bookings = Bookings(load_postings(names.data_root() / "policy"))
        """What the ERP has to have booked of what was approved by now."""
        threading.Thread.__init__(self, name="witness", daemon=True)
        self.changed = threading.Condition()
        self._seen_at: dict[int, float] = {}
        self._longest = 0.0
        self._halt = threading.Event()
        self._consumer = clients.consumer(
            settings,
            bootstrap,
            "witness",
            "error",
            **{"fetch.wait.max.ms": 20, "reconnect.backoff.max.ms": 500},
        )
        self._consumer.assign(
            [TopicPartition(topic, n, 0) for topic in self.TOPICS for n in range(PARTITIONS)]
        )
        self.start()

    def run(self) -> None:
        try:
            while not self._halt.is_set():
                messages = self._consumer.consume(1, 0.1)
                messages += self._consumer.consume(5_000, 0)
                with self.changed:
                    for message in messages:
                        self._hear(message)
                    self._measure()
                    self.changed.notify_all()
        except Exception as error:  # noqa: BLE001  a witness who has gone must not pass for content
            self.complain(f"the witness can't read on: {error!r}")

    def close(self) -> None:
        self._halt.set()
        self.join(30)
        self._consumer.close()

    def until(self, condition, seconds: float, what: str):
        """Wait for a condition on what was read; its value."""
        end = time.monotonic() + seconds
        with self.changed:
            while not (value := condition()):
                if time.monotonic() > end:
                    raise AssertionError(f"{what} did not come true in {seconds} s")
                self.changed.wait(1)
            return value

    def decided_up_to(self, acked: dict[Place, list[int]]) -> bool:
        """Whether everything that was acknowledged is decided about; asked within `until`."""
        return all(
            offsets[-1] in self.verdicts[place] for place, offsets in list(acked.items()) if offsets
        )

    def pause_s(self) -> float:
        """The longest time since it was last asked in which a partition's ledger stood still."""
        with self.changed:
            found, self._longest = self._longest, 0.0
            return found

    def _approved(self, record: dict) -> None:
        super()._approved(record)
        self.bookings.take(record)

    def _hear(self, message) -> None:
        error = message.error()
        if error is None:
            topic, number = message.topic(), message.partition()
            self.take(topic, number, message.offset(), message.key() or b"", message.value())
            if topic == names.DECISIONS:
                self._seen_at[number] = time.monotonic()
        elif error.code() == KafkaError._AUTO_OFFSET_RESET or error.fatal():
            self.complain(f"{message.topic()}[{message.partition()}]: {error}")

    def _measure(self) -> None:
        now = time.monotonic()
        pauses = (now - at for at in self._seen_at.values())
        self._longest = max(self._longest, *pauses, 0.0) if self._seen_at else 0.0
