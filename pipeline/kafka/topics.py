"""Brings a cluster's topics to what is declared: plan, then apply.

The only code of the product that creates or changes topics. It never changes a partition count,
because keys would move, and changes nothing that loses data unless told so.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Collection, Mapping, Sequence
from concurrent.futures import Future
from typing import Any, Literal, NamedTuple

from confluent_kafka import KafkaError, KafkaException
from confluent_kafka.admin import AdminClient
from confluent_kafka.admin._config import AlterConfigOpType, ConfigEntry, ConfigResource
from confluent_kafka.admin._resource import ResourceType
from confluent_kafka.cimpl import NewTopic

from pipeline.contract.topics import Declared, Topic
from pipeline.kafka import clients

_TIMEOUT_S = 30.0
_FAMILY = "logistics."


class TopicsRefusedError(Exception):
    """The cluster, or care for its data, doesn't allow a change; nothing after it was done."""


class Existing(NamedTuple):
    """A topic as it is on the cluster."""

    partitions: int
    replication: int
    config: Mapping[str, str]


class Change(NamedTuple):
    """One step towards what is declared."""

    action: Literal["create", "configure", "delete"]
    topic: str
    setting: str = ""
    before: str = ""
    after: str = ""
    loses: str = ""
    """What the step would lose; empty if nothing."""

    def __str__(self) -> str:
        """One line of a diff."""
        sign = {"create": "+", "configure": "~", "delete": "-"}[self.action]
        what = f" {self.setting}: {self.before} -> {self.after}" if self.setting else ""
        created = f" {self.after}" if self.action == "create" else ""
        return f"{sign} {self.topic}{what or created}" + (f"  ! {self.loses}" if self.loses else "")


class Refusal(NamedTuple):
    """A difference that is not ours to remove."""

    topic: str
    why: str
    remedy: str

    def __str__(self) -> str:
        """One line for a terminal."""
        return f"! {self.topic}: {self.why}. {self.remedy}"


class Plan(NamedTuple):
    """What lies between a cluster and the declaration."""

    changes: tuple[Change, ...]
    refusals: tuple[Refusal, ...]
    notes: tuple[str, ...]
    create: Mapping[str, tuple[Topic, int]]
    """Topics to create, with their replication."""

    @property
    def destructive(self) -> tuple[Change, ...]:
        """Changes that lose data or safety."""
        return tuple(change for change in self.changes if change.loses)

    def lines(self) -> list[str]:
        """The diff, a line a difference; empty if there is none."""
        return [*map(str, self.changes), *map(str, self.refusals), *self.notes]

    def document(self) -> dict[str, Any]:
        """The plan for machines."""
        return {
            "changes": [change._asdict() for change in self.changes],
            "refusals": [refusal._asdict() for refusal in self.refusals],
            "notes": list(self.notes),
        }


def describe(client: AdminClient, bootstrap: str, declared: Declared) -> dict[str, Existing]:
    """The declared topics as they are on the cluster, and others of Milepost's family of names.

    Raises:
        UnreachableError: no broker answers.
        TopicsRefusedError: the cluster does not let us read its topics.

    """
    found = {
        name: topic
        for name, topic in clients.metadata(client, bootstrap).topics.items()
        if name in declared or name in declared.retired or name.startswith(_FAMILY)
    }
    configs = _configs(client, bootstrap, found)
    return {
        name: Existing(
            len(topic.partitions),
            min((len(part.replicas) for part in topic.partitions.values()), default=0),
            configs[name],
        )
        for name, topic in found.items()
    }


