"""What is wrong with a bundle although every file of it can be read.

The proof of single ownership, unknown names, overlaps in time. Must never change a bundle.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Iterator
from itertools import pairwise

from pipeline.contract import policy_lint_rules, policy_lint_words
from pipeline.contract.bundle import Bundle, LoadedBundle, Rule
from pipeline.contract.topics import Declared
from pipeline.contract.yaml_lines import Finding
from pipeline.governance.policy import IGNORED

OWNERSHIP, CATALOGUE, PLATFORMS = "ownership.yaml", "catalogue.yaml", "platforms.yaml"
SITES, BUNDLE, CLASSES = "sites.yaml", "bundle.yaml", "sync-classes.yaml"


def lint(loaded: LoadedBundle, declared: Declared) -> list[Finding]:
    """Everything a person should put right before the bundle is published.

    Args:
        loaded: the bundle, with its lines.
        declared: the topics that platforms may write to.

    """
    return [
        *_twice(loaded),
        *_catalogue(loaded),
        *_platforms(loaded, declared),
        *_sites(loaded),
        *_dialects(loaded),
        *policy_lint_words.findings(loaded),
        *_rules(loaded),
        *policy_lint_rules.findings(loaded),
        *_ownership(loaded),
        *_classes(loaded, declared),
    ]


def _twice(loaded: LoadedBundle) -> Iterator[Finding]:
    bundle = loaded.bundle
    lists: list[tuple[str, str, list[str]]] = [
        (CATALOGUE, "event_types", [row.name for row in bundle.event_types]),
        (PLATFORMS, "platforms", [row.name for row in bundle.platforms]),
        (SITES, "sites", [row.id for row in bundle.sites]),
        (OWNERSHIP, "rules", [row.rule for row in bundle.rules]),
        (CLASSES, "sync_classes", [row.name for row in bundle.sync_classes]),
    ]
    for file, section, names in lists:
        count = Counter(names)
        for position, name in enumerate(names):
            if count[name] > 1 and name in names[:position]:
                yield loaded.finding(
                    file,
                    (section, position),
                    name,
                    "the name is used twice",
                    "Rename or remove one of them",
                )


def _unknown(
    loaded: LoadedBundle,
    place: tuple[str, tuple[str | int, ...]],
    named: Iterable[str],
    known: Iterable[str],
    what: str,
    remedy: str,
) -> Iterator[Finding]:
    file, location = place
    for name in sorted(set(named) - set(known)):
        yield loaded.finding(file, location, name, f"no such {what}", remedy)


def _catalogue(loaded: LoadedBundle) -> Iterator[Finding]:
    known = [row.name for row in loaded.bundle.event_types]
    for position, row in enumerate(loaded.bundle.event_types):
        for field in ("predecessors", "closed_by"):
            place = (CATALOGUE, ("event_types", position, field))
            named = getattr(row, field)
            yield from _unknown(loaded, place, named, known, "event type", "Correct the name")
        place = (CATALOGUE, ("event_types", position, "estimate_as"))
        named = [row.estimate_as] if row.estimate_as else []
        yield from _unknown(loaded, place, named, known, "event type", "Correct the name")
        location = ("event_types", position)
        if bool(row.rank) != bool(row.status):
            yield loaded.finding(
                CATALOGUE,
                location,
                row.name,
                "rank and status belong together",
                "Give both or neither",
            )
        if row.strict and not row.predecessors:
            yield loaded.finding(
                CATALOGUE,
                location,
                row.name,
                "strict, but there is nothing it waits for",
                "Name its predecessors",
            )


def _platforms(loaded: LoadedBundle, declared: Declared) -> Iterator[Finding]:
    bundle = loaded.bundle
    inputs = [topic.name for topic in declared.inputs if not topic.internal]
    dialects = [row.dialect for row in bundle.dialects]
    for position, row in enumerate(bundle.platforms):
        at = ("platforms", position)
        yield from _unknown(
            loaded,
            (PLATFORMS, (*at, "topics")),
            row.topics,
            inputs,
            "raw topic",
            "Declare it in topics.yaml or correct the name",
        )
        yield from _unknown(
            loaded,
            (PLATFORMS, (*at, "dialect")),
            [row.dialect],
            dialects,
            "dialect",
            f"Write dialects/{row.dialect}.yaml or correct the name",
        )
        tenants = [*row.accounts.values(), *([row.tenant] if row.tenant else [])]
        yield from _unknown(
            loaded,
            (PLATFORMS, at),
            tenants,
            bundle.heading.tenants,
            "tenant",
            "Add it to bundle.yaml or correct the name",
        )
        if bool(row.tenant) == bool(row.accounts):
            yield loaded.finding(
                PLATFORMS,
                at,
                row.name,
                "whose events it sends must be known in exactly one way",
                "Give either tenant or accounts",
            )


def _sites(loaded: LoadedBundle) -> Iterator[Finding]:
    heading = loaded.bundle.heading
    countries = {country for listed in heading.regions.values() for country in listed}
    owners: dict[tuple[str, str, str], str] = {}
    for position, row in enumerate(loaded.bundle.sites):
        at = ("sites", position)
        if row.region is None and row.country not in countries:
            yield loaded.finding(
                SITES,
                at,
                row.id,
                f"country {row.country} belongs to no region",
                "Add it to a region of bundle.yaml, or give the site a region",
            )
        tenants = [row.tenant] if row.tenant else []
        known = heading.tenants
        yield from _unknown(loaded, (SITES, at), tenants, known, "tenant", "Correct the name")
        for listed, codes in row.codes.items():
            for code in codes:
                meant = {
                    owners.setdefault((tenant, listed, code.upper()), row.id)
                    for tenant in tenants or heading.tenants
                }
                for other in sorted(meant - {row.id}):
                    yield loaded.finding(
                        SITES,
                        (*at, "codes"),
                        f"code {code} of list {listed!r}",
                        f"it means {other} already",
                        "A code means one site of a tenant",
                    )


def _dialects(loaded: LoadedBundle) -> Iterator[Finding]:
    bundle = loaded.bundle
    types = {row.name for row in bundle.event_types} | {IGNORED}
    names = {row.dialect for row in bundle.dialects}
    for dialect in bundle.dialects:
        file = next(
            file
            for file, document in loaded.documents.items()
            if file.startswith("dialects/") and document.content["dialect"] == dialect.dialect
        )
        base = [dialect.extends] if dialect.extends else []
        place: tuple[str, tuple[str | int, ...]] = (file, ("extends",))
        yield from _unknown(loaded, place, base, names, "dialect", "Correct the name")
        if _extends_itself(bundle, dialect.dialect):
            yield loaded.finding(
                file,
                ("extends",),
                dialect.dialect,
                "by what it extends it extends itself",
                "Break the circle",
            )
        for status, meaning in dialect.codes.items():
            meant = [meaning] if isinstance(meaning, str) else [case.event_type for case in meaning]
            place = (file, ("codes", status))
            yield from _unknown(loaded, place, meant, types, "event type", "Correct the name")


def _extends_itself(bundle: Bundle, name: str) -> bool:
    bases = {row.dialect: row.extends for row in bundle.dialects}
    seen: set[str] = set()
    at = bases.get(name)
    while at is not None and at not in seen:
        if at == name:
            return True
        seen.add(at)
        at = bases.get(at)
    return False


def _silent(loaded: LoadedBundle, position: int, rule: Rule) -> Iterator[Finding]:
    """Owners and deputies that never speak for a tenant of the rule."""
    heading = loaded.bundle.heading
    speakers = {
        row.name: {row.tenant, *row.accounts.values()} - {None} for row in loaded.bundle.platforms
    }
    named = [("owner", rule.owner)]
    named += [("deputies", deputy.platform) for deputy in rule.deputies if deputy.platform]
    for tenant in heading.tenants if rule.tenants == "any" else rule.tenants:
        for field, platform in named:
            if platform in speakers and tenant not in speakers[platform]:
                yield loaded.finding(
                    OWNERSHIP,
                    ("rules", position, field),
                    platform,
                    f"it never speaks for tenant {tenant}",
                    "Name a platform of that tenant, or give this one an account of it",
                )


def _rules(loaded: LoadedBundle) -> Iterator[Finding]:
    bundle = loaded.bundle
    platforms = [row.name for row in bundle.platforms]
    types = [row.name for row in bundle.event_types]
    for position, rule in enumerate(bundle.rules):
        at = ("rules", position)
        deputies = [deputy.platform for deputy in rule.deputies if deputy.platform]
        wanted: list[tuple[str, list[str], Iterable[str], str]] = [
            ("owner", [rule.owner], platforms, "platform"),
            ("deputies", deputies, platforms, "platform"),
            ("event_types", rule.event_types, types, "event type"),
        ]
        if rule.tenants != "any":
            wanted.append(("tenants", list(rule.tenants), bundle.heading.tenants, "tenant"))
        if rule.regions != "any":
            wanted.append(("regions", list(rule.regions), bundle.heading.regions, "region"))
        for field, named, known, what in wanted:
            place = (OWNERSHIP, (*at, field))
            yield from _unknown(loaded, place, named, known, what, "Correct the name")
        yield from _silent(loaded, position, rule)
        if rule.until is not None and rule.until <= rule.from_:
            yield loaded.finding(
                OWNERSHIP, (*at, "until"), rule.rule, "ends before it begins", "Correct the time"
            )
        for number, deputy in enumerate(rule.deputies):
            if (deputy.platform is None) == (deputy.role is None):
                yield loaded.finding(
                    OWNERSHIP,
                    (*at, "deputies", number),
                    rule.rule,
                    "a deputy is named by platform or by role",
                    "Give exactly one of them",
                )


def _covers(rule: Rule, tenant: str, event_type: str, region: str) -> bool:
    return (
        (rule.tenants == "any" or tenant in rule.tenants)
        and event_type in rule.event_types
        and (rule.regions == "any" or region in rule.regions)
    )


def _ownership(loaded: LoadedBundle) -> Iterator[Finding]:
    """Exactly one owner for every combination, from the first rule's start for ever."""
    bundle = loaded.bundle
    idle = {n for n in range(len(bundle.rules)) if policy_lint_rules.covered(bundle, n)}
    for tenant in bundle.heading.tenants:
        for row in bundle.event_types:
            for region in bundle.heading.regions:
                rules = sorted(
                    (
                        (rule.from_, position, rule)
                        for position, rule in enumerate(bundle.rules)
                        if position not in idle and _covers(rule, tenant, row.name, region)
                    ),
                    key=lambda item: item[:2],
                )
                what = f"{row.name} of tenant {tenant} in {region}"
                if not rules:
                    yield loaded.finding(
                        OWNERSHIP,
                        ("rules",),
                        what,
                        "nobody owns it",
                        "Add it to a rule: there is no default owner",
                    )
                yield from _timeline(loaded, what, [item[1:] for item in rules])


