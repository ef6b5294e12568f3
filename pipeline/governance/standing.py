"""What stands: a pure function of an occurrence's claims, the policy, the entity and the clock.

The ordering law, idempotence and re-decision follow from this shape: nothing here remembers the
order in which platforms spoke. Must never publish or count anything.
"""

from __future__ import annotations

from pipeline.governance.claims import Claim, within
from pipeline.governance.clock import Clock
from pipeline.governance.entity import Entity, Occurrence, Spoken
from pipeline.governance.hearing import speaks
from pipeline.governance.policy import Authority, EventType, Policy
from pipeline.governance.reasons import Reason
from pipeline.governance.vocabulary import Assurance, Disposition


class Fate:
    """What becomes of one platform's latest claim."""

    __slots__ = ("deadline", "disposition", "reason", "rule")

    def __init__(
        self,
        disposition: Disposition,
        reason: Reason,
        deadline: int | None,
        rule: str,
    ) -> None:
        self.disposition = disposition
        self.reason = reason
        self.deadline = deadline
        self.rule = rule


class Judgement:
    """What stands of an occurrence, and the fate of each platform's latest claim."""

    __slots__ = ("assurance", "fates", "latest", "retracted", "rule", "tolerance_ms", "winner")

    def __init__(
        self,
        winner: Spoken | None,
        assurance: Assurance,
        rule: str,
        tolerance_ms: int,
        latest: dict[str, Spoken],
        fates: dict[str, Fate],
        *,
        retracted: bool = False,
    ) -> None:
        self.winner = winner
        self.assurance = assurance
        self.retracted = retracted
        self.rule = rule
        self.tolerance_ms = tolerance_ms
        self.latest = latest
        self.fates = fates


class _Speaker:
    """A platform's latest claim and the rule that applies to it."""

    __slots__ = ("name", "otherwise", "rule", "spoken")

    def __init__(
        self,
        name: str,
        spoken: Spoken,
        rule: Authority,
        otherwise: Reason = Reason.DIFFERS_FROM_OWNER,
    ) -> None:
        self.name = name
        self.spoken = spoken
        self.rule = rule
        self.otherwise = otherwise
        """Why it is overruled where it doesn't say what stands."""


def judge(
    policy: Policy, entity: Entity, occurrence: Occurrence, kind: EventType, clock: Clock
) -> Judgement:
    """Decide what stands.

    The owner's latest claim, if it has spoken; else the best-ranked deputy whose silence is over.
    An owner that took its word back bars its deputies until it speaks again.
    """
    latest: dict[str, Spoken] = {}
    fates: dict[str, Fate] = {}
    owners: list[_Speaker] = []
    deputies: list[_Speaker] = []
    outsiders: list[_Speaker] = []
    for name, voices in occurrence.spoken.items():
        spoken = latest[name] = speaks(voices)
        rule = authority(policy, entity, kind, spoken.claim, spoken.region)
        if isinstance(rule, Reason):
            fates[name] = Fate(Disposition.OVERRULED, rule, None, "")
        elif name == rule.owner:
            owners.append(_Speaker(name, spoken, rule))
        elif name in rule.deputies:
            deputies.append(_Speaker(name, spoken, rule))
        else:
            once = _owned_once(policy, entity, kind, name, spoken)
            reason = Reason.NOT_OWNER_AT_OCCURRENCE if once else Reason.NOT_OWNER
            outsiders.append(_Speaker(name, spoken, rule, reason))
    if not occurrence.revision and predecessor_missing(entity, kind):
        return _wait_for_predecessor(policy, latest, fates, [*owners, *deputies], outsiders)
    if not owners:
        return _without_owner(policy, occurrence, latest, fates, deputies, outsiders, clock)
    here = owners[0]
    if len(owners) > 1:
        here = max(
            owners,
            key=lambda item: (_governs(entity, kind, item), item.spoken.order, item.name),
        )
        others = [item for item in owners if item is not here]
        for item in others:
            item.otherwise = Reason.NOT_OWNER_AT_OCCURRENCE
        _overrule(fates, here.spoken, others)
    if here.spoken.retracts:
        fates[here.name] = _fate(Disposition.APPROVED, Reason.RETRACTED_BY_AUTHOR, here)
        for item in deputies:
            fates[item.name] = _fate(Disposition.OVERRULED, Reason.OWNER_RETRACTED, item)
        _overrule(fates, None, outsiders)
    else:
        fates[here.name] = _fate(Disposition.APPROVED, Reason.OWNER_SPOKE, here)
        _overrule(fates, here.spoken, deputies)
        _overrule(fates, here.spoken, outsiders)
    return Judgement(
        here.spoken,
        Assurance.AUTHORITATIVE,
        here.rule.rule,
        here.rule.tolerance_ms,
        latest,
        fates,
        retracted=here.spoken.retracts,
    )


