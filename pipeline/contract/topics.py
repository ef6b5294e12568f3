"""Topics as code: what `topics.yaml` declares, checked, with the configuration each topic needs.

Must never know what exists on a cluster: `pipeline.kafka.topics` compares.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from functools import cached_property
from pathlib import Path
from typing import Any, Final, Literal

from pydantic import BaseModel, ConfigDict, Field, ValidationError

from pipeline.contract import names
from pipeline.contract.yaml_lines import Document, Finding, InvalidFileError, read

Compatibility = Literal[
    "BACKWARD", "BACKWARD_TRANSITIVE", "FORWARD", "FORWARD_TRANSITIVE", "FULL", "FULL_TRANSITIVE"
]
"""Modes of a registry that keep readers and writers together: NONE is not among them."""

FILE: Final = "topics.yaml"
_DAY_MS = 86_400_000
_PLATFORM_BYTES_MAX = 1_048_588
OWN_BYTES_MAX: Final = 2_097_152
"""What we write holds a whole record of a platform plus headers of ours, so it may be larger."""
# Compaction leaves the newest segment alone: small segments keep recovery short
_COMPACTED_SEGMENT_BYTES = 134_217_728
_NAME = re.compile(r"^[a-z0-9]+(?:[.-][a-z0-9]+)*$")


class Topic(BaseModel):
    """One declared topic."""

    model_config = ConfigDict(frozen=True, extra="forbid", validate_by_name=True)

    name: str = Field(max_length=249)
    purpose: str = Field(min_length=1)
    owner: str = Field(min_length=1)
    key: str = Field(min_length=1)
    producers: tuple[str, ...] = Field(min_length=1)
    consumers: tuple[str, ...] = Field(min_length=1)
    schema_name: str | None = Field(None, alias="schema")
    compatibility: Compatibility | None = None
    partitions: int = Field(ge=1, le=10_000)
    replication: int = Field(ge=1, le=10)
    min_insync_replicas: int = Field(ge=1, le=10)
    retention_days: int | None = Field(None, ge=-1)
    compacted: bool = False
    input: bool = False
    internal: bool = False
    residency: str = "any"
    classification: Literal["public", "internal", "confidential"] = "internal"
    sync_class: str | None = None

    @property
    def subject(self) -> str | None:
        """Registry subject of the values, None for a topic without a schema."""
        return None if self.schema_name is None else names.subject(self.name)

    def config(self, replication: int | None = None) -> dict[str, str]:
        """Kafka's configuration of the topic.

        Args:
            replication: replicas it really has or gets, where that is not what is declared; with
                three or more, all but one must have a record before it counts as written.

        """
        replicas = self.replication if replication is None else replication
        insync = min(replicas, max(self.min_insync_replicas, replicas - 1))
        from_platform = self.input and not self.internal
        common = {
            "message.timestamp.type": "LogAppendTime",
            "min.insync.replicas": str(insync),
            "max.message.bytes": str(_PLATFORM_BYTES_MAX if from_platform else OWN_BYTES_MAX),
        }
        if self.compacted:
            segment = str(_COMPACTED_SEGMENT_BYTES)
            return common | {"cleanup.policy": "compact", "segment.bytes": segment}
        days = self.retention_days
        retention = -1 if days is None or days < 0 else days * _DAY_MS
        return common | {"cleanup.policy": "delete", "retention.ms": str(retention)}


class Declared(BaseModel):
    """Everything that `topics.yaml` says."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    topics: tuple[Topic, ...]
    retired: tuple[str, ...] = ()
    """Topics that were declared once and may be deleted with `--allow-destructive`."""

    def __getitem__(self, name: str) -> Topic:
        """Return the topic of that name, or raise KeyError."""
        return self._by_name[name]

    def __contains__(self, name: str) -> bool:
        return name in self._by_name

    @cached_property
    def names(self) -> tuple[str, ...]:
        """Names in the file's order."""
        return tuple(topic.name for topic in self.topics)

    @cached_property
    def inputs(self) -> tuple[Topic, ...]:
        """Inputs of the governor: same partition count, key and partitioner."""
        return tuple(topic for topic in self.topics if topic.input)

    def subjects(self) -> Iterator[tuple[str, str, Compatibility]]:
        """(subject, schema name, mode) of every topic with a schema."""
        for topic in self.topics:
            if topic.schema_name is not None and topic.compatibility is not None:
                yield names.subject(topic.name), topic.schema_name, topic.compatibility

    @cached_property
    def _by_name(self) -> dict[str, Topic]:
        return {topic.name: topic for topic in self.topics}


