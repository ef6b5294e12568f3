"""What `milepost doctor` looks for at the inputs: read in time, kept long enough, keyed as ours.

How far an input was read, the governor's state says: offsets of a group expire. Only reads; must
never judge what a record says.
"""

from __future__ import annotations

import json
import zlib
from collections import Counter
from collections.abc import Iterator
from typing import Final, NamedTuple

from pipeline.contract import names
from pipeline.governance.identity import partition_of
from pipeline.kafka import bundles, clients, topics
from pipeline.kafka.reading import LogReader, Span
from pipeline.operations.findings import Check, Dependency, Finding, Patient, Severity, listed
from pipeline.operations.proof.state import OWN_KEY

UNREAD_MS: Final = 60_000
"""How old a record may become before somebody should have read it."""
RETENTION_SHARE: Final = 0.5
"""Of the time that a topic keeps records: nothing should wait longer to be read."""
KEYS: Final = 200
"""Newest records of a partition whose keys are looked at."""
STRAYS_MIN: Final = 5
STRAYS_SHARE: Final = 0.05
RETENTION: Final = "retention.ms"


class Unread(NamedTuple):
    """What nobody has read of an input yet."""

    topic: str
    partition: int
    position: int
    start: int
    """Where the log begins."""
    offset: int
    """Of the oldest record that is there; -1: there is none."""
    age_ms: int

    @property
    def place(self) -> str:
        """Where it is, for people."""
        return f"{self.topic}[{self.partition}]"


def inputs_read(patient: Patient) -> Iterator[Finding]:
    """See whether records lie in an input that nobody has read for long."""
    inputs = _inputs(patient)
    with LogReader(patient.settings, patient.bootstrap) as reader:
        absent = sorted(topic for topic in inputs if not reader.partitions(topic))
        unread = list(_unread(patient, reader, inputs))
    undeclared = [topic for topic in absent if topic not in patient.declared]
    if undeclared:
        yield Finding(
            f"Topics that the policy's platforms send to do not exist: {listed(undeclared)}",
            "What these platforms say has no way in",
            "Declare them in topics.yaml (MILEPOST_TOPICS_FILE), run `milepost topics apply`",
        )
    lagging = [item for item in unread if item.age_ms > UNREAD_MS]
    if lagging:
        told = [f"{item.place} at {item.offset} for {item.age_ms // 1_000} s" for item in lagging]
        yield Finding(
            f"Inputs are not being read: {listed(told)}",
            "What is said there is not governed, and deadlines of its platforms wait",
            "`milepost platforms status` names a braked platform, whose inputs rest; else look into"
            " the governor's log",
        )


def retention_lasts(patient: Patient) -> Iterator[Finding]:
    """See whether an input keeps its records for as long as they wait to be read."""
    admin = clients.admin(patient.settings, patient.bootstrap)
    try:
        there = topics.describe(admin, patient.bootstrap, patient.declared)
    except topics.TopicsRefusedError:
        there = {}  # the check of declared topics has said so
    with LogReader(patient.settings, patient.bootstrap) as reader:
        unread = list(_unread(patient, reader, _inputs(patient)))
    gone = [
        f"{item.place} {item.position} to {item.start - 1}"
        for item in unread
        if item.position < item.start
    ]
    if gone:
        yield Finding(
            f"Retention took what nobody had read: offsets {listed(gone)}",
            "These records are lost; the ledger will say so, and `milepost verify` tells how many",
            "Start a governor now, lengthen `retention_days` of these topics and run"
            " `milepost topics apply`; have their platforms send again what is missing",
        )
    for item in unread:
        found = there.get(item.topic)
        keeps_ms = int(found.config.get(RETENTION, -1)) if found is not None else -1
        if keeps_ms > 0 and item.age_ms > keeps_ms * RETENTION_SHARE:
            yield Finding(
                f"{item.place} has waited for {item.age_ms // 60_000} minutes to be read, and its"
                f" topic keeps records for {keeps_ms // 60_000}",
                "What retention takes unread is lost",
                "Have it read (see `milepost status` and the governor's log), or lengthen"
                " `retention_days` in topics.yaml and run `milepost topics apply`",
            )


def partitioners_agree(patient: Patient) -> Iterator[Finding]:
    """See whether platforms put keys on the partitions that Java's partitioner gives."""
    raw = {topic for topic in _inputs(patient) if topic not in names.INTERNAL}
    with LogReader(patient.settings, patient.bootstrap) as reader:
        for topic in sorted(raw):
            numbers = reader.partitions(topic)
            spans = {number: reader.span(topic, number) for number in numbers}
            newest = {
                number: Span(max(span.start, span.end - KEYS), span.end)
                for number, span in spans.items()
            }
            seen: Counter[str] = Counter()
            for record in reader.read(topic, newest):
                if record.key is not None:
                    seen["all"] += 1
                    if partition_of(record.key, len(numbers)) != record.partition:
                        seen["strays"] += 1
                        seen["crc32"] += zlib.crc32(record.key) % len(numbers) == record.partition
            strays = seen["strays"]
            if strays >= max(STRAYS_MIN, seen["all"] * STRAYS_SHARE):
                crc32 = "; CRC32, librdkafka's default, does" if seen["crc32"] == strays else ""
                yield Finding(
                    f"{strays} of the newest {seen['all']} records of {topic} lie on partitions"
                    f" that murmur2 does not give for their keys{crc32}",
                    "Each is sent on once more, and a platform's own order is broken on the way",
                    "Have the producer set `partitioner=murmur2_random` (librdkafka), or Java's"
                    " default; see docs/produce.md",
                    Severity.WARNING,
                )


def _inputs(patient: Patient) -> set[str]:
    """Every input there is: declared ones, and those of the platforms in force."""
    bundle = bundles.in_force(patient.settings, patient.bootstrap)
    platforms = () if bundle is None else bundle.platforms
    found = {topic.name for topic in patient.declared.inputs}
    return found | {topic for row in platforms for topic in row.topics}


def _unread(patient: Patient, reader: LogReader, inputs: set[str]) -> Iterator[Unread]:
    """What nobody has read, by topic and partition."""
    states = reader.newest(names.CHANGELOG, lambda record: record.key == OWN_KEY)
    positions = {
        number: json.loads(record.value or b"{}").get("positions", {})
        for number, record in states.items()
    }
    for topic in sorted(inputs):
        for number in reader.partitions(topic):
            span = reader.span(topic, number)
            # A governed partition reads an input that is new to it from its beginning
            position = positions[number].get(topic, 0) if number in positions else span.start
            # Where transactions end there is an offset without a record
            left = Span(max(position, span.start), span.end)
            first = next(iter(reader.read(topic, {number: left})), None)
            if first is not None:
                age_ms = patient.now_ms() - first.timestamp_ms
                yield Unread(topic, number, position, span.start, first.offset, age_ms)
            elif position < span.start:
                yield Unread(topic, number, position, span.start, -1, 0)


CHECKS: Final = (
    Check("Every input is being read", inputs_read, Dependency.KAFKA),
    Check("Inputs keep records until they are read", retention_lasts, Dependency.KAFKA),
    Check("Keys are where murmur2 puts them", partitioners_agree, Dependency.KAFKA),
)
"""What is examined once Kafka answers, in this order."""