def authority(
    policy: Policy, entity: Entity, kind: EventType, claim: Claim, region: str | None
) -> Authority | Reason:
    """The rule of ownership that applies to a claim, or why there is none.

    A plan is judged by its own time and by the region that its author last gave in one: what it
    gives to the entity can't decide who may give it.

    Args:
        policy: the bundle in force.
        entity: with its governing region and start.
        kind: what the claim is about.
        claim: the claim.
        region: where the claim says it happened; None: it doesn't say.

    """
    if region is None:
        region = _planned_region(policy, entity, claim) if kind.sets_plan else entity.region
    rules = policy.authorities(claim.tenant, kind.name, region)
    if rules is None:
        return Reason.REGION_UNRESOLVED if region is None else Reason.UNKNOWN_REGION
    occurred = claim.body["occurred"]
    started = occurred if entity.start is None or kind.sets_plan else entity.start
    follows: Authority | None = None
    for rule in reversed(rules):
        moment = occurred if rule.by_occurrence else started
        if rule.from_ms <= moment:
            return _in_force(rule, moment, follows, claim.origin.received)
        follows = rule
    return Reason.NO_OWNER_THEN


def _in_force(
    rule: Authority, moment: int, follows: Authority | None, received: int
) -> Authority | Reason:
    """The rule that had begun, unless it had ended, or its owner speaks too late of its time."""
    if follows is None or follows.from_ms != rule.until_ms:
        return rule if moment < rule.until_ms else Reason.NO_OWNER_THEN
    if rule.late is not None and received > follows.from_ms + follows.grace_ms:
        return rule.late
    return rule


def _planned_region(policy: Policy, entity: Entity, claim: Claim) -> str | None:
    """Region of a plan that names none: of its author's other plans, else of the order.

    A region in which the author may not plan says nothing.
    """
    author = claim.body["platform"]
    newest: Spoken | None = None
    for occurrence in entity.occurrences.values():
        kind = policy.catalogue.get(occurrence.event_type)
        if kind is None or not kind.sets_plan:
            continue
        for spoken in occurrence.spoken.get(author, ()):
            if spoken.region is None or (newest is not None and spoken.stated < newest.stated):
                continue
            rules = policy.authorities(claim.tenant, kind.name, spoken.region) or ()
            if any(rule.owner == author for rule in rules):
                newest = spoken
    return entity.region_by_link if newest is None else newest.region


def _governs(entity: Entity, kind: EventType, speaker: _Speaker) -> bool:
    """Whether a claim is of the entity's governing region, which goes before another's owner."""
    return not kind.sets_plan and speaker.spoken.region in {None, entity.region}


def predecessor_missing(entity: Entity, kind: EventType) -> bool:
    """Whether a strict event type has a predecessor of which nothing was ever published."""
    return kind.strict and not all(name in entity.said for name in kind.predecessors)


def _wait_for_predecessor(
    policy: Policy,
    latest: dict[str, Spoken],
    fates: dict[str, Fate],
    heard: list[_Speaker],
    outsiders: list[_Speaker],
) -> Judgement:
    for item in heard:
        if item.spoken.retracts:
            fates[item.name] = _fate(Disposition.STALE, Reason.RETRACTED_BY_AUTHOR, item)
            continue
        fates[item.name] = Fate(
            Disposition.HELD,
            Reason.AWAITING_PREDECESSOR,
            item.spoken.claim.origin.received + policy.limits.predecessor_ms,
            item.rule.rule,
        )
    _overrule(fates, None, outsiders)
    return Judgement(None, Assurance.UNRECOGNISED, "", 0, latest, fates)


