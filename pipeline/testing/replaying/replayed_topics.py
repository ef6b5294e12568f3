"""What a replay writes to other topics than the ledger, held against what is there.

Links and re-keyed records go to other partitions and are compared when all were replayed. What
decides about a dead letter's wording (versions, the registry, the group's name) is left out. Must
never decide about a record.
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterable
from pathlib import Path
from typing import Final

from pipeline.contract import names
from pipeline.kafka.reading import Span
from pipeline.operations.proof.evidence import Evidence
from pipeline.operations.proof.ledger import Told
from pipeline.operations.proof.report import Beyond, Report
from pipeline.operations.proof.spill import Buckets, Column

RULE: Final = "derived"
OWN: Final = (names.DEAD_LETTER, names.ALERTS)
ACROSS: Final = (names.LINKS, names.REKEYED)
_ENCODED: Final = frozenset({names.ALERTS, names.LINKS, names.ENTITY_STATUS})
_SCHEMA_BYTES: Final = 5
_WORDED: Final = frozenset(
    {
        f"{names.DEAD_LETTER_PREFIX}detail",
        f"{names.DEAD_LETTER_PREFIX}fingerprint",
        "__connect.errors.connector.name",
        "__connect.errors.exception.message",
        "kafka_dlt-original-consumer-group",
        "kafka_dlt-exception-message",
        "__streams.errors.message",
    }
)
"""Headers of a dead letter that are no function of ledger and inputs."""
Headers = Iterable[tuple[str, bytes | None]]


def digest(topic: str, key: bytes | None, value: bytes | None, headers: Headers) -> bytes:
    """What a record says, in 16 bytes; which number its schema has is left out."""
    said = (value or b"")[_SCHEMA_BYTES:] if topic in _ENCODED else value
    kept: list[tuple[str, bytes | None]] = []
    if topic not in _ENCODED:
        kept = [item for item in headers if item[0] not in _WORDED]
    return hashlib.blake2b(repr((topic, key, said, kept)).encode(), digest_size=16).digest()


class OwnTopics:
    """Dead letters, alerts and stories of one partition.

    Args:
        evidence: the topics.
        partition: its number.
        folder: for what doesn't stay in memory.

    """

    def __init__(self, evidence: Evidence, partition: int, folder: Path | None) -> None:
        self._partition = partition
        self._spans: dict[str, Span] = {}
        self._there = {topic: Column("<q16s", folder) for topic in OWN}
        self._due = {topic: Column("<16sB", folder) for topic in OWN}
        self._stories = Buckets("B16sq", folder)
        for topic in OWN:
            span = self._spans[topic] = evidence.span(topic, partition)
            for record in evidence.records(topic, partition, span):
                told = digest(topic, record.key, record.value, record.headers)
                self._there[topic].append(record.offset, told)
        span = evidence.span(names.ENTITY_STATUS, partition)
        for record in evidence.records(names.ENTITY_STATUS, partition, span):
            told = digest(names.ENTITY_STATUS, record.key, record.value, ())
            self._stories.add(_named(record.key), Told.THERE, told, record.offset)

    def wrote(
        self, topic: str, key: bytes | None, value: bytes | None, headers: Headers, told: Told
    ) -> None:
        """Note what the replay wrote."""
        said = digest(topic, key, value, headers)
        if topic == names.ENTITY_STATUS:
            self._stories.add(_named(key), told, said, -1)
        else:
            self._due[topic].append(said, told)

    def conclude(self, report: Report) -> None:
        """Compare; the first record of each topic that differs is told."""
        for topic in OWN:
            self._compare(topic, report)
        for _, entries in self._stories.groups():
            there = [entry for entry in entries if entry[0] == Told.THERE]
            due = [said for by, said, _ in entries if by == Told.DUE]
            later = [said for by, said, _ in entries if by == Told.LATER]
            if there and there[-1][1] not in [*due[-1:], *later]:
                detail = "this story is not the one that the replay gives"
                offset = there[-1][2]
                report.flag(RULE, names.ENTITY_STATUS, self._partition, offset, detail)

    def _compare(self, topic: str, report: Report) -> None:
        there, due = self._there[topic], self._due[topic]
        at = self._first(topic)
        if at:
            report.beyond.append(Beyond(topic, self._partition, at))
        for offset, said in there:
            if at >= len(due) or due[at][0] != said:
                detail = "this record is not the one that the replay gives"
                report.flag(RULE, topic, self._partition, offset, detail)
                return
            at += 1
        if at < len(due) and due[at][1] == Told.DUE:
            newest = there[len(there) - 1][0] if len(there) else -1
            detail = "behind this one the replay gives another record"
            report.flag(RULE, topic, self._partition, newest, detail)

    def _first(self, topic: str) -> int:
        """How many of the replay's records retention has taken."""
        there, due = self._there[topic], self._due[topic]
        if self._spans[topic].start == 0:
            return 0
        if not len(there):
            return sum(told == Told.DUE for _, told in due)
        oldest = there[0][1]
        return next((at for at, (said, _) in enumerate(due) if said == oldest), 0)


