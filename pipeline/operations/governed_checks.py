"""What `milepost doctor` looks for beyond servers that answer: topics, schemas, policy, governor.

Only reads, through the topics and the consumer group. Must never judge what a record says.
"""

from __future__ import annotations

from collections.abc import Iterator
from itertools import groupby
from typing import Final

from confluent_kafka import KafkaError, KafkaException

from pipeline.contract import codec, names
from pipeline.governance.reasons import Reason
from pipeline.kafka import bundles, clients, topics
from pipeline.kafka.reading import LogReader
from pipeline.kafka.registry import Registry
from pipeline.operations import input_checks
from pipeline.operations.findings import Check, Dependency, Finding, Patient, Severity, listed

CALL_S: Final = 10.0
QUIET_TICKS: Final = 3
QUIET_MS_MIN: Final = 180_000
"""A ledger that is younger than this is alive, whatever a governor's tick is."""
OFFSETS: Final = "__consumer_offsets"
"""Not there before the first group is."""
NO_COORDINATOR_YET: Final = frozenset(
    {
        KafkaError.NOT_COORDINATOR,
        KafkaError.COORDINATOR_NOT_AVAILABLE,
        KafkaError.COORDINATOR_LOAD_IN_PROGRESS,
    }
)
TRIES: Final = 10
AGAIN_S: Final = 0.5


def topics_declared(patient: Patient) -> Iterator[Finding]:
    """See whether the cluster's topics are as topics.yaml declares them."""
    client = clients.admin(patient.settings, patient.bootstrap)
    try:
        there = topics.describe(client, patient.bootstrap, patient.declared)
    except topics.TopicsRefusedError as error:
        yield Finding(
            f"Topics can't be compared with what is declared ({error})",
            "A topic with too short a retention loses records that nobody has read",
            "Have the cluster's owner grant DESCRIBE and DESCRIBE_CONFIGS on the topics",
            Severity.WARNING,
        )
        return
    plan = topics.plan(patient.declared, there)
    if plan.create:
        yield Finding(
            f"Declared topics are missing: {listed(plan.create)}",
            "What belongs there can't be written, and the governor waits for its topics",
            "Run `milepost topics apply`",
        )
    differing = [str(change)[2:] for change in plan.changes if change.action == "configure"]
    if differing:
        yield Finding(
            f"Topics are configured otherwise than declared: {listed(differing, '; ')}",
            "Retention, compaction and size limits are what keeps records until they are read",
            "Run `milepost topics plan`, then `milepost topics apply`",
        )
    for refusal in plan.refusals:
        yield Finding(
            f"{refusal.topic}: {refusal.why}",
            "A governor owns one partition of all inputs, so their counts must agree",
            refusal.remedy,
        )


def schemas_registered(patient: Patient) -> Iterator[Finding]:
    """See whether each subject has its schema and keeps the compatibility that is declared."""
    remedy = "Run `milepost schemas register`, which sets both and reads them back"
    missing = []
    with Registry.of(patient.settings, patient.registry_url) as registry:
        for subject, schema, mode in patient.declared.subjects():
            if registry.lookup(subject, codec.definition(schema)) is None:
                missing.append(subject)
                continue
            found = {registry.compatibility(subject)}
            if registry.is_apicurio:
                found.add(registry.core_compatibility(subject))
            for other in sorted(str(item or "none of its own") for item in found - {mode}):
                yield Finding(
                    f"Subject {subject} has compatibility {other}, declared is {mode}",
                    "A schema that breaks readers could be registered without anyone noticing",
                    remedy,
                )
    if missing:
        yield Finding(
            f"Subjects lack the schema that is declared: {listed(missing)}",
            "Nothing can be written to their topics",
            remedy,
        )


def policy_in_force(patient: Patient) -> Iterator[Finding]:
    """See whether every partition is told to use a bundle, and all the same."""
    with LogReader(patient.settings, patient.bootstrap) as reader:
        numbers = reader.partitions(names.CONTROL)
        told = bundles.newest_activations(reader) if numbers else {}
    without = [number for number in numbers if number not in told]
    if not told or without:
        where = f"partitions {listed(without)}" if told else "any partition"
        yield Finding(
            f"No policy is in force on {where}",
            "Claims wait there until somebody says who may say what",
            "Run `milepost policy publish`",
        )
    versions = sorted({item.version for item in told.values()})
    if len(versions) > 1:
        yield Finding(
            f"Partitions are told to use different bundles: {listed(versions)}",
            "The same claim is judged differently from one shipment to the next",
            "Run `milepost policy status`, then publish the one that is meant again",
        )