def _timeline(loaded: LoadedBundle, what: str, rules: list[tuple[int, Rule]]) -> Iterator[Finding]:
    for (_, before), (position, after) in pairwise(rules):
        location = ("rules", position, "from")
        if before.until is None or before.until > after.from_:
            yield loaded.finding(
                OWNERSHIP,
                location,
                what,
                f"rules {before.rule} and {after.rule} overlap in time",
                f"End {before.rule} with `until: {after.from_.isoformat()}`",
            )
        elif before.until < after.from_:
            yield loaded.finding(
                OWNERSHIP,
                location,
                what,
                f"nobody owns it from {before.until.isoformat()} to {after.from_.isoformat()}",
                "Close the gap",
            )
    if rules and rules[-1][1].until is not None:
        position, last = rules[-1]
        yield loaded.finding(
            OWNERSHIP,
            ("rules", position, "until"),
            what,
            f"nobody owns it after {last.until}",
            "Add the rule that follows, or remove `until`",
        )


def _classes(loaded: LoadedBundle, declared: Declared) -> Iterator[Finding]:
    known = [row.name for row in loaded.bundle.sync_classes]
    named = {topic.sync_class for topic in declared.topics if topic.sync_class}
    place: tuple[str, tuple[str | int, ...]] = (CLASSES, ("sync_classes",))
    yield from _unknown(
        loaded, place, named, known, "sync class, though topics.yaml names it", "Add it"
    )
