"""How ownership differs between two bundles: who gains and loses what, where and from when.

Compares what is compiled, so that two ways to write one thing are no difference; what is the same
for many event types, places and platforms is told once. Must never judge whether a change is right.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from itertools import pairwise
from typing import Final, NamedTuple

from pipeline.contract.policy_tables import FOR_EVER_MS
from pipeline.contract.policy_words import counted, day, listed, places, span_ms
from pipeline.governance.policy import Authority, Policy

Spot = tuple[str, str, str]
"""Tenant, event type, region."""
_ORDER: Final = ("owner", "deputy", "ranks", "tolerance", "handover")
Span = tuple[int, int]


class Fact(NamedTuple):
    """One thing that differs at one spot for some time."""

    kind: str
    owner: str
    """Whose milestone it is afterwards."""
    platform: str
    """Deputy that it is about; empty: none in particular."""
    before: str
    after: str
    by_occurrence: bool


class Told(NamedTuple):
    """A difference that many spots may share."""

    kind: str
    text: str
    event_types: tuple[str, ...]
    where: tuple[tuple[str, str], ...]
    """Tenant and region."""
    gains: str = ""
    loses: str = ""
    from_ms: int | None = None
    """None: from the first rule on."""
    until_ms: int | None = None
    """None: for ever."""


def differences(before: Policy, after: Policy) -> list[Told]:
    """Every difference in who may state what."""
    regions = sorted({*before.countries.values(), *after.countries.values()})
    spans: dict[tuple[Spot, Fact], list[Span]] = {}
    starts: dict[Spot, int] = {}
    for spot in _spots(before, after):
        old, new = before.ownership.get(spot, ()), after.ownership.get(spot, ())
        if old == new:
            continue
        starts[spot] = min(rule.from_ms for rule in (*old, *new))
        for begin, end in _segments((*old, *new)):
            for fact in _facts(_at(old, begin), _at(new, begin)):
                found = spans.setdefault((spot, fact), [])
                if found and found[-1][1] == begin:
                    found[-1] = (found[-1][0], end)
                else:
                    found.append((begin, end))
    return sorted(_told(spans, starts, regions), key=lambda told: _ORDER.index(told.kind))


def _spots(before: Policy, after: Policy) -> list[Spot]:
    known = {*before.ownership, *after.ownership}
    return sorted((t, e, region) for t, e, region in known if region is not None)


def _segments(rules: tuple[Authority, ...]) -> Iterator[Span]:
    edges = sorted({edge for rule in rules for edge in (rule.from_ms, rule.until_ms)})
    yield from pairwise(edges)


def _at(rules: tuple[Authority, ...], moment: int) -> Authority | None:
    return next((rule for rule in rules if rule.from_ms <= moment < rule.until_ms), None)


def _facts(old: Authority | None, new: Authority | None) -> Iterator[Fact]:
    """What differs while two rules are in force."""
    if old is None and new is None:
        return
    owner = "" if new is None else new.owner
    by_occurrence = any(rule.by_occurrence for rule in (new or old,) if rule is not None)

    def fact(kind: str, was: str, now: str, platform: str = "") -> Fact:
        # Who may not stand in any more may not whoever the owner is
        named = "" if kind == "deputy" and not now else owner
        return Fact(kind, named, platform, was, now, by_occurrence)

    former = "" if old is None else old.owner
    if former != owner:
        yield fact("owner", former, owner)
    waited = _silences(old)
    waits = _silences(new)
    # A deputy that becomes the owner has gained more; an owner that becomes a deputy is told
    for name in sorted({*waited, *waits} - {owner}):
        if waited.get(name) != waits.get(name):
            gone = name not in waits
            yield fact("deputy", "any" if gone else waited.get(name, ""), waits.get(name, ""), name)
    if old is None or new is None:
        return
    order = [name for name in _ranked(old) if name in waits]
    now = [name for name in _ranked(new) if name in waited]
    if order != now:
        yield fact("ranks", ", ".join(order), ", ".join(now))
    if old.tolerance_ms != new.tolerance_ms:
        yield fact("tolerance", span_ms(old.tolerance_ms), span_ms(new.tolerance_ms))
    if _handover(old) != _handover(new):
        yield fact("handover", _handover(old), _handover(new))


def _silences(rule: Authority | None) -> Mapping[str, str]:
    return {} if rule is None else {n: span_ms(ms) for n, (_, ms) in rule.deputies.items()}


def _ranked(rule: Authority) -> list[str]:
    return sorted(rule.deputies, key=lambda name: (rule.deputies[name][0], name))


def _handover(rule: Authority) -> str:
    if not rule.by_occurrence:
        return "by the shipment's start"
    return f"by when it happened, grace {span_ms(rule.grace_ms)}"


def _told(
    spans: Mapping[tuple[Spot, Fact], list[Span]], starts: Mapping[Spot, int], regions: list[str]
) -> Iterator[Told]:
    """Facts grouped: spots with the same facts at the same times, then platforms."""
    spots: dict[tuple[Fact, tuple[Span, ...], bool], list[Spot]] = {}
    for (spot, fact), found in spans.items():
        whole = found == [(starts[spot], FOR_EVER_MS)]
        times = ((0, FOR_EVER_MS),) if whole else tuple(found)
        spots.setdefault((fact, times, whole), []).append(spot)
    shared: dict[tuple[Fact, tuple[Span, ...], tuple[Spot, ...]], list[str]] = {}
    for (fact, times, _), found_at in spots.items():
        anonymous = fact._replace(platform="")
        shared.setdefault((anonymous, times, tuple(found_at)), []).append(fact.platform)
    for (fact, times, alike), platforms in shared.items():
        for event_types, where in _areas(alike):
            for begin, end in times:
                named = [name for name in platforms if name]
                what = f"{counted(event_types, 'event types')} {places(where, regions)}"
                text = _sentence(fact, named, what) + _when(fact, begin, end)
                moved = fact.kind == "owner"
                yield Told(
                    fact.kind,
                    text,
                    event_types,
                    where,
                    fact.after if moved else "",
                    fact.before if moved else "",
                    begin or None,
                    None if end == FOR_EVER_MS else end,
                )


def _areas(
    spots: Sequence[Spot],
) -> Iterator[tuple[tuple[str, ...], tuple[tuple[str, str], ...]]]:
    """Spots as event types that share their tenants and regions."""
    where: dict[str, list[tuple[str, str]]] = {}
    for tenant, event_type, region in spots:
        where.setdefault(event_type, []).append((tenant, region))
    alike: dict[tuple[tuple[str, str], ...], list[str]] = {}
    for event_type, found in where.items():
        alike.setdefault(tuple(sorted(found)), []).append(event_type)
    for found_in, event_types in alike.items():
        yield tuple(event_types), found_in


def _sentence(fact: Fact, platforms: list[str], what: str) -> str:
    who = listed(platforms) if platforms else ""
    match fact.kind, bool(fact.before), bool(fact.after):
        case "owner", True, True:
            return f"{fact.after} gains {what}, which {fact.before} loses"
        case "owner", False, True:
            return f"{fact.after} gains {what}, which nobody owned"
        case "owner", _, _:
            return f"{fact.before} loses {what}, which nobody owns any more"
        case "deputy", True, True:
            silence = f"{fact.after} of {fact.owner}'s silence instead of {fact.before}"
            verb = "stands" if len(platforms) == 1 else "stand"
            return f"{who} {verb} in after {silence}: {what}"
        case "deputy", False, True:
            return f"{who} may stand in after {fact.after} of {fact.owner}'s silence: {what}"
        case "deputy", _, _:
            return f"{who} may not stand in any more: {what}"
        case "ranks", _, _:
            return f"deputies rank {fact.after} instead of {fact.before}: {what}"
        case "tolerance", _, _:
            return f"times agree within {fact.after} instead of {fact.before}: {what}"
        case _:
            return f"handed over {fact.after} instead of {fact.before}: {what}"


def _when(fact: Fact, begin: int, end: int) -> str:
    if not begin and end == FOR_EVER_MS:
        return ""
    what = "what happens" if fact.by_occurrence else "shipments that start"
    if end == FOR_EVER_MS:
        return f", for {what} from {day(begin)} on"
    return f", for {what} from {day(begin)} to {day(end)}"
