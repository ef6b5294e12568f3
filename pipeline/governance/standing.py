"""What stands: a pure function of an occurrence's claims, the policy, the entity and the clock.

The ordering law, idempotence and re-decision follow from this shape: nothing here remembers the
order in which claims arrived. Must never publish or count anything.
"""

from __future__ import annotations

from typing import NamedTuple

from pipeline.governance.claims import Claim, Order, finer, same_time, within
from pipeline.governance.entity import Entity, Occurrence, Spoken
from pipeline.governance.policy import Authority, EventType, Policy
from pipeline.governance.reasons import Reason
from pipeline.governance.vocabulary import Assurance, Disposition


class Fate(NamedTuple):
    """What becomes of one platform's latest claim."""

    disposition: Disposition
    reason: Reason
    deadline: int | None
    rule: str


class Judgement(NamedTuple):
    """What stands of an occurrence, and the fate of each platform's latest claim."""

    winner: Spoken | None
    assurance: Assurance
    retracted: bool
    rule: str
    tolerance_ms: int
    fates: dict[str, Fate]


def hear(occurrence: Occurrence, claim: Claim, region: str | None) -> tuple[Reason | None, bool]:
    """Take a platform's claim into the occurrence.

    Args:
        occurrence: changed in place.
        claim: what the platform says.
        region: where the claim says it happened; None: it doesn't say.

    Returns:
        Why the claim changes nothing (repeated, restated, older), None if it is the platform's
        latest; and whether it took the place of a claim of other content.

    """
    name = claim.body["platform"]
    spoken = occurrence.spoken.get(name)
    if spoken is None:
        occurrence.spoken[name] = Spoken(claim, region)
        return None, False
    spoken.first_received = min(spoken.first_received, claim.origin.received)
    body, latest = claim.body, spoken.claim.body
    same = content(claim) == content(spoken.claim) and same_time(
        body["occurred"], body["occurred_precision"], spoken.occurred, spoken.precision
    )
    if body["event_id"] == latest["event_id"]:
        return (Reason.REPEATED if same else Reason.ID_REUSED), False
    if same:
        if finer(body["occurred_precision"], spoken.precision) and claim.order > spoken.barrier:
            spoken.occurred, spoken.precision = body["occurred"], body["occurred_precision"]
        spoken.order = max(spoken.order, claim.order)
        return Reason.RESTATED, False
    if claim.order < spoken.order:
        spoken.barrier = max(spoken.barrier, claim.order)
        return Reason.OLDER_THAN_CURRENT, False
    barrier, first = spoken.order, spoken.first_received
    occurrence.spoken[name] = fresh = Spoken(claim, region)
    fresh.barrier, fresh.first_received = barrier, first
    return None, True


def content(claim: Claim) -> str:
    """What a claim says besides its time, as one text; empty for most."""
    body = claim.body
    said = (
        body["retracts"],
        body["quantity"] and tuple(body["quantity"].values()),
        body["amount"],
        body["currency"],
        tuple(body["orders"]),
        tuple(tuple(stop.values()) for stop in body["stops"]),
    )
    return repr(said) if any(said) else ""


def judge(
    policy: Policy, entity: Entity, occurrence: Occurrence, kind: EventType, clock: int
) -> Judgement:
    """Decide what stands.

    The owner's latest claim, if it has spoken; else the best-ranked deputy whose silence is over.
    An owner that took its word back bars its deputies until it speaks again.
    """
    limits = policy.limits
    fates: dict[str, Fate] = {}
    owner: tuple[bool, Order] | None = None
    owner_says: tuple[Spoken, Authority] | None = None
    deputies: list[tuple[int, int, Spoken, Authority]] = []
    outsiders: list[tuple[Spoken, Authority]] = []
    for name, spoken in occurrence.spoken.items():
        region = spoken.region or entity.region
        found = authority(policy, entity, kind, spoken.claim, region)
        if isinstance(found, Reason):
            fates[name] = _unowned(found, spoken, limits.region_ms)
        elif name == found.owner:
            rank = (region == entity.region, spoken.order)
            if owner is None or rank > owner:
                owner, owner_says = rank, (spoken, found)
            fates[name] = Fate(
                Disposition.OVERRULED, Reason.NOT_OWNER_AT_OCCURRENCE, None, found.rule
            )
        elif spoken.claim.body["retracts"] is not None:
            fates[name] = Fate(Disposition.APPROVED, Reason.RETRACTED_BY_AUTHOR, None, found.rule)
        elif name in found.deputies:
            place, silence = found.deputies[name]
            deputies.append((place, spoken.first_received + silence, spoken, found))
        else:
            outsiders.append((spoken, found))
    heard = [item[2:] for item in deputies] if owner_says is None else [owner_says]
    if heard and _predecessor_missing(entity, occurrence, kind):
        for spoken, found in heard:
            fates[spoken.claim.body["platform"]] = Fate(
                Disposition.HELD,
                Reason.AWAITING_PREDECESSOR,
                spoken.first_received + limits.predecessor_ms,
                found.rule,
            )
        _overrule(fates, None, outsiders)
        return Judgement(None, Assurance.UNRECOGNISED, False, "", 0, fates)
    return _conclude(fates, owner_says, deputies, outsiders, clock)


