"""Which platforms are held back, where, since when and by whom; and how to change that.

What is in force is told by the governor's own state, who wanted it by the control topic, what the
brake did by the alerts. Must never hold a platform back itself.
"""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from typing import Any, Final, NamedTuple

from pipeline.contract import names
from pipeline.contract.bundle import Bundle
from pipeline.governance.alerts import AlertKind
from pipeline.governance.reasons import Reason
from pipeline.governance.vocabulary import ControlKind
from pipeline.operations import steering
from pipeline.operations.proof.evidence import Evidence

Record = dict[str, Any]
UNSEEN = frozenset({Reason.PLATFORM_SUSPENDED.value, Reason.PLATFORM_BRAKED.value})
"""Why a claim is held before anybody has looked at what it says."""
AHEAD_MS_MAX: Final = 60_000
"""How far a clock may run ahead of ours that says up to when a platform is complete."""


class Waiting(NamedTuple):
    """A platform's claims that are held in a partition because it is held back."""

    claims: int
    first_deadline_ms: int | None
    """When the first of them goes to the dead letter, unless the platform is released before."""


class Trusted(NamedTuple):
    """What one partition's state says of the platforms; times ms UTC."""

    partition: int
    policy_version: str
    held_back: Mapping[str, str]
    """Reason by platform."""
    complete_to: Mapping[str, int]
    """Up to when each platform has told everything, as far as it says so."""
    waiting: Mapping[str, Waiting]


class HeldBack(NamedTuple):
    """A platform that is held back in one partition."""

    platform: str
    partition: int
    reason: str
    since_ms: int | None
    """None: the record that tells it has gone with its topic's retention."""
    by: str
    why: str
    claims: int
    first_deadline_ms: int | None


class _Told(NamedTuple):
    since_ms: int
    by: str
    why: str


def held_back(evidence: Evidence, partitions: Sequence[Trusted]) -> list[HeldBack]:
    """Every platform that is held back, partition by partition.

    Raises:
        UnreachableError: Kafka or the registry is away.

    """
    asked = {name for trusted in partitions for name in trusted.held_back}
    if not asked:
        return []
    suspended, braked = _suspended(evidence, asked), _braked(evidence, asked)
    rows = []
    for trusted in partitions:
        for name, reason in trusted.held_back.items():
            place = trusted.partition, name
            told = (suspended if reason == Reason.PLATFORM_SUSPENDED else braked).get(place)
            waiting = trusted.waiting.get(name, Waiting(0, None))
            rows.append(
                HeldBack(
                    name,
                    trusted.partition,
                    reason,
                    None if told is None else told.since_ms,
                    "" if told is None else told.by,
                    "" if told is None else told.why,
                    *waiting,
                )
            )
    return sorted(rows)


def _suspended(evidence: Evidence, asked: Collection[str]) -> dict[tuple[int, str], _Told]:
    """Who suspended a platform that nobody has released since."""
    found: dict[tuple[int, str], _Told] = {}
    wanted = [name.encode() for name in asked]
    for number in evidence.partitions(names.CONTROL):
        span = evidence.span(names.CONTROL, number)
        for record in evidence.records(names.CONTROL, number, span):
            # Nearly all are ticks, which name no platform
            if not any(name in (record.value or b"") for name in wanted):
                continue
            control = evidence.decode(record.value, "control")
            place = number, control["platform"] or ""
            if control["kind"] == ControlKind.RELEASE:
                found.pop(place, None)
            elif control["kind"] == ControlKind.SUSPEND:
                by, why = control["issued_by"] or "", control["why"] or ""
                found.setdefault(place, _Told(record.timestamp_ms, by, why))
    return found


def _braked(evidence: Evidence, asked: Collection[str]) -> dict[tuple[int, str], _Told]:
    """When the brake was last pulled, and what the last straw was."""
    found: dict[tuple[int, str], _Told] = {}
    for number in evidence.partitions(names.ALERTS):
        span = evidence.span(names.ALERTS, number)
        for record in evidence.records(names.ALERTS, number, span):
            alert = evidence.decode(record.value, "alert")
            if alert["kind"] == AlertKind.DEAD_LETTER_BRAKE and alert["platform"] in asked:
                last = f"the last of many: {alert['details'].get('last', '')}"
                place = alert["partition"], alert["platform"]
                found[place] = _Told(alert["raised"], "the dead-letter brake", last)
    return found


def too_early(complete_to: int, now_ms: int) -> bool:
    """Whether nobody can know yet that a platform is complete up to then; both ms UTC."""
    return complete_to > now_ms + AHEAD_MS_MAX


def asks_for_watermarks(bundle: Bundle, name: str) -> bool:
    """Whether the policy asks up to when a platform is complete."""
    row = bundle.platform(name)
    return row is not None and row.watermarks


def changes(
    kind: ControlKind,
    platform: str,
    partitions: Sequence[Trusted],
    by: str,
    why: str,
    complete_to: int | None = None,
) -> list[Record]:
    """Control records for the partitions in which there is something to change.

    Args:
        kind: SUSPEND, RELEASE or WATERMARK.
        platform: which one.
        partitions: as they are.
        by: who wants it.
        why: for the record.
        complete_to: WATERMARK: up to when the platform has told everything, ms UTC.

    """

    def due(trusted: Trusted) -> bool:
        reason = trusted.held_back.get(platform)
        if kind == ControlKind.SUSPEND:
            return reason != Reason.PLATFORM_SUSPENDED
        if kind == ControlKind.RELEASE:
            return reason is not None
        return trusted.complete_to.get(platform, 0) < (complete_to or 0)

    return [
        steering.control(kind, item.partition, by, why, platform=platform, complete_to=complete_to)
        for item in partitions
        if due(item)
    ]
