"""How two policy bundles differ, in words that an architect can take to the people concerned.

Must never judge whether a change is right, nor what it means for claims that were decided.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping
from typing import Any, NamedTuple

from pydantic import BaseModel

from pipeline.contract.bundle import Bundle
from pipeline.contract.policy_diff_rules import Told, differences
from pipeline.contract.policy_tables import compile_policy
from pipeline.contract.policy_words import NAMED_MAX, listed, span, value
from pipeline.governance.policy import IGNORED, DialectRow, Policy

SECTIONS = {
    "ownership": "Who may state what",
    "platforms": "Platforms",
    "dialects": "What codes mean",
    "catalogue": "Event types",
    "tenants": "Tenants and regions",
    "sites": "Sites",
    "limits": "Waits, horizons and limits",
}
"""Headings, in the order in which they are told."""


class Change(NamedTuple):
    """One difference, in one sentence."""

    section: str
    text: str
    details: list[str]
    """What the sentence only counts."""
    facts: dict[str, Any]
    """The same for programs."""

    def document(self) -> dict[str, Any]:
        """As one JSON value."""
        return {"section": self.section, "text": self.text, **self.facts}


def diff(before: Bundle, after: Bundle) -> list[Change]:
    """Every difference between two bundles, by section.

    Raises:
        ValueError: a bundle can't be compiled: a dialect extends one that it lacks.

    """
    old, new = compile_policy(before), compile_policy(after)
    return [
        *map(_owned, differences(old, new)),
        *_platforms(before, after),
        *_dialects(before, after, old, new),
        *_named("catalogue", "event type", before.event_types, after.event_types, _kind),
        *_tenants(before, after),
        *_named("sites", "site", before.sites, after.sites, _site, by="id"),
        *_limits(before, after),
    ]


def _owned(told: Told) -> Change:
    details = list(told.event_types) if len(told.event_types) > NAMED_MAX else []
    facts = {
        "event_types": list(told.event_types),
        "kind": told.kind,
        "where": [{"tenant": tenant, "region": region} for tenant, region in told.where],
        "gains": told.gains or None,
        "loses": told.loses or None,
        "from": told.from_ms,
        "until": told.until_ms,
    }
    return Change("ownership", told.text, details, facts)


def _plain(section: str, text: str, **facts: Any) -> Change:
    return Change(section, text, [], facts)


def _named(
    section: str,
    noun: str,
    before: Iterable[BaseModel],
    after: Iterable[BaseModel],
    told: Callable[[Any], str],
    *,
    by: str = "name",
) -> Iterator[Change]:
    """Rows that are new, gone or changed."""
    old = {getattr(row, by): row for row in before}
    new = {getattr(row, by): row for row in after}
    for name in new.keys() - old.keys():
        yield _plain(section, f"{noun} {name} is new: {told(new[name])}", name=name, change="new")
    for name in old.keys() - new.keys():
        yield _plain(section, f"{noun} {name} is gone", name=name, change="gone")
    for name in [name for name in old if name in new]:
        for field, was, now in _fields(old[name], new[name]):
            text = f"{name}: {field} {value(now)} instead of {value(was)}"
            yield _plain(section, text, name=name, change="changed", field=field)


def _fields(before: BaseModel, after: BaseModel) -> Iterator[tuple[str, Any, Any]]:
    """Values that differ, by their place."""
    yield from _inner("", before.model_dump(), after.model_dump())


def _inner(place: str, before: Any, after: Any) -> Iterator[tuple[str, Any, Any]]:
    if before == after:
        return
    if isinstance(before, Mapping) and isinstance(after, Mapping):
        for name in [*before, *(name for name in after if name not in before)]:
            inner = f"{place}.{value(name)}" if place else value(name)
            yield from _inner(inner, before.get(name), after.get(name))
    else:
        yield place, before, after


def _platforms(before: Bundle, after: Bundle) -> Iterator[Change]:
    def told(row: Any) -> str:
        whose = row.tenant or listed(sorted(set(row.accounts.values())) or ["nobody"])
        speaks = f"{row.role.value} of {row.region} for {whose}, in dialect {row.dialect}"
        return f"{speaks}, on {listed(row.topics)}"

    yield from _named("platforms", "platform", before.platforms, after.platforms, told)


def _kind(row: Any) -> str:
    status = f", status {row.status}" if row.status else ""
    return f"{row.cardinality.value} per {row.entity.value}{status}"


def _site(row: Any) -> str:
    return ", ".join(part for part in (row.name, row.city, row.country) if part)


def _dialects(before: Bundle, after: Bundle, old: Policy, new: Policy) -> Iterator[Change]:
    """Codes whose meaning differs: told once for all dialects that inherit it."""
    shared: dict[tuple[str, str, str], list[str]] = {}
    for dialect in [*new.dialects, *(name for name in old.dialects if name not in new.dialects)]:
        was, now = old.dialects.get(dialect, {}), new.dialects.get(dialect, {})
        if dialect not in old.dialects or dialect not in new.dialects:
            state = "new" if dialect in new.dialects else "gone"
            text = f"dialect {dialect} is {state}, {len(now or was)} codes"
            yield _plain("dialects", text, name=dialect, change=state)
            continue
        for status in [*was, *(code for code in now if code not in was)]:
            meant = _meaning(was.get(status)), _meaning(now.get(status))
            if meant[0] != meant[1]:
                shared.setdefault((status, *meant), []).append(dialect)
    for (status, before_text, means), dialects in shared.items():
        speakers = [row.name for row in after.platforms if row.dialect in dialects]
        speakers = speakers or [row.name for row in before.platforms if row.dialect in dialects]
        where = f"dialect {listed(dialects)}" + (f" ({listed(speakers)})" if speakers else "")
        if not before_text:
            text = f"{status} in {where} is new: it means {means}"
        elif not means:
            text = f"{status} in {where} means nothing any more, it meant {before_text}"
        else:
            text = f"{status} in {where} means {means}, it meant {before_text}"
        facts = {"code": status, "dialects": dialects, "platforms": speakers}
        yield _plain("dialects", text, **facts, before=before_text or None, after=means or None)


def _meaning(rows: tuple[DialectRow, ...] | None) -> str:
    """What a code means, case by case."""
    return "; ".join(_case(row) for row in rows or ())


def _case(row: DialectRow) -> str:
    means = "no milestone" if row.event_type == IGNORED else row.event_type
    means = f"not {means}" if row.retracts else means
    conditions = [
        f"{word} {given}"
        for word, given in (
            ("reason", row.reason),
            ("qualifier", row.qualifier),
            ("stop", row.stop_role),
            ("as", row.classifier),
        )
        if given is not None
    ]
    return f"{means} ({', '.join(conditions)})" if conditions else means


def _tenants(before: Bundle, after: Bundle) -> Iterator[Change]:
    old, new = before.heading, after.heading
    for name in new.tenants.keys() - old.tenants.keys():
        yield _plain("tenants", f"tenant {name} is new", name=name, change="new")
    for name in old.tenants.keys() - new.tenants.keys():
        yield _plain("tenants", f"tenant {name} is gone", name=name, change="gone")
    for region in dict.fromkeys((*old.regions, *new.regions)):
        was, now = set(old.regions.get(region, ())), set(new.regions.get(region, ()))
        for countries, verb in ((now - was, "belongs to"), (was - now, "leaves")):
            for country in sorted(countries):
                text = f"{country} {verb} region {region}"
                yield _plain("tenants", text, name=region, change="changed", country=country)
    for name in [name for name in old.tenants if name in new.tenants]:
        was_called, is_called = old.tenants[name].language, new.tenants[name].language
        if was_called != is_called:
            text = f"{name}: labels in {is_called} instead of {was_called}"
            yield _plain("tenants", text, name=name, change="changed")


def _limits(before: Bundle, after: Bundle) -> Iterator[Change]:
    old, new = before.heading, after.heading
    for name in [name for name in old.tenants if name in new.tenants]:
        was, now = old.tenants[name].horizon, new.tenants[name].horizon
        if was != now:
            text = f"{name}: looks back {span(now)} instead of {span(was)}"
            yield _plain("limits", text, name=f"{name}.horizon", change="changed")
    for part in ("waits", "references", "brake", "limits"):
        for field, was_so, is_so in _fields(getattr(old, part), getattr(new, part)):
            text = f"{part}: {field} {value(is_so)} instead of {value(was_so)}"
            yield _plain("limits", text, name=f"{part}.{field}", change="changed")
    yield from _named("limits", "sync class", before.sync_classes, after.sync_classes, lambda _: "")
