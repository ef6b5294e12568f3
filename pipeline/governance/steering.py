"""Control records: what operators, architects and sources tell a partition.

Must never judge a raw record.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from itertools import islice

from pipeline.governance.alerts import AlertKind, alert
from pipeline.governance.facts import replan
from pipeline.governance.kernel import opened
from pipeline.governance.outputs import Record, Verdict
from pipeline.governance.policy import Policy
from pipeline.governance.reasons import Reason
from pipeline.governance.rejudging import follow_up
from pipeline.governance.settlement import Work
from pipeline.governance.vocabulary import ControlKind, Disposition

REOPENED_MAX: int = 10_000
"""Entities whose open claims are judged again at once: about a second's work."""


def take_control(
    work: Work, record: Record, written_ms: int, seq: int, policies: Mapping[str, Policy]
) -> Verdict:
    """Apply one control record.

    Args:
        work: its policy changes with an activation.
        record: the control record.
        written_ms: its append time: nobody can be complete beyond that.
        seq: its ordinal in the partition's ledger.
        policies: every bundle that an activation may name.

    """
    kind, version, name = record["kind"], record["policy_version"], record["platform"] or ""
    known = name in work.policy.platforms
    if kind == ControlKind.TICK:
        return _applied(Reason.CLOCK_TICK)
    if kind == ControlKind.ACTIVATE and version:
        if work.activated and version == work.policy.version:
            return Verdict(Disposition.IGNORED.value, Reason.POLICY_UNCHANGED.value)
        work.policy = policies[version]
        work.activated = True
        _reopen(work, work.entities.waiting(), seq)
        return _applied(Reason.POLICY_ACTIVATED)
    if kind == ControlKind.SUSPEND and known:
        work.trust.hold_back(name, Reason.PLATFORM_SUSPENDED)
        _tell_trust(work, AlertKind.PLATFORM_SUSPENDED, record)
        return _applied(Reason.PLATFORM_HELD_BACK)
    if kind == ControlKind.RELEASE and work.trust.release(name):
        _reopen(work, {*work.entities.waiting("platform_"), *work.touched}, seq)
        _tell_trust(work, AlertKind.PLATFORM_RELEASED, record)
        return _applied(Reason.PLATFORM_RELEASED)
    if kind == ControlKind.WATERMARK and known and record["complete_to"] is not None:
        complete = dict(work.time.complete)
        complete[name] = max(complete.get(name, 0), min(record["complete_to"], written_ms))
        work.time = work.time._replace(complete=complete)
        return _applied(Reason.WATERMARK_MOVED)
    if kind == ControlKind.REDECIDE and record["entities"]:
        _redecide(work, record["entities"], seq)
        return _applied(Reason.PAST_REDECIDED)
    return Verdict(Disposition.IGNORED.value, Reason.CONTROL_UNKNOWN.value)


def _applied(reason: Reason) -> Verdict:
    return Verdict(Disposition.APPLIED.value, reason.value)


def _tell_trust(work: Work, kind: AlertKind, record: Record) -> None:
    details = {"by": record["issued_by"] or "", "why": record["why"] or ""}
    name, partition = record["platform"], work.partition
    work.alerts.append(alert(kind, work.clock, platform=name, partition=partition, details=details))


def _reopen(work: Work, keys: Iterable[str], cause: int) -> None:
    """Judge the open claims of these entities again, and those that still were to be."""
    left = sorted({*work.reopening, *keys})
    work.reopening.clear()
    work.reopening.update(dict.fromkeys(left, cause))
    carry_on(work)


def carry_on(work: Work) -> None:
    """Judge a portion of the open claims again that an activation or a release left to be."""
    for key in list(islice(work.reopening, REOPENED_MAX)):
        opened(work, key)


def _redecide(work: Work, keys: Iterable[str], cause: int) -> None:
    """Decide the past of these entities again, under the bundle in force."""
    work.redeciding = True
    for key in keys:
        if key not in work.entities:
            continue
        entity = opened(work, key)
        work.touched[key] = entity
        replan(work.policy, entity)
        work.moved[key] = None
        follow_up(work, entity, cause)
    work.redeciding = False
