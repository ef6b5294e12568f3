"""Policy bundles on Kafka: published documents, and the activations that put them in force.

Must never compile a bundle or judge it.
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import NamedTuple

from pipeline.contract import codec, names
from pipeline.contract.bundle import Bundle, from_document
from pipeline.governance.vocabulary import ControlKind
from pipeline.kafka import clients
from pipeline.kafka.reading import partitions_of, read_to_end
from pipeline.kafka.registry import Registry
from pipeline.settings import Settings


class BundleRefusedError(Exception):
    """A bundle can't be published: its version is taken by another content."""


class Activation(NamedTuple):
    """The bundle that the control topic puts in force on a partition, as last written."""

    partition: int
    version: str
    digest: str
    written_ms: int
    by: str


def published(settings: Settings, bootstrap: str) -> dict[str, Bundle]:
    """Every published bundle by version.

    Raises:
        UnreachableError: Kafka is away.

    """
    found = {}
    for record in read_to_end(settings, bootstrap, names.POLICY):
        if record.value is not None and record.key is not None:
            found[record.key.decode()] = from_document(record.value)
    return found


def activations(settings: Settings, bootstrap: str) -> list[Activation]:
    """The newest activation of each partition.

    Raises:
        UnreachableError: Kafka is away.

    """
    newest: dict[int, Activation] = {}
    schema = codec.committed("control")
    for record in read_to_end(settings, bootstrap, names.CONTROL):
        try:
            control = codec.decode(record.value or b"", schema)
        except codec.UndecodableError:
            continue
        if control["kind"] == ControlKind.ACTIVATE:
            newest[record.partition] = Activation(
                record.partition,
                control["policy_version"] or "",
                control["policy_digest"] or "",
                record.timestamp_ms,
                control["issued_by"] or "",
            )
    return [newest[number] for number in sorted(newest)]


def publish(
    settings: Settings, bootstrap: str, registry: Registry, bundle: Bundle, *, by: str, why: str
) -> list[int]:
    """Publish a bundle and activate it on every partition that another one is in force on.

    Resumable and idempotent: what is done already is not done again.

    Args:
        settings: security settings pass through.
        bootstrap: bootstrap servers.
        registry: for the id of the control schema.
        bundle: checked by the caller.
        by: who publishes.
        why: for the record.

    Returns:
        The partitions on which it was activated now.

    Raises:
        BundleRefusedError: the version was published with another content.
        UnreachableError: Kafka or the registry is away.

    """
    known = published(settings, bootstrap).get(bundle.version)
    if known is not None and known.digest() != bundle.digest():
        raise BundleRefusedError(
            f"version {bundle.version} was published with other content: change `version` in"
            " bundle.yaml, a published version never changes"
        )
    producer = clients.producer(settings, bootstrap)
    if known is None:
        document = clients.Outgoing(names.POLICY, bundle.document(), bundle.version.encode())
        clients.deliver(producer, [document])
    in_force = {item.partition: item.version for item in activations(settings, bootstrap)}
    numbers = partitions_of(settings, bootstrap, names.CONTROL)
    due = [number for number in numbers if in_force.get(number) != bundle.version]
    schema_id = registry.id_for(names.subject(names.CONTROL), "control")
    clients.deliver(producer, _activations(bundle, due, schema_id, by, why))
    return due


def _activations(
    bundle: Bundle, partitions: Iterable[int], schema_id: int, by: str, why: str
) -> Iterable[clients.Outgoing]:
    digest = bundle.digest()
    for number in partitions:
        record = {
            "kind": ControlKind.ACTIVATE.value,
            "partition": number,
            "policy_version": bundle.version,
            "policy_digest": digest,
            "issued_by": by,
            "why": why,
        }
        value = codec.encode(record, codec.committed("control"), schema_id)
        key = str(number).encode()
        yield clients.Outgoing(names.CONTROL, value, key, partition=number)