def governor_alive(patient: Patient) -> Iterator[Finding]:
    """See whether a governor owns every partition, and its ledger grows."""
    with LogReader(patient.settings, patient.bootstrap) as reader:
        numbers = reader.partitions(names.CONTROL)
        told = bundles.newest_activations(reader) if numbers else {}
        blocks = reader.newest(names.DECISIONS)
    group = patient.settings.governor_group
    owned = _owned(patient)
    if not owned or (unowned := [number for number in numbers if number not in owned]):
        where = f"partitions {listed(unowned)}" if owned else "any partition"
        yield Finding(
            f"No governor runs for {where}: consumer group {group} has no member there",
            "Records come in and none is governed",
            "Start one: `milepost run governor`, or everything with `milepost up`",
        )
        return
    limit_ms = max(QUIET_TICKS * patient.settings.tick_ms, QUIET_MS_MIN)
    now_ms = patient.now_ms()
    # Before its first block a partition has the time since it was given a policy
    last = {number: item.written_ms for number, item in told.items()}
    last |= {number: block.timestamp_ms for number, block in blocks.items()}
    quiet = [number for number, at_ms in sorted(last.items()) if now_ms - at_ms > limit_ms]
    if quiet:
        since_s = (now_ms - min(last[number] for number in quiet)) // 1_000
        yield Finding(
            f"The ledger has stood still on partitions {listed(quiet)}, for up to {since_s} s,"
            " though a governor is there",
            "Each tick of the clock leaves a block, so nothing is governed there now",
            "Look into the governor's log: it says what it waits for",
        )


def platforms_trusted(patient: Patient) -> Iterator[Finding]:
    """See whether a platform is suspended, or braked by its dead letters."""
    try:
        rows = sorted(patient.held_back())
    except ValueError as error:
        yield Finding(
            f"The governor's state can't be read: {error}",
            "Who is held back, and what waits, is not known",
            "Use the version of Milepost that the governor runs",
        )
        return
    for (platform, reason), group in groupby(rows, key=lambda row: (row.platform, row.reason)):
        same = list(group)
        word = "braked" if reason == Reason.PLATFORM_BRAKED else "suspended"
        claims = sum(row.claims for row in same)
        yield Finding(
            f"{platform} is {word} on partitions {listed(row.partition for row in same)};"
            f" claims that wait: {claims}",
            "Its deputies stand in as if it were silent; what waits too long is dead-lettered",
            "`milepost platforms status` tells who did it and why; once the cause is repaired,"
            f" `milepost platforms release {platform} --why '…'`",
            Severity.WARNING,
        )


def _owned(patient: Patient) -> set[int]:
    """Partitions that a living member of the governor's group reads."""
    group = patient.settings.governor_group
    client = clients.admin(patient.settings, patient.bootstrap)
    if OFFSETS not in clients.metadata(client, patient.bootstrap).topics:
        return set()
    tries = 0
    while True:
        asked = client.describe_consumer_groups([group], request_timeout=CALL_S)
        try:
            described = asked[group].result()
            break
        except KafkaException as error:
            tries += 1
            code = error.args[0].code()
            if code == KafkaError.GROUP_ID_NOT_FOUND:
                return set()
            if code not in NO_COORDINATOR_YET or tries == TRIES:
                raise
        patient.wait(AGAIN_S)
    return {
        place.partition
        for member in described.members
        if member.assignment is not None
        for place in member.assignment.topic_partitions
        if place.topic == names.CONTROL
    }


CHECKS: Final = (
    Check("Topics are as declared", topics_declared, Dependency.KAFKA),
    Check("Schemas are registered as declared", schemas_registered, Dependency.REGISTRY),
    Check("A policy is in force on every partition", policy_in_force, Dependency.KAFKA),
    Check("A governor is at work", governor_alive, Dependency.KAFKA),
    *input_checks.CHECKS,
    Check("No platform is held back", platforms_trusted, Dependency.KAFKA),
)
"""What is examined once Kafka and the registry answer, in this order."""
