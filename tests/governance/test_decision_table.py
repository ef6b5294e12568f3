"""Who may say what, where and when: the compiled tables against the words of the rules themselves.

The interpreter here reads a bundle's rules one by one and knows nothing of the product's tables.
"""

from __future__ import annotations

import random
from datetime import UTC, datetime, timedelta

from hypothesis import given
from hypothesis import strategies as st
from test_networks import law
from worlds import HOUR_MS, START_MS

from pipeline.contract.bundle import Deputy, Rule, load_bundle
from pipeline.contract.policy_tables import compile_policy
from pipeline.governance.claims import Claim, Origin, raw_event
from pipeline.governance.entity import Entity
from pipeline.governance.reasons import Reason
from pipeline.governance.standing import authority

BUNDLE = load_bundle()
TENANTS, REGIONS = ["acme", "samples"], ["NA", "EU"]
EVENT_TYPES = ["departed", "delivered", "shipment.tendered"]
OWNERS = [platform.name for platform in BUNDLE.platforms]
MOMENTS = [START_MS + hours * HOUR_MS for hours in (-30, -6, -1, 0, 1, 6, 30)]


def at(moment):
    return datetime.fromtimestamp(moment / 1000, UTC)


def some(rnd, names):
    return rnd.sample(names, rnd.randrange(1, len(names) + 1))


def deputies(rnd):
    for _ in range(rnd.randrange(4)):
        after = timedelta(hours=rnd.randrange(1, 9))
        if rnd.randrange(2):
            yield Deputy(platform=rnd.choice(OWNERS), after=after)
        else:
            yield Deputy(role=rnd.choice(["TMS", "CARRIER", "WMS"]), after=after)


def bundle(rnd):
    """Random rules: for each combination a chain in time, often with gaps, or none at all."""
    rules = []
    for number in range(rnd.randrange(1, 5)):
        tenants = rnd.choice(["any", some(rnd, TENANTS)])
        event_types, regions = some(rnd, EVENT_TYPES), rnd.choice(["any", some(rnd, REGIONS)])
        taken = [
            rule
            for rule in rules
            if set(rule.event_types) & set(event_types)
            and all_of(rule.tenants, TENANTS) & all_of(tenants, TENANTS)
            and all_of(rule.regions, REGIONS) & all_of(regions, REGIONS)
        ]
        if taken:
            continue
        times = sorted(rnd.sample(MOMENTS, rnd.randrange(2, 5)))
        ends = rnd.randrange(2)
        for place, begin in enumerate(times[: len(times) - ends]):
            later = times[place + 1] if place + 1 < len(times) else None
            if later is not None and rnd.randrange(5) == 0:
                later -= HOUR_MS // 2
            rules.append(
                Rule(
                    **{
                        "rule": f"r{number}-{place}",
                        "tenants": tenants,
                        "event_types": event_types,
                        "regions": regions,
                        "owner": rnd.choice(OWNERS),
                        "deputies": list(deputies(rnd)),
                        "tolerance": timedelta(minutes=rnd.randrange(60)),
                        "from": at(begin),
                        "until": None if later is None else at(later),
                        "handover": rnd.choice(["by_shipment_start", "by_occurrence"]),
                        "grace": timedelta(hours=rnd.randrange(4)),
                    }
                )
            )
    return BUNDLE.model_copy(update={"rules": rules})


def all_of(named, everything):
    return set(everything if named == "any" else named)


def matching(rules, tenant, event_type, region):
    """Rules for a combination, the oldest first."""
    found = [
        rule
        for rule in rules
        if tenant in all_of(rule.tenants, TENANTS)
        and event_type in rule.event_types
        and region in all_of(rule.regions, REGIONS)
    ]
    return sorted(found, key=lambda rule: rule.from_)


def speaking(given_bundle, rule, tenant, but):
    """Rank and silence of each deputy: named or of a role, of this tenant, never the owner."""
    found = {}
    for rank, deputy in enumerate(rule.deputies, 1):
        for platform in given_bundle.platforms:
            serves = tenant == platform.tenant or tenant in platform.accounts.values()
            meant = platform.name == deputy.platform or (
                deputy.role is not None and platform.role == deputy.role
            )
            if meant and serves and platform.name != but:
                found.setdefault(platform.name, (rank, deputy.after / timedelta(milliseconds=1)))
    return found


def decided(given_bundle, tenant, event_type, region, moments):
    """Rule, owner and deputies for a claim, by the words of the semantics reference.

    Args:
        given_bundle: with its rules.
        tenant: of the claim.
        event_type: which is said.
        region: where it happened, or None.
        moments: when it happened, when the shipment started (or None), when it was received.

    """
    occurred, start, received = moments
    if region is None:
        everywhere = [matching(given_bundle.rules, tenant, event_type, name) for name in REGIONS]
        if not everywhere[0] or any(rules != everywhere[0] for rules in everywhere):
            return "region_unresolved"
        region = REGIONS[0]
    rules = matching(given_bundle.rules, tenant, event_type, region)
    if not rules:
        return "unknown_region"
    plans = event_type == "shipment.tendered"
    for rule, following in reversed(list(zip(rules, [*rules[1:], None], strict=True))):
        by_start = rule.handover == "by_shipment_start" and start is not None and not plans
        moment = at(start if by_start else occurred)
        if moment < rule.from_:
            continue
        adjoins = following is not None and rule.until == following.from_
        if rule.until is not None and not adjoins and moment >= rule.until:
            return "no_owner_then"
        owner, deputies_of = rule.owner, speaking(given_bundle, rule, tenant, rule.owner)
        late = (
            adjoins
            and following.handover == "by_occurrence"
            and following.owner != rule.owner
            and at(received) > following.from_ + following.grace
        )
        if not late:
            return rule.rule, owner, deputies_of
        others = speaking(given_bundle, following, tenant, following.owner)
        last = max((rank for rank, _ in others.values()), default=0) + 1
        waits = max(
            (wait for _, wait in others.values()),
            default=following.grace / timedelta(milliseconds=1),
        )
        return following.rule, following.owner, {owner: (last, waits), **others}
    return "no_owner_then"


@law
@given(st.integers(0, 2**40))
def test_the_tables_say_what_the_rules_say_properties(seed):
    rnd = random.Random(seed)
    given_bundle = bundle(rnd)
    policy = compile_policy(given_bundle)
    for _ in range(60):
        tenant, event_type = rnd.choice(TENANTS), rnd.choice(EVENT_TYPES)
        region = rnd.choice([*REGIONS, None])
        moments = [rnd.choice(MOMENTS) + rnd.choice((-1, 0, 1, HOUR_MS)) for _ in range(3)]
        occurred, start, received = moments
        start = moments[1] = rnd.choice((start, None))
        body = raw_event(event_id="e", platform="tms-na", occurred=occurred)
        claim = Claim(body, Origin("t", 0, 0, received), 0, b"", tenant)
        entity = Entity(f"{tenant}/shipment/S1")
        entity.start = start
        found = authority(policy, entity, policy.catalogue[event_type], claim, region)
        told = (
            found.value
            if isinstance(found, Reason)
            else (found.rule, found.owner, dict(found.deputies))
        )
        assert told == decided(given_bundle, tenant, event_type, region, moments)
