"""What a person should look at: the closed list of alerts, and when governance raises them.

An alert decides nothing: what it is about has been decided, or waits, all the same. Its id is the
same each time for one cause, so that readers upsert it. Must never change a decision.
"""

from __future__ import annotations

import uuid
from collections.abc import Mapping
from enum import StrEnum
from typing import Any, Final, NamedTuple

from pipeline.governance.entity import Entity, Occurrence
from pipeline.governance.identity import NAMESPACE
from pipeline.governance.policy import EventType, Policy
from pipeline.governance.vocabulary import Action, Flag

Record = dict[str, Any]


class Severity(StrEnum):
    """How bad it is."""

    INFO = "INFO"
    WARNING = "WARNING"
    CRITICAL = "CRITICAL"


class AlertKind(StrEnum):
    """Every alert that governance can raise."""

    CANCEL_AFTER_EXECUTION = "cancel_after_execution"
    EXECUTED_AFTER_CANCEL = "executed_after_cancel"
    REFUSED_AFTER_DELIVERY = "refused_after_delivery"
    BUILT_ON_RETRACTED = "built_on_retracted"
    REFERENCE_CONFLICT = "reference_conflict"
    DEAD_LETTER_BRAKE = "dead_letter_brake"
    PLATFORM_SUSPENDED = "platform_suspended"
    PLATFORM_RELEASED = "platform_released"


class AlertMeaning(NamedTuple):
    """What an alert says to a person."""

    severity: Severity
    summary: str
    remedy: str


ALERTS: Final[dict[AlertKind, AlertMeaning]] = {
    AlertKind.CANCEL_AFTER_EXECUTION: AlertMeaning(
        Severity.WARNING,
        "Cancelled after work on it had begun",
        "Stop what can be stopped, or take the cancellation back",
    ),
    AlertKind.EXECUTED_AFTER_CANCEL: AlertMeaning(
        Severity.WARNING,
        "Goods moved on after the cancellation",
        "Ask who moved them; billing waits for your release",
    ),
    AlertKind.REFUSED_AFTER_DELIVERY: AlertMeaning(
        Severity.WARNING,
        "Refused at a stop where it stands as delivered",
        "Ask the carrier which is right; have the wrong one taken back by who said it",
    ),
    AlertKind.BUILT_ON_RETRACTED: AlertMeaning(
        Severity.WARNING,
        "A milestone was taken back on which later ones were built",
        "See whether the later ones are right; have the wrong ones taken back",
    ),
    AlertKind.REFERENCE_CONFLICT: AlertMeaning(
        Severity.WARNING,
        "Two entities claim one reference for the same time",
        "Have the platform that is wrong send its reference anew; claims wait meanwhile",
    ),
    AlertKind.DEAD_LETTER_BRAKE: AlertMeaning(
        Severity.CRITICAL,
        "Most of what a platform sends can't be governed: its input is paused",
        "See `milepost dead-letters list`, repair, then `milepost platforms release`",
    ),
    AlertKind.PLATFORM_SUSPENDED: AlertMeaning(
        Severity.WARNING,
        "A platform is not trusted at present: its claims are held",
        "`milepost platforms release` lets them be judged",
    ),
    AlertKind.PLATFORM_RELEASED: AlertMeaning(
        Severity.INFO,
        "A platform is trusted again: what waited is judged",
        "",
    ),
}


def alert(
    kind: AlertKind,
    at: int,
    *,
    entity: Entity | None = None,
    platform: str | None = None,
    partition: int | None = None,
    about: str = "",
    details: Mapping[str, str] | None = None,
) -> Record:
    """An alert as `schemas/alert.avsc` has it.

    Args:
        kind: which one.
        at: when its cause came in, ms UTC.
        entity: whom it is about, if it is about one.
        platform: which platform, if it is about one.
        partition: where, if it is about a partition.
        about: tells causes apart that are about the same entity.
        details: more, as texts.

    """
    meaning = ALERTS[kind]
    key = None if entity is None else entity.key
    name = f"alert|{kind}|{key or ''}|{platform or ''}|{partition}|{about}"
    return {
        "alert_id": str(uuid.uuid5(NAMESPACE, name)),
        "kind": kind.value,
        "severity": meaning.severity.value,
        "raised": at,
        "tenant": None if entity is None else entity.name.tenant,
        "entity": key,
        "platform": platform,
        "partition": partition,
        "summary": meaning.summary,
        "remedy": meaning.remedy,
        "details": dict(details or {}),
    }


def on_revision(
    policy: Policy, entity: Entity, occurrence: Occurrence, kind: EventType, revision: Record
) -> list[Record]:
    """Alerts that a new revision gives cause for.

    Args:
        policy: the bundle in force.
        entity: already as the revision leaves it.
        occurrence: the same.
        kind: its event type.
        revision: the approved record.

    """
    found: list[Record] = []
    at, name = revision["received"], occurrence.milestone_id

    def add(raised: AlertKind, **details: str) -> None:
        more = {"milestone": kind.name, **details}
        found.append(alert(raised, at, entity=entity, about=name, details=more))

    if revision["action"] == Action.RETRACT:
        built = sorted(
            other
            for other, count in entity.standing.items()
            if count > 0 and kind.name in _predecessors(policy, other)
        )
        if built and not entity.standing[kind.name]:
            add(AlertKind.BUILT_ON_RETRACTED, built=", ".join(built))
        return found
    if kind.cancels and _moved(policy, entity):
        add(AlertKind.CANCEL_AFTER_EXECUTION, status=entity.status)
    if Flag.AFTER_CANCEL.value in revision["flags"] and revision["revision"] == 1:
        add(AlertKind.EXECUTED_AFTER_CANCEL)
    if kind.contests:
        place = occurrence.discriminator.partition("@")[0]
        other = entity.occurrences.get(f"{kind.contests}|{place}")
        if other is not None and other.stands and other.published <= occurrence.published:
            add(AlertKind.REFUSED_AFTER_DELIVERY, contests=kind.contests, stop=place)
    return found


def on_cancel(policy: Policy, entity: Entity, order: str, at: int) -> list[Record]:
    """Alert that an order was cancelled whose shipment is on its way."""
    if not _moved(policy, entity):
        return []
    kind = AlertKind.CANCEL_AFTER_EXECUTION
    details = {"order": order, "status": entity.status}
    return [alert(kind, at, entity=entity, about=order, details=details)]


def _predecessors(policy: Policy, name: str) -> tuple[str, ...]:
    kind = policy.catalogue.get(name)
    return () if kind is None else kind.predecessors


def _moved(policy: Policy, entity: Entity) -> bool:
    """Whether something physical stands."""
    return any(
        count > 0 and name in policy.catalogue and policy.catalogue[name].physical
        for name, count in entity.standing.items()
    )
