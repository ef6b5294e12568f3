"""Registers the contract's schemas, and takes no single answer of the registry on trust.

Compatibility is checked by our own rules and by the registry; the mode of each subject is set and
read back, for a registry that says otherwise would let a breaking change through later. Must never
change a schema's files.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any, NamedTuple

from pipeline.contract import compatibility, schemas
from pipeline.contract.schema_tree import MalformedSchemaError
from pipeline.contract.schemas import parse
from pipeline.contract.topics import Declared
from pipeline.kafka.errors import SchemaRefusedError
from pipeline.kafka.registry import Registry


class RegistrationRefusedError(Exception):
    """A subject can't get its schema; the subjects before it have theirs."""

    def __init__(self, subject: str, why: list[str], remedy: str) -> None:
        listed = "".join(f"\n  {line}" for line in why)
        super().__init__(f"{subject} is not registered:{listed}\n{remedy}")
        self.subject = subject
        self.why = why
        self.remedy = remedy


class Registration(NamedTuple):
    """What a subject has now."""

    subject: str
    schema: str
    mode: str
    schema_id: int
    new: bool
    """Whether it was registered just now."""


def register(registry: Registry, folder: Path, declared: Declared) -> Iterator[Registration]:
    """Give every subject of `topics.yaml` its mode and its schema; doing it twice is harmless.

    Args:
        registry: where.
        folder: holds `<schema>.avsc`, which passed `pipeline.contract.schemas.check`.
        declared: says which subjects there are.

    Yields:
        One entry for each subject, as soon as it is done.

    Raises:
        RegistrationRefusedError: a breaking change, or a registry that keeps another mode.
        RegistryUnavailableError: the registry doesn't answer.
        InvalidFileError: a schema's file can't be used.

    """
    for subject, name, mode in declared.subjects():
        definition = parse(folder / f"{name}.avsc", folder)
        if schemas.unversioned(folder, [name]):
            latest = len(schemas.history(folder, name))
            raise RegistrationRefusedError(
                subject,
                [f"schema {name} differs from its committed version {latest}"],
                f"Commit it as a version first: schemas/history/{name}/v{latest + 1}.avsc",
            )
        try:
            _keep_mode(registry, subject, mode)
            yield _register_one(registry, subject, name, mode, definition)
        except SchemaRefusedError as error:
            remedy = "Undo the change, or start a new topic (schemas/README.md)"
            raise RegistrationRefusedError(subject, error.messages, remedy) from None


def _keep_mode(registry: Registry, subject: str, mode: str) -> None:
    if registry.compatibility(subject) != mode:
        registry.set_compatibility(subject, mode)
    asked: list[tuple[str, Callable[[str], str | None]]] = [
        ("its Confluent API", registry.compatibility)
    ]
    if registry.is_apicurio:
        asked.append(("its own API", registry.core_compatibility))
    for interface, ask in asked:
        found = ask(subject)
        if found != mode:
            why = f"compatibility was set to {mode}, but {interface} says {found or 'none'}"
            remedy = "Don't write to the topic before the registry keeps the mode it was given"
            raise RegistrationRefusedError(subject, [why], remedy)


def _register_one(
    registry: Registry, subject: str, name: str, mode: str, definition: Any
) -> Registration:
    known = registry.lookup(subject, definition)
    if known is not None:
        return Registration(subject, name, mode, known, new=False)
    breaches = _breaches(registry, subject, mode, definition)
    objections = registry.compatible(subject, definition)
    if breaches or objections:
        lines = [*breaches, *(f"the registry: {objection}" for objection in objections)]
        remedy = "Undo the change, or start a new topic (schemas/README.md)"
        raise RegistrationRefusedError(subject, lines, remedy)
    given = registry.register(subject, definition)
    if registry.schema(given) != definition:
        why = f"id {given} that the registry gave out does not stand for this schema"
        raise RegistrationRefusedError(subject, [why], "Have the registry's data looked at")
    return Registration(subject, name, mode, given, new=True)


def _breaches(registry: Registry, subject: str, mode: str, definition: Any) -> list[str]:
    """Our own judgement against what the registry holds, which need not be what is committed."""
    versions = [registry.version(subject, number) for number in registry.versions(subject)]
    previous = [version.definition for version in versions if version is not None]
    try:
        return list(map(str, compatibility.check(definition, previous, mode)))
    except MalformedSchemaError as error:
        return [f"a registered version is no usable schema: {error}"]
