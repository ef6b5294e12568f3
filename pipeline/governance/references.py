"""Whose a reference is: bindings, and the claims that wait for one.

A reference is an entity of its own, under whose key claims wait that know nothing better. Who knows
both names tells it by a link. The binding in force when a claim happened counts, for numbers are
used again. Must never judge what a claim says.
"""

from __future__ import annotations

from typing import Final, NamedTuple

from pipeline.governance.claims import Claim, Reference
from pipeline.governance.entity import Bound, Entity
from pipeline.governance.identity import REFERENCE, parse_key, reference_key
from pipeline.governance.policy import Platform, Policy
from pipeline.governance.reasons import Reason

EVENT: Final = "EVENT"
"""Kind of the reference that an event id is, scoped by its platform."""
BINDINGS_MAX: Final = 50
"""References that one entity may be known by, and entities that may claim one reference."""


class Binding(NamedTuple):
    """A reference of an entity, and the time for which it holds, ms UTC; None: it goes on."""

    reference: str
    since: int
    until: int | None


def note(entity: Entity, claim: Claim, platform: Platform) -> None:
    """Learn the other names that a claim gives its entity, if its platform may bind them.

    Args:
        entity: changed in place.
        claim: names an entity, or a reference that has other names itself.
        platform: who speaks.

    """
    for reference in claim.body["references"]:
        kind, scope = reference["kind"], reference["scope"]
        allowed = kind in platform.binds or f"{kind}:{scope}" in platform.binds
        if not allowed or not reference["value"].strip():
            continue
        key = key_of(claim.tenant, reference)
        known = entity.binds.get(key)
        if key == entity.key or (known is None and len(entity.binds) >= BINDINGS_MAX):
            continue
        since = min(claim.body["occurred"], claim.origin.received)
        if known is None or since < known:
            entity.binds[key] = since


def key_of(tenant: str, reference: Reference) -> str:
    """Key of a reference as a platform writes it."""
    return reference_key(tenant, reference["kind"], reference["scope"], reference["value"].strip())


def event_key(claim: Claim) -> str:
    """Key of the reference that a claim's event id is."""
    return reference_key(claim.tenant, EVENT, claim.body["platform"], claim.body["event_id"])


def news(policy: Policy, entity: Entity, closed: int | None) -> list[Binding]:
    """Bindings that have yet to be told; from now on they have been.

    Args:
        policy: says how long references outlive what they name.
        entity: changed in place.
        closed: since when nothing more is expected of it, ms UTC.

    """
    until = None if closed is None else closed + policy.references.lingers_ms
    found = []
    for key, since in entity.binds.items():
        if entity.bound.get(key) != (since, until):
            entity.bound[key] = (since, until)
            found.append(Binding(key, since, until))
    return found


def hear_binding(
    entity: Entity, source: str, seq: int, since: int | None, until: int | None
) -> Reason:
    """Take over a binding, once and in order.

    Args:
        entity: the reference, changed in place.
        source: key of what it names.
        seq: of the link, as its source counts.
        since: from when it holds, ms UTC.
        until: until when; None: it goes on.

    """
    known = entity.bindings.get(source)
    if known is not None and seq <= known.seq:
        return Reason.LINK_REPEATED
    if known is None and len(entity.bindings) >= BINDINGS_MAX:
        return Reason.LINKS_FULL
    entity.bindings[source] = Bound(seq, since or 0, until)
    return Reason.LINK_APPLIED


def owner_of(policy: Policy, entity: Entity, claim: Claim) -> str | Reason:
    """Key of what a reference named when a claim happened, or what the claim has to wait for.

    An entity goes before another reference, a binding in force before one that begins soon after.
    Of two that overlap, the later one counts if it came so much later that the number was used
    again; else nobody can tell.
    """
    rules = policy.references
    at = min(claim.body["occurred"], claim.origin.received)
    timeless = entity.name.id.startswith(f"{EVENT}:")
    force: list[tuple[int, str]] = []
    soon: list[tuple[int, str]] = []
    for source, bound in entity.bindings.items():
        until = bound.since + rules.valid_ms if bound.until is None else bound.until
        if timeless or bound.since <= at < until:
            force.append((bound.since, source))
        elif bound.since - rules.early_ms <= at < bound.since:
            soon.append((bound.since, source))
    found = force or soon
    named = [item for item in found if parse_key(item[1]).type != REFERENCE]
    found = sorted(named or found)
    if not found:
        return Reason.UNCORRELATED
    if len(found) > 1 and found[-1][0] - found[-2][0] < rules.reused_after_ms:
        return Reason.REFERENCE_CONFLICT
    return found[-1][1]