def _without_owner(
    policy: Policy,
    occurrence: Occurrence,
    latest: dict[str, Spoken],
    fates: dict[str, Fate],
    deputies: list[_Speaker],
    outsiders: list[_Speaker],
    clock: Clock,
) -> Judgement:
    """The best deputy whose silence is over stands in."""
    saying = []
    for item in deputies:
        if not item.spoken.retracts:
            saying.append(item)
            continue
        stood = occurrence.stands and occurrence.platform == item.name
        disposition = Disposition.APPROVED if stood else Disposition.STALE
        fates[item.name] = _fate(disposition, Reason.RETRACTED_BY_AUTHOR, item)
    ready = [item for item in saying if _deadline(item) <= clock.of(item.rule.needs)]
    best = max(ready, key=lambda item: (-_rank(item), item.spoken.order, item.name), default=None)
    winner = None if best is None else best.spoken
    for item in saying:
        if item is best:
            fates[item.name] = _fate(Disposition.PROVISIONAL, _silence(policy, item, clock), item)
        elif item not in ready:
            fates[item.name] = Fate(
                Disposition.HELD, Reason.AWAITING_OWNER, _deadline(item), item.rule.rule
            )
        else:
            _overrule(fates, winner, [item])
    _overrule(fates, winner, outsiders)
    rule, tolerance = ("", 0) if best is None else (best.rule.rule, best.rule.tolerance_ms)
    return Judgement(winner, Assurance.PROVISIONAL, rule, tolerance, latest, fates)


def _silence(policy: Policy, speaker: _Speaker, clock: Clock) -> Reason:
    """Whether the owner kept silent, or its source may only not have reported yet."""
    owner = policy.platforms.get(speaker.rule.owner)
    if owner is None or not owner.watermarks:
        return Reason.OWNER_SILENT
    reported = clock.complete.get(owner.name, 0) + owner.watermark_every_ms
    return Reason.OWNER_SILENT if reported >= _deadline(speaker) else Reason.OWNER_SOURCE_DOWN


def _rank(speaker: _Speaker) -> int:
    return speaker.rule.deputies[speaker.name][0]


def _deadline(speaker: _Speaker) -> int:
    return speaker.spoken.first_received + speaker.rule.deputies[speaker.name][1]


def _fate(disposition: Disposition, reason: Reason, speaker: _Speaker) -> Fate:
    return Fate(disposition, reason, None, speaker.rule.rule)


def _overrule(fates: dict[str, Fate], winner: Spoken | None, others: list[_Speaker]) -> None:
    """Corroborated, if what stands is the same within the tolerance; else overruled.

    A deputy that takes back its own word contradicts nobody.
    """
    for item in others:
        if winner is not None and agrees(item.spoken, winner, item.rule.tolerance_ms):
            fates[item.name] = _fate(Disposition.CORROBORATED, Reason.AGREES_WITH_OWNER, item)
        elif item.spoken.retracts and item.otherwise is Reason.DIFFERS_FROM_OWNER:
            fates[item.name] = _fate(Disposition.STALE, Reason.RETRACTED_BY_AUTHOR, item)
        else:
            fates[item.name] = _fate(Disposition.OVERRULED, item.otherwise, item)


def _owned_once(policy: Policy, entity: Entity, kind: EventType, name: str, spoken: Spoken) -> bool:
    """Whether a platform owns the milestone here at another time."""
    region = spoken.region or entity.region
    rules = policy.authorities(spoken.claim.tenant, kind.name, region) or ()
    return any(rule.owner == name for rule in rules)


def agrees(spoken: Spoken, winner: Spoken, tolerance_ms: int) -> bool:
    """Whether two platforms say the same, within a tolerance."""
    return spoken.retracts == winner.retracts and within(
        spoken.occurred, spoken.precision, winner.occurred, winner.precision, tolerance_ms
    )