def authority(
    policy: Policy, entity: Entity, kind: EventType, claim: Claim, region: str | None
) -> Authority | Reason:
    """The rule of ownership that applies to a claim, or why there is none."""
    rules = policy.authorities(claim.tenant, kind.name, region)
    if rules is None:
        return Reason.REGION_UNRESOLVED if region is None else Reason.UNKNOWN_REGION
    occurred = claim.body["occurred"]
    started = occurred if entity.start is None else entity.start
    for rule in rules:
        if rule.from_ms <= (occurred if rule.by_occurrence else started) < rule.until_ms:
            return rule
    return Reason.NO_OWNER_THEN


def _unowned(reason: Reason, spoken: Spoken, wait_ms: int) -> Fate:
    if reason is Reason.REGION_UNRESOLVED:
        return Fate(Disposition.HELD, reason, spoken.first_received + wait_ms, "")
    return Fate(Disposition.DEAD_LETTERED, reason, None, "")


def _predecessor_missing(entity: Entity, occurrence: Occurrence, kind: EventType) -> bool:
    return (
        kind.strict
        and occurrence.revision == 0
        and not all(entity.standing(name) for name in kind.predecessors)
    )


def _conclude(
    fates: dict[str, Fate],
    owner: tuple[Spoken, Authority] | None,
    deputies: list[tuple[int, int, Spoken, Authority]],
    outsiders: list[tuple[Spoken, Authority]],
    clock: int,
) -> Judgement:
    if owner is not None:
        spoken, rule = owner
        name = spoken.claim.body["platform"]
        waiting = [(item, found) for _, _, item, found in deputies]
        if spoken.claim.body["retracts"] is not None:
            fates[name] = Fate(Disposition.APPROVED, Reason.RETRACTED_BY_AUTHOR, None, rule.rule)
            for item, found in waiting:
                fates[item.claim.body["platform"]] = Fate(
                    Disposition.OVERRULED, Reason.OWNER_RETRACTED, None, found.rule
                )
            _overrule(fates, None, outsiders)
            return Judgement(
                spoken,
                Assurance.AUTHORITATIVE,
                True,
                rule.rule,
                rule.tolerance_ms,
                fates,
            )
        fates[name] = Fate(Disposition.APPROVED, Reason.OWNER_SPOKE, None, rule.rule)
        _overrule(fates, spoken, waiting, Reason.DIFFERS_FROM_OWNER)
        _overrule(fates, spoken, outsiders)
        return Judgement(
            spoken,
            Assurance.AUTHORITATIVE,
            False,
            rule.rule,
            rule.tolerance_ms,
            fates,
        )
    ready = [item for item in deputies if item[1] <= clock]
    best = max(ready, key=lambda item: (-item[0], item[2].order), default=None)
    winner = None if best is None else best[2]
    for _, deadline, spoken, found in deputies:
        name = spoken.claim.body["platform"]
        if spoken is winner:
            fates[name] = Fate(Disposition.PROVISIONAL, Reason.OWNER_SILENT, None, found.rule)
        elif deadline > clock:
            fates[name] = Fate(Disposition.HELD, Reason.AWAITING_OWNER, deadline, found.rule)
        else:
            _overrule(fates, winner, [(spoken, found)], Reason.DIFFERS_FROM_OWNER)
    _overrule(fates, winner, outsiders)
    rule_name, tolerance = ("", 0) if best is None else (best[3].rule, best[3].tolerance_ms)
    return Judgement(winner, Assurance.PROVISIONAL, False, rule_name, tolerance, fates)


def _overrule(
    fates: dict[str, Fate],
    winner: Spoken | None,
    others: list[tuple[Spoken, Authority]],
    otherwise: Reason = Reason.NOT_OWNER,
) -> None:
    """Corroborated, if what stands is the same within the tolerance; else overruled."""
    for spoken, rule in others:
        name = spoken.claim.body["platform"]
        if winner is not None and agrees(spoken, winner, rule.tolerance_ms):
            fates[name] = Fate(Disposition.CORROBORATED, Reason.AGREES_WITH_OWNER, None, rule.rule)
        else:
            fates[name] = Fate(Disposition.OVERRULED, otherwise, None, rule.rule)


def agrees(spoken: Spoken, winner: Spoken, tolerance_ms: int) -> bool:
    """Whether two platforms say the same, within a tolerance."""
    return (spoken.claim.body["retracts"] is None) == (
        winner.claim.body["retracts"] is None
    ) and within(spoken.occurred, spoken.precision, winner.occurred, winner.precision, tolerance_ms)
