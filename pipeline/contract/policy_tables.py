"""From a bundle to the tables that the kernel asks. Compiled once, never per event."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import replace
from datetime import datetime, timedelta

from pipeline.contract import names
from pipeline.contract.bundle import (
    Bundle,
    Dialect,
    EventTypeModel,
    PlatformModel,
    Rule,
    SiteModel,
)
from pipeline.governance.policy import (
    Authority,
    Brake,
    DialectRow,
    EventType,
    Limits,
    Platform,
    Policy,
    ReferenceRules,
    Site,
)

FOR_EVER_MS = 1 << 62


def compile_policy(bundle: Bundle) -> Policy:
    """The kernel's tables.

    Raises:
        ValueError: a dialect extends one that is not in the bundle.

    """
    heading = bundle.heading
    countries = {
        country: region for region, listed in heading.regions.items() for country in listed
    }
    return Policy(
        version=bundle.version,
        digest=bundle.digest(),
        catalogue={row.name: _event_type(row) for row in bundle.event_types},
        platforms={row.name: _platform(row) for row in bundle.platforms},
        dialects=_dialects(bundle.dialects),
        sites={row.id: _site(row, countries) for row in bundle.sites},
        site_codes={
            (tenant, listed, code.upper()): row.id
            for tenant, row in _sites_by_tenant(bundle)
            for listed, codes in row.codes.items()
            for code in codes
        },
        site_towns={
            (tenant, row.city.upper(), row.subdivision.upper(), row.country.upper()): row.id
            for tenant, row in _sites_by_tenant(bundle)
            if row.city
        },
        countries=countries,
        horizons_ms={name: _ms(tenant.horizon) for name, tenant in heading.tenants.items()},
        ownership=_ownership(bundle),
        limits=Limits(
            region_ms=_ms(heading.waits.region),
            stop_ms=_ms(heading.waits.stop),
            predecessor_ms=_ms(heading.waits.predecessor),
            reference_ms=_ms(heading.waits.reference),
            target_ms=_ms(heading.waits.target),
            withheld_ms=_ms(heading.waits.withheld),
            open_claims_max=heading.limits.open_claims,
        ),
        brake=Brake(heading.brake.run, heading.brake.window, heading.brake.ratio),
        references=ReferenceRules(
            early_ms=_ms(heading.references.early),
            valid_ms=_ms(heading.references.valid),
            lingers_ms=_ms(heading.references.lingers),
            reused_after_ms=_ms(heading.references.reused_after),
        ),
    )


def _event_type(row: EventTypeModel) -> EventType:
    return EventType(
        name=row.name,
        entity_type=row.entity.value,
        cardinality=row.cardinality,
        domain=row.domain,
        rank=row.rank,
        status=row.status,
        partial_rank=row.partial_rank,
        partial_status=row.partial_status,
        stop_roles=frozenset(row.stop_roles),
        predecessors=tuple(row.predecessors),
        strict=row.strict,
        physical=row.physical,
        cancels=row.cancels,
        closes=row.closes,
        contests=row.contests,
        sets_plan=row.sets_plan,
        closed_by=tuple(row.closed_by),
        estimate_as=row.estimate_as,
    )


def _platform(row: PlatformModel) -> Platform:
    return Platform(
        name=row.name,
        role=row.role,
        tenant=row.tenant,
        accounts=dict(row.accounts),
        topics=frozenset(row.topics),
        dialect=row.dialect,
        id_rules={kind.value: tuple(rules) for kind, rules in row.ids.items()},
        clock_tolerance_ms=_ms(row.clock_tolerance),
        earliest_ms=_at(row.earliest),
        country=row.country,
        site_list=row.site_list,
        binds=frozenset(row.binds),
        retracts_by_id=row.retracts_by_id,
        watermarks=row.watermarks,
        watermark_every_ms=_ms(row.watermark_every),
    )


def _site(row: SiteModel, countries: Mapping[str, str]) -> Site:
    return Site(
        id=row.id,
        tenant=row.tenant,
        name=row.name,
        zone=row.zone,
        country=row.country,
        region=row.region or countries.get(row.country, row.country),
        city=row.city,
        subdivision=row.subdivision,
    )


def _sites_by_tenant(bundle: Bundle) -> Iterator[tuple[str, SiteModel]]:
    """Each site under each tenant that it is a place of; a tenant's own ones come last."""
    for row in bundle.sites:
        if row.tenant is None:
            for tenant in bundle.heading.tenants:
                yield tenant, row
    for row in bundle.sites:
        if row.tenant is not None:
            yield row.tenant, row


