"""What is wrong with rules of ownership that are each well formed: some never decide anything, some
name a deputy that could never speak.

Must never change a bundle, nor judge who ought to own what.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from datetime import datetime

from pipeline.contract.bundle import Bundle, Deputy, LoadedBundle, PlatformModel, Rule
from pipeline.contract.yaml_lines import Finding

OWNERSHIP = "ownership.yaml"
Means = Mapping[str, frozenset[str]]
"""Event types that a dialect has a code for, by its name."""


def findings(loaded: LoadedBundle) -> list[Finding]:
    """Rules that never decide, and deputies that never speak."""
    means = meanings(loaded.bundle)
    found: list[Finding] = []
    for position, rule in enumerate(loaded.bundle.rules):
        found += _never_decides(loaded, position, rule)
        found += _deputies(loaded, position, rule, means)
    return found


def meanings(bundle: Bundle) -> Means:
    """What each dialect can say, with what it extends; an estimate may be of another event type."""
    dialects = {row.dialect: row for row in bundle.dialects}
    estimates = {row.name: row.estimate_as for row in bundle.event_types if row.estimate_as}
    found = {}
    for name in dialects:
        said: set[str] = set()
        at: str | None = name
        seen: set[str] = set()
        while at in dialects and at not in seen:
            seen.add(at)
            for meaning in dialects[at].codes.values():
                said |= (
                    {meaning} if isinstance(meaning, str) else {case.event_type for case in meaning}
                )
            at = dialects[at].extends
        found[name] = frozenset(said | {estimates[kind] for kind in said if kind in estimates})
    return found


def covered(bundle: Bundle, position: int) -> str:
    """Name of a rule before this one that has all of it, from the same day on; empty: none has.

    One that begins later is no repetition: it is a hand-over whose first rule has not been ended.
    """
    rule = bundle.rules[position]
    if not (rule.tenants and rule.event_types and rule.regions):
        return ""
    for other in bundle.rules[:position]:
        if (
            _within(_named(rule.tenants, bundle.heading.tenants), other.tenants)
            and set(rule.event_types) <= set(other.event_types)
            and _within(_named(rule.regions, bundle.heading.regions), other.regions)
            and _during(rule.from_, rule.until, other)
        ):
            return other.rule
    return ""


def _named(given: list[str] | str, known: Mapping[str, object]) -> set[str]:
    return set(known) if isinstance(given, str) else set(given)


def _within(named: set[str], other: list[str] | str) -> bool:
    return isinstance(other, str) or named <= set(other)


def _during(begin: datetime, end: datetime | None, other: Rule) -> bool:
    ends_later = other.until is None or (end is not None and end <= other.until)
    return other.from_ == begin and ends_later


def _never_decides(loaded: LoadedBundle, position: int, rule: Rule) -> Iterator[Finding]:
    bundle, at = loaded.bundle, ("rules", position)
    for field, given in (
        ("tenants", rule.tenants),
        ("event_types", rule.event_types),
        ("regions", rule.regions),
    ):
        if not given:
            yield loaded.finding(
                OWNERSHIP,
                (*at, field),
                rule.rule,
                f"it never decides anything: {field} is empty",
                "Name some, or remove the rule",
            )
    other = covered(bundle, position)
    if other:
        yield loaded.finding(
            OWNERSHIP,
            at,
            rule.rule,
            f"it never decides anything: rule {other} has all of it, for all its time",
            "Remove one of them, or give them different tenants, event types or regions",
        )
    regions = [] if isinstance(rule.regions, str) else rule.regions
    for region in regions:
        if bundle.heading.regions.get(region) == [] and not any(
            site.region == region for site in bundle.sites
        ):
            yield loaded.finding(
                OWNERSHIP,
                (*at, "regions"),
                region,
                "nothing can happen there: the region has no country and no site",
                "Give it countries in bundle.yaml, or sites in sites.yaml",
            )


def _mute(platform: PlatformModel, rule: Rule, means: Means) -> bool:
    return platform.dialect in means and means[platform.dialect].isdisjoint(rule.event_types)


def _deputies(loaded: LoadedBundle, position: int, rule: Rule, means: Means) -> Iterator[Finding]:
    """Deputies that could never stand in: not for that tenant, in that dialect, at that rank."""
    bundle = loaded.bundle
    tenants = _named(rule.tenants, bundle.heading.tenants)
    ranks: dict[str, int] = {}
    for number, deputy in enumerate(rule.deputies):
        name = deputy.platform or f"role {deputy.role}"
        named = [row for row in bundle.platforms if _is(row, deputy)]
        why, remedy = _why_never(rule, deputy, named, tenants, means)
        places = [ranks[row.name] for row in named if row.name in ranks]
        if deputy.platform is not None and deputy.role is not None:
            continue  # told already: it is named in no clear way
        if not why and named and len(places) == len(named):
            why = f"it stands in at rank {min(places)} already"
            remedy = "Remove one of the two"
        if why:
            location = ("rules", position, "deputies", number)
            yield loaded.finding(OWNERSHIP, location, name, f"it could never speak: {why}", remedy)
        for row in named:
            ranks.setdefault(row.name, number + 1)


def _is(platform: PlatformModel, deputy: Deputy) -> bool:
    return platform.name == deputy.platform or platform.role == deputy.role


def _why_never(
    rule: Rule,
    deputy: Deputy,
    named: list[PlatformModel],
    tenants: set[str],
    means: Means,
) -> tuple[str, str]:
    """Why nobody whom a deputy names could ever stand in, and what to do; empty: somebody could."""
    speaks = [row for row in named if tenants & {row.tenant, *row.accounts.values()}]
    if deputy.platform == rule.owner:
        return "it is the owner", "Name another platform"
    if deputy.role is not None:
        speaks = [row for row in speaks if row.name != rule.owner]
        if not speaks:
            whom = f"no {deputy.role} but the owner" if named else f"no {deputy.role}"
            why = f"{whom} speaks for {', '.join(sorted(tenants))}"
            return why, "Give a platform of that role a tenant of the rule, or remove it"
    # A platform that never speaks for a tenant of the rule is told as that
    if speaks and all(_mute(row, rule, means) for row in speaks):
        dialects = ", ".join(sorted({row.dialect for row in speaks}))
        why = f"dialect {dialects} has no code for any of the rule's event types"
        return why, f"Map a code in dialects/{speaks[0].dialect}.yaml, or remove the deputy"
    return "", ""