def plan(
    declared: Declared, cluster: Mapping[str, Existing], replication: int | None = None
) -> Plan:
    """Compare; changes nothing.

    Args:
        declared: from `pipeline.contract.topics.load`.
        cluster: from `describe`.
        replication: replicas of topics to create, instead of the declared number.

    """
    changes: list[Change] = []
    refusals: list[Refusal] = []
    notes: list[str] = []
    create: dict[str, tuple[Topic, int]] = {}
    for topic in declared.topics:
        existing = cluster.get(topic.name)
        wanted = topic.replication if replication is None else replication
        if existing is None:
            create[topic.name] = (topic, wanted)
            changes.append(Change("create", topic.name, after=_summary(topic, wanted)))
            continue
        if existing.partitions != topic.partitions:
            refusals.append(_partition_refusal(topic, existing))
        if existing.replication < wanted:
            notes.append(
                f"  {topic.name} has {existing.replication} replicas, {wanted} are wanted:"
                " move them with kafka-reassign-partitions"
            )
        for setting, after in topic.config(existing.replication).items():
            before = existing.config.get(setting, "")
            if before != after:
                loses = _loss(setting, before, after)
                changes.append(Change("configure", topic.name, setting, before, after, loses))
    changes += [
        Change("delete", name, loses="deletes every record of it")
        for name in declared.retired
        if name in cluster
    ]
    notes += [
        f"  {name} is on the cluster and not declared: left alone"
        for name in sorted(cluster)
        if name.startswith(_FAMILY) and name not in declared and name not in declared.retired
    ]
    return Plan(tuple(changes), tuple(refusals), tuple(notes), create)


def apply(
    client: AdminClient, bootstrap: str, intended: Plan, *, allow_destructive: bool = False
) -> None:
    """Carry a plan out and wait until it is in effect. Applying twice is harmless.

    Args:
        client: fresh, from `pipeline.kafka.clients.admin`.
        bootstrap: where it points, for messages.
        intended: from `plan`.
        allow_destructive: also take steps that lose data or safety.

    Raises:
        TopicsRefusedError: the plan holds what may not be done, or the cluster refuses a step.
        UnreachableError: no broker answers.

    """
    if intended.refusals:
        raise TopicsRefusedError("Nothing was changed:\n" + "\n".join(map(str, intended.refusals)))
    if intended.destructive and not allow_destructive:
        listed = "\n".join(map(str, intended.destructive))
        raise TopicsRefusedError(
            f"Nothing was changed, these steps lose data or safety:\n{listed}\n"
            "If that is meant, add --allow-destructive"
        )
    _create(client, bootstrap, intended)
    _configure(client, bootstrap, [item for item in intended.changes if item.action == "configure"])
    deletions = [change.topic for change in intended.changes if change.action == "delete"]
    if deletions:
        for name, future in client.delete_topics(deletions, request_timeout=_TIMEOUT_S).items():
            _result(future, name, bootstrap, "DELETE on it")
    _await_settled(client, bootstrap, intended)


def _create(client: AdminClient, bootstrap: str, intended: Plan) -> None:
    new = [
        NewTopic(
            topic.name,
            num_partitions=topic.partitions,
            replication_factor=replicas,
            config=topic.config(replicas),
        )
        for topic, replicas in intended.create.values()
    ]
    if not new:
        return
    for name, future in client.create_topics(
        new, operation_timeout=_TIMEOUT_S, request_timeout=_TIMEOUT_S
    ).items():
        try:
            _result(future, name, bootstrap, "CREATE on it, or have it created for you")
        except KafkaException as error:
            # Somebody else was faster: the next plan compares what they made
            if error.args[0].code() != KafkaError.TOPIC_ALREADY_EXISTS:
                raise


def _configure(client: AdminClient, bootstrap: str, changes: Sequence[Change]) -> None:
    by_topic: dict[str, list[ConfigEntry]] = {}
    for change in changes:
        entry = ConfigEntry(
            change.setting, change.after, incremental_operation=AlterConfigOpType.SET
        )
        by_topic.setdefault(change.topic, []).append(entry)
    if not by_topic:
        return
    resources = [
        ConfigResource(ResourceType.TOPIC, name, incremental_configs=entries)
        for name, entries in by_topic.items()
    ]
    for resource, future in client.incremental_alter_configs(
        resources, request_timeout=_TIMEOUT_S
    ).items():
        _result(future, resource.name, bootstrap, "ALTER_CONFIGS on it")


