"""What every format hands back: claims, findings, and what a reader is told about its partner.

Must never know a format or who owns a milestone.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any, NamedTuple

from connectors.formats.findings import Finding, FindingPolicy, Position

Record = dict[str, Any]
"""A raw event as a plain dictionary, the form of `schemas/raw-event.avsc`."""

ZoneOf = Callable[[Record], str | None]
"""IANA name of the time zone at a stop (a dictionary of the schema's form), if it is known."""


def no_zone(stop: Record) -> str | None:  # noqa: ARG001  the form of `ZoneOf`
    """No stop's zone is known."""
    return None


@dataclass(frozen=True, slots=True)
class Context:
    """What a reader has to know about the partner whose document it reads."""

    platform: str
    time_zone: str | None = None
    """IANA zone of last resort, for local times at places that are not known."""
    country: str | None = None
    """ISO 3166-1 alpha-2 code for places without a country."""
    zone_of: ZoneOf = no_zone
    sets: frozenset[str] = frozenset()
    """Kinds of documents that are read from this partner; empty: all that can be."""
    policy: FindingPolicy = field(default_factory=FindingPolicy)


class Claim(NamedTuple):
    """One raw event, and where in the document it stands."""

    record: Record
    position: Position


class Reading(NamedTuple):
    """What became of a document or a part of one."""

    claims: tuple[Claim, ...]
    findings: tuple[Finding, ...]
    rejected_events: int = 0
    """Statuses that the document holds and that became no claims."""

    @property
    def complete(self) -> bool:
        """Whether nothing of it was rejected."""
        return not any(finding.action.rejects for finding in self.findings)


def raw_event(**given: Any) -> Record:
    """A raw event with every field that is not given at its default."""
    return {
        "account": None,
        "entity_type": None,
        "entity_id": None,
        "reference": None,
        "native_reason": None,
        "native_qualifier": None,
        "occurred_offset_minutes": None,
        "recorded": None,
        "sequence": None,
        "stop": None,
        "leg": None,
        "attempt": None,
        "document": None,
        "warehouse_task": None,
        "quantity": None,
        "amount": None,
        "currency": None,
        "retracts": None,
        "orders": [],
        "stops": [],
        "references": [],
        "attributes": {},
        "shipments": [],
        "stated_by": None,
        "remark": None,
        **given,
    }


def stop(**given: Any) -> Record:
    """A stop with every field that is not given at null."""
    return {
        "number": None,
        "role": None,
        "location": None,
        "name": None,
        "city": None,
        "subdivision": None,
        "country": None,
        **given,
    }