def _dialects(dialects: list[Dialect]) -> dict[str, dict[str, tuple[DialectRow, ...]]]:
    by_name = {dialect.dialect: dialect for dialect in dialects}

    def rows(name: str, seen: tuple[str, ...] = ()) -> dict[str, tuple[DialectRow, ...]]:
        dialect = by_name.get(name)
        if dialect is None or name in seen:
            raise ValueError(f"dialect {name!r} is unknown or extends itself")
        codes = {} if dialect.extends is None else rows(dialect.extends, (*seen, name))
        for status, meaning in dialect.codes.items():
            if isinstance(meaning, str):
                codes[status] = (DialectRow(None, None, None, None, meaning),)
            else:
                cases = [DialectRow(**case.model_dump()) for case in meaning]
                codes[status] = tuple(sorted(cases, key=_specific, reverse=True))
        return codes

    return {name: rows(name) for name in by_name}


def _specific(row: DialectRow) -> int:
    return sum(field is not None for field in row[:4])


def _ownership(bundle: Bundle) -> dict[tuple[str, str, str | None], tuple[Authority, ...]]:
    regions = list(bundle.heading.regions)
    tenants = list(bundle.heading.tenants)
    table: dict[tuple[str, str, str | None], list[Authority]] = {}
    for rule in bundle.rules:
        for tenant in tenants if rule.tenants == "any" else rule.tenants:
            authority = _authority(bundle, rule, tenant)
            for event_type in rule.event_types:
                named = regions if rule.regions == "any" else rule.regions
                for region in named:
                    table.setdefault((tenant, event_type, region), []).append(authority)
    for tenant in tenants:
        for row in bundle.event_types:
            everywhere = [table.get((tenant, row.name, region)) for region in regions]
            if everywhere[0] is not None and all(rules == everywhere[0] for rules in everywhere):
                table[tenant, row.name, None] = everywhere[0]
    return {key: _handed_over(found) for key, found in table.items()}


def _handed_over(rules: list[Authority]) -> tuple[Authority, ...]:
    """Rules in order of time; each knows what applies to its time after it was handed over."""
    found: list[Authority] = []
    for rule in sorted(rules, key=lambda item: item.from_ms, reverse=True):
        after = found[-1] if found else None
        late = None
        if after is not None and after.by_occurrence and rule.owner != after.owner:
            ranks = [rank for rank, _ in after.deputies.values()]
            waits = [silence for _, silence in after.deputies.values()]
            deputy = (max(ranks, default=0) + 1, max(waits, default=after.grace_ms))
            deputies = {rule.owner: deputy, **after.deputies}
            deputies.pop(after.owner, None)
            late = replace(after, deputies=deputies, late=None)
        found.append(replace(rule, late=late))
    return tuple(reversed(found))


def _authority(bundle: Bundle, rule: Rule, tenant: str) -> Authority:
    owner = bundle.platform(rule.owner)
    deputies: dict[str, tuple[int, int]] = {}
    for rank, deputy in enumerate(rule.deputies, 1):
        for platform in bundle.platforms:
            named = platform.name == deputy.platform or platform.role == deputy.role
            speaks = platform.tenant == tenant or tenant in platform.accounts.values()
            if named and speaks and platform.name != rule.owner:
                deputies.setdefault(platform.name, (rank, _ms(deputy.after)))
    return Authority(
        rule=rule.rule,
        owner=rule.owner,
        deputies=deputies,
        tolerance_ms=_ms(rule.tolerance),
        from_ms=_at(rule.from_),
        until_ms=FOR_EVER_MS if rule.until is None else _at(rule.until),
        by_occurrence=rule.handover == "by_occurrence",
        grace_ms=_ms(rule.grace),
        needs=frozenset([] if owner is None else owner.topics) | names.INTERNAL,
    )


def _ms(duration: timedelta) -> int:
    return duration // timedelta(milliseconds=1)


def _at(moment: datetime) -> int:
    return int(moment.timestamp() * 1000)