class TopicsAcross:
    """Links and re-keyed records of all partitions.

    Args:
        evidence: the topics.
        folder: for what doesn't stay in memory.

    """

    def __init__(self, evidence: Evidence, folder: Path | None) -> None:
        self._records = Buckets("BBIq", folder)
        self._taken: set[str] = set()
        for number, topic in enumerate(ACROSS):
            for partition in evidence.partitions(topic):
                span = evidence.span(topic, partition)
                if span.start > 0:
                    self._taken.add(topic)
                for record in evidence.records(topic, partition, span):
                    said = self._said(topic, partition, record.key, record.value, record.headers)
                    self._records.add(said, Told.THERE, number, partition, record.offset)

    def wrote(
        self,
        topic: str,
        target: tuple[int, bytes | None],
        value: bytes | None,
        headers: Headers,
        cause: tuple[Told, int, int],
    ) -> None:
        """Note what the replay wrote.

        Args:
            topic: where to.
            target: partition and key.
            value: what.
            headers: the record's.
            cause: by whom the ledger tells it, the partition and offset of its block.

        """
        said = self._said(topic, *target, value, headers)
        told, partition, offset = cause
        self._records.add(said, told, ACROSS.index(topic), partition, offset)

    def conclude(self, report: Report, *, everything: bool) -> None:
        """Compare.

        Args:
            report: told what doesn't hold.
            everything: whether every partition was replayed to its end: else who wrote a record is
                not known of all.

        """
        beyond = dict.fromkeys(ACROSS, 0)
        for _, entries in self._records.groups():
            topic = ACROSS[entries[0][1]]
            there = [entry for entry in entries if entry[0] == Told.THERE]
            due = [entry for entry in entries if entry[0] == Told.DUE]
            written = len(entries) - len(there)
            if everything:
                for _, _, partition, offset in there[written:]:
                    detail = "no replay of any partition gives this record"
                    report.flag(RULE, topic, partition, offset, detail)
            for _, _, partition, offset in due[len(there) :]:
                if topic in self._taken:
                    beyond[topic] += 1
                    continue
                detail = f"the replay of this block gives a record that is not on {topic}"
                report.flag(RULE, names.DECISIONS, partition, offset, detail)
        report.beyond += [Beyond(topic, -1, count) for topic, count in beyond.items() if count]

    def _said(
        self, topic: str, partition: int, key: bytes | None, value: bytes | None, headers: Headers
    ) -> bytes:
        said = partition.to_bytes(4, "big") + digest(topic, key, value, headers)
        return hashlib.blake2b(said, digest_size=16).digest()


def _named(key: bytes | None) -> bytes:
    return hashlib.blake2b(key or b"", digest_size=16).digest()