def load(path: Path | None = None) -> Declared:
    """Read and check `topics.yaml`.

    Args:
        path: another file than the one that ships with Milepost.

    Raises:
        InvalidFileError: it can't be used; each finding has file and line.

    """
    path = names.data_root() / FILE if path is None else path
    document = read(path, path.parent)
    content = document.content
    if not isinstance(content, dict) or not isinstance(content.get("topics"), list):
        raise InvalidFileError(
            [_finding(document, (), "no topics", "nothing is declared", "topics: [...]")]
        )
    declared = _validated(document, _with_defaults(document, content))
    findings = [*_per_topic(document, declared), *_together(document, declared)]
    if findings:
        raise InvalidFileError(findings)
    return declared


def _with_defaults(document: Document, content: dict[str, Any]) -> dict[str, Any]:
    """Spread `defaults` over the topics."""
    defaults = content.get("defaults") or {}
    known = {field.alias or name for name, field in Topic.model_fields.items()}
    unknown = [name for name in defaults if name not in known]
    if unknown:
        raise InvalidFileError(
            [
                _finding(
                    document,
                    ("defaults", name),
                    f"defaults.{name}",
                    "a topic has no such attribute",
                    "Remove it, or correct the spelling",
                )
                for name in unknown
            ]
        )
    topics = [defaults | topic if isinstance(topic, dict) else topic for topic in content["topics"]]
    return {key: value for key, value in content.items() if key != "defaults"} | {"topics": topics}


def _validated(document: Document, content: dict[str, Any]) -> Declared:
    try:
        return Declared.model_validate(content)
    except ValidationError as error:
        raise InvalidFileError(document.findings(error)) from None


def _per_topic(document: Document, declared: Declared) -> Iterator[Finding]:
    for index, topic in enumerate(declared.topics):
        where = ("topics", index)
        if not _NAME.match(topic.name):
            yield _finding(
                document,
                (*where, "name"),
                f"name {topic.name}",
                "names are lower case, words joined by . or -",
                "Rename it",
            )
        if (topic.schema_name is None) != (topic.compatibility is None):
            yield _finding(
                document,
                where,
                topic.name,
                "schema and compatibility go together",
                "Give both, or neither for a topic without a schema",
            )
        if topic.compacted == (topic.retention_days is not None):
            yield _finding(
                document,
                where,
                topic.name,
                "a topic either is compacted or has retention_days",
                "Give one of them; retention_days: -1 keeps for ever",
            )
        if topic.min_insync_replicas > topic.replication:
            yield _finding(
                document,
                (*where, "min_insync_replicas"),
                topic.name,
                "more replicas in sync than replicas can never be reached",
                "Lower min_insync_replicas or raise replication",
            )


def _together(document: Document, declared: Declared) -> Iterator[Finding]:
    first: dict[str, int] = {}
    partitions = declared.inputs[0].partitions if declared.inputs else 0
    for index, topic in enumerate(declared.topics):
        where = ("topics", index)
        if first.setdefault(topic.name, index) != index:
            line = document.line(("topics", first[topic.name], "name"))
            why = f"declared before in line {line}"
            yield _finding(document, (*where, "name"), topic.name, why, "Remove one of the two")
        if topic.input and topic.partitions != partitions:
            why = f"inputs share one partition count, {declared.inputs[0].name} has {partitions}"
            remedy = f"Set partitions: {partitions}"
            yield _finding(document, (*where, "partitions"), topic.name, why, remedy)
    for position, name in enumerate(declared.retired):
        if name in first:
            why = "declared and retired at once"
            yield _finding(document, ("retired", position), name, why, "Remove one of the two")


def _finding(
    document: Document, where: tuple[str | int, ...], what: str, why: str, remedy: str
) -> Finding:
    return Finding(document.file, document.line(where), what, why, remedy)