def _await_settled(client: AdminClient, bootstrap: str, intended: Plan) -> None:
    """Brokers learn of a change one after the other: wait until the one we ask has."""
    deadline = time.monotonic() + _TIMEOUT_S
    while pending := _pending(client, bootstrap, intended):
        if time.monotonic() > deadline:
            listed = ", ".join(sorted(pending))
            raise TopicsRefusedError(
                f"Not in effect after {_TIMEOUT_S:g} s: {listed}. See that every broker runs"
            )
        time.sleep(0.05)


def _pending(client: AdminClient, bootstrap: str, intended: Plan) -> set[str]:
    known = clients.metadata(client, bootstrap).topics
    pending = {
        name
        for name in intended.create
        if name not in known
        or not known[name].partitions
        or any(part.leader < 0 for part in known[name].partitions.values())
    }
    pending |= {
        change.topic
        for change in intended.changes
        if change.action == "delete" and change.topic in known
    }
    settings = [change for change in intended.changes if change.action == "configure"]
    configs = _configs(client, bootstrap, {change.topic for change in settings})
    return pending | {
        change.topic
        for change in settings
        if configs[change.topic].get(change.setting) != change.after
    }


def _configs(
    client: AdminClient, bootstrap: str, topics: Collection[str]
) -> dict[str, dict[str, str]]:
    if not topics:
        return {}
    resources = [ConfigResource(ResourceType.TOPIC, name) for name in topics]
    configs: dict[str, dict[str, str]] = {}
    for resource, future in client.describe_configs(resources, request_timeout=_TIMEOUT_S).items():
        entries = _result(future, resource.name, bootstrap, "DESCRIBE_CONFIGS on it")
        configs[resource.name] = {
            name: str(entry.value) for name, entry in entries.items() if entry.value is not None
        }
    return configs


def _result(future: Future[Any], topic: str, bootstrap: str, right: str) -> Any:
    try:
        return future.result(2 * _TIMEOUT_S)
    except KafkaException as error:
        cause: KafkaError = error.args[0]
        if cause.code() in {
            KafkaError.TOPIC_AUTHORIZATION_FAILED,
            KafkaError.CLUSTER_AUTHORIZATION_FAILED,
        }:
            raise TopicsRefusedError(
                f"The cluster does not allow it for {topic}: have its owner grant {right}"
            ) from None
        if cause.code() == KafkaError.TOPIC_ALREADY_EXISTS:
            raise
        if cause.code() < 0:  # librdkafka's own: no answer from a broker
            raise clients.unreachable(bootstrap, error) from None
        raise TopicsRefusedError(
            f"The cluster refuses a change of {topic}: {cause.str()}"
        ) from None


def _summary(topic: Topic, replicas: int) -> str:
    config = topic.config(replicas)
    kept = "compacted" if topic.compacted else f"retention.ms {config['retention.ms']}"
    return (
        f"{topic.partitions} partitions, {replicas} replicas"
        f" ({config['min.insync.replicas']} in sync), {kept}"
    )


def _partition_refusal(topic: Topic, existing: Existing) -> Refusal:
    why = f"{existing.partitions} partitions, declared are {topic.partitions}; keys would move"
    if topic.input:
        why += " and the governor's inputs would no longer meet"
    remedy = "Declare the count it has, or bring its records to a new topic of that count"
    return Refusal(topic.name, why, remedy)


def _loss(setting: str, before: str, after: str) -> str:
    if setting == "cleanup.policy":
        return "changes which records are kept"
    narrowing: dict[str, tuple[Callable[[str], float], str]] = {
        "retention.ms": (_duration, "deletes older records"),
        "max.message.bytes": (float, "larger records would be refused"),
        "min.insync.replicas": (float, "acknowledged records would be held by fewer replicas"),
    }
    if setting in narrowing and before:
        measure, loss = narrowing[setting]
        return loss if measure(after) < measure(before) else ""
    return ""


def _duration(text: str) -> float:
    return float("inf") if float(text) < 0 else float(text)
