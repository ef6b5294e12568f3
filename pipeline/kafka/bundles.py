"""Policy bundles on Kafka: published documents, and the activations that put them in force.

Must never compile a bundle or judge it.
"""

from __future__ import annotations

import logging
from collections.abc import Iterable
from typing import NamedTuple

from pipeline.contract import codec, names
from pipeline.contract.bundle import Bundle, digest_of, from_document
from pipeline.governance.vocabulary import ControlKind
from pipeline.kafka import clients
from pipeline.kafka.reading import LogReader, Stored, partitions_of, read_to_end
from pipeline.kafka.registry import Registry
from pipeline.settings import Settings

_LOG = logging.getLogger("milepost.kafka")


class BundleRefusedError(Exception):
    """A bundle can't be published: its version is taken by another content."""


class Activation(NamedTuple):
    """The bundle that the control topic puts in force on a partition, as last written."""

    partition: int
    version: str
    digest: str
    written_ms: int
    by: str


def documents(settings: Settings, bootstrap: str) -> dict[str, bytes]:
    """Every published document by version, the latest published last; not read yet.

    Raises:
        UnreachableError: Kafka is away.

    """
    found: dict[str, bytes] = {}
    for record in read_to_end(settings, bootstrap, names.POLICY):
        version = (record.key or b"").decode("utf-8", "replace")
        found.pop(version, None)
        if version and record.value is not None:
            found[version] = record.value
    return found


def read(document: bytes) -> Bundle:
    """The bundle in a published document.

    Raises:
        ValueError: it is none that this version of Milepost can read.

    """
    try:
        return from_document(document)
    except ValueError as error:
        first = str(error).partition("\n")[0]
        raise ValueError(f"no bundle of this version: {first}") from None


def published(settings: Settings, bootstrap: str) -> dict[str, Bundle]:
    """Every published bundle that can be read, by version.

    Raises:
        UnreachableError: Kafka is away.

    """
    found = {}
    for version, document in documents(settings, bootstrap).items():
        try:
            found[version] = read(document)
        except ValueError as error:
            _LOG.warning("published policy bundle %s is left out: %s", version, error)
    return found


def in_force(settings: Settings, bootstrap: str) -> Bundle | None:
    """The bundle that was activated last, on whichever partition; None: none that can be read.

    Raises:
        UnreachableError: Kafka is away.

    """
    told = sorted(activations(settings, bootstrap), key=lambda item: item.written_ms)
    return published(settings, bootstrap).get(told[-1].version) if told else None


def activations(settings: Settings, bootstrap: str) -> list[Activation]:
    """The newest activation of each partition.

    Raises:
        UnreachableError: Kafka is away.

    """
    with LogReader(settings, bootstrap) as reader:
        return [item for _, item in sorted(newest_activations(reader).items())]


def newest_activations(reader: LogReader) -> dict[int, Activation]:
    """The newest activation by partition.

    Raises:
        UnreachableError: Kafka is away.

    """
    found = reader.newest(names.CONTROL, lambda record: _activation(record) is not None)
    read = {number: _activation(record) for number, record in found.items()}
    return {number: item for number, item in read.items() if item is not None}


def _activation(record: Stored) -> Activation | None:
    try:
        control = codec.decode(record.value or b"", codec.committed("control"))
    except codec.UndecodableError:
        return None
    if control["kind"] != ControlKind.ACTIVATE:
        return None
    return Activation(
        record.partition,
        control["policy_version"] or "",
        control["policy_digest"] or "",
        record.timestamp_ms,
        control["issued_by"] or "",
    )


def publish(
    settings: Settings,
    bootstrap: str,
    registry: Registry,
    bundle: Bundle,
    *,
    by: str,
    why: str,
    unless_in_force: bool = False,
) -> list[int]:
    """Publish a bundle and activate it on every partition that another one is in force on.

    Resumable and idempotent: what is done already is not done again. A document that was written
    over is put back, if this is the bundle that was activated.

    Args:
        settings: security settings pass through.
        bootstrap: bootstrap servers.
        registry: for the id of the control schema.
        bundle: checked by the caller.
        by: who publishes.
        why: for the record.
        unless_in_force: leave partitions alone that any bundle is in force on; if that is so of
            all of them, nothing is written.

    Returns:
        The partitions on which it was activated now.

    Raises:
        BundleRefusedError: the version was published with another content.
        UnreachableError: Kafka or the registry is away.

    """
    activated = activations(settings, bootstrap)
    numbers = partitions_of(settings, bootstrap, names.CONTROL)
    if unless_in_force:
        told = {item.partition for item in activated}
        due = [number for number in numbers if number not in told]
        if numbers and not due:
            return []
    else:
        due = _due(activated, numbers, bundle.version)
    known = documents(settings, bootstrap).get(bundle.version)
    if known is not None and not _same(known, bundle):
        if (bundle.version, bundle.digest()) not in {
            (item.version, item.digest) for item in activated
        }:
            raise BundleRefusedError(
                f"version {bundle.version} was published with other content: change `version` in"
                " bundle.yaml, a published version never changes"
            )
        known = None
    producer = clients.producer(settings, bootstrap)
    document = known or bundle.document()
    if known is None:
        outgoing = clients.Outgoing(names.POLICY, document, bundle.version.encode())
        clients.deliver(producer, [outgoing])
    schema_id = registry.id_for(names.subject(names.CONTROL), "control")
    named = bundle.version, digest_of(document)
    clients.deliver(producer, _activations(named, due, schema_id, by, why))
    return due


def due(settings: Settings, bootstrap: str, version: str) -> list[int]:
    """The partitions on which another bundle than this one was activated last, or none.

    Raises:
        UnreachableError: Kafka is away.

    """
    numbers = partitions_of(settings, bootstrap, names.CONTROL)
    return _due(activations(settings, bootstrap), numbers, version)


def _due(activated: Iterable[Activation], numbers: Iterable[int], version: str) -> list[int]:
    told = {item.partition: item.version for item in activated}
    return [number for number in numbers if told.get(number) != version]


def _same(document: bytes, bundle: Bundle) -> bool:
    """Whether a published document is this bundle, as this version of Milepost reads it."""
    try:
        return read(document).digest() == bundle.digest()
    except ValueError:
        return False


def _activations(
    named: tuple[str, str], partitions: Iterable[int], schema_id: int, by: str, why: str
) -> Iterable[clients.Outgoing]:
    version, digest = named
    for number in partitions:
        record = {
            "kind": ControlKind.ACTIVATE.value,
            "partition": number,
            "policy_version": version,
            "policy_digest": digest,
            "issued_by": by,
            "why": why,
        }
        value = codec.encode(record, codec.committed("control"), schema_id)
        key = str(number).encode()
        yield clients.Outgoing(names.CONTROL, value, key, partition=number)
