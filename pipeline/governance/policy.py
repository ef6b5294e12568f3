"""The policy in force, as tables that the kernel asks: who owns what, where and when.

Values only; they are built from a bundle by the contract. The owner of a milestone is never
written in code, only here as data.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Final, NamedTuple

from pipeline.governance.claims import Stop
from pipeline.governance.vocabulary import Cardinality, Domain, Role

IGNORED: Final = "ignore"
"""Event type that a dialect gives to a native status which is no milestone."""


_BY_STOP: Final = frozenset({Cardinality.STOP, Cardinality.ATTEMPT})


@dataclass(frozen=True, slots=True)
class EventType:
    """A row of the catalogue."""

    name: str
    entity_type: str
    cardinality: Cardinality
    domain: Domain
    rank: int = 0
    """Where its status stands in the entity's progress; 0: it has none."""
    status: str = ""
    partial_rank: int = 0
    partial_status: str = ""
    """Status while only some of the stops with `stop_roles` have it."""
    stop_roles: frozenset[str] = frozenset()
    predecessors: tuple[str, ...] = ()
    strict: bool = False
    physical: bool = False
    """Something moved: what was cancelled before may not go on without a question."""
    cancels: bool = False
    """Its standing claim says that the entity is not wanted any more."""
    closes: bool = False
    """After it, at all stops with its roles, nothing more is expected."""
    contests: str = ""
    """Event type that it calls into question where that stands at the same stop."""
    sets_plan: bool = False
    """Its standing claim gives the entity its stops, orders and start."""
    closed_by: tuple[str, ...] = ()
    """Actuals after which, at the same stop, a claim of this type comes too late."""
    estimate_as: str = ""
    """Event type as which a claim that is no ACTUAL is judged; empty: as itself."""

    @property
    def by_stop(self) -> bool:
        """Whether each stop has an occurrence of its own; a stream has if something closes it."""
        return self.cardinality in _BY_STOP or (
            self.cardinality is Cardinality.STREAM and bool(self.closed_by)
        )


@dataclass(frozen=True, slots=True)
class Platform:
    """A source or consumer system, and how it speaks."""

    name: str
    role: Role
    tenant: str | None
    accounts: Mapping[str, str]
    """Tenant by the platform's own account, where it serves several."""
    topics: frozenset[str]
    dialect: str
    id_rules: Mapping[str, tuple[str, ...]]
    """Rules of normalising by entity type."""
    clock_tolerance_ms: int
    earliest_ms: int
    country: str | None
    site_list: str
    """Name of the list that the platform's location codes are of."""
    binds: frozenset[str] = frozenset()
    """Kinds of references that its events bind to their entity; `kind:scope`: of one scope only."""
    watermarks: bool = False
    """Whether its source tells up to when it is complete."""
    watermark_every_ms: int = 300_000
    """At least so often: one that was complete so shortly before a deadline was up."""
    retracts_by_id: bool = False
    """Whether it takes back by event id alone, so that its event ids are references."""


class DialectRow(NamedTuple):
    """When a native status means which event type; None matches anything."""

    reason: str | None
    qualifier: str | None
    stop_role: str | None
    classifier: str | None
    event_type: str
    retracts: bool = False
    """Whether it says that this did not happen."""


@dataclass(frozen=True, slots=True)
class Site:
    """A place of the site table."""

    id: str
    tenant: str | None
    name: str
    zone: str
    country: str
    region: str
    city: str
    subdivision: str


@dataclass(frozen=True, slots=True)
class Authority:
    """One rule of ownership as it applies to one tenant, event type and region."""

    rule: str
    owner: str
    deputies: Mapping[str, tuple[int, int]]
    """By platform: rank (1 is the first) and the silence of the owner it waits out, ms."""
    tolerance_ms: int
    from_ms: int
    until_ms: int
    by_occurrence: bool
    grace_ms: int
    needs: frozenset[str] = frozenset()
    """Inputs that must have been read before the owner counts as silent."""
    late: Authority | None = None
    """What applies to its time after the grace of a hand-over by occurrence: the new owner's rule,
    with the old owner as the last deputy."""


@dataclass(frozen=True, slots=True)
class Limits:
    """How long claims wait and how much one entity may hold."""

    region_ms: int
    stop_ms: int
    predecessor_ms: int
    reference_ms: int
    target_ms: int
    withheld_ms: int
    open_claims_max: int
    seen_max: int = 64
    hops_max: int = 3
    """How often a record is sent on."""
    link_hops_max: int = 8
    """How far a change is told from entity to entity; what is known already is not told on."""
    forgets_after_ms: int = 30 * 86_400_000
    """Silence beyond the horizon after which an entity shrinks to a stub."""
    stub_ms: int = 5 * 366 * 86_400_000
    """How long a stub is kept."""
    entity_weight_max: int = 600_000
    """About how many bytes of state one entity may take; a changelog record must hold them."""


@dataclass(frozen=True, slots=True)
class ReferenceRules:
    """For how long a reference names what it was bound to, ms."""

    early_ms: int
    """Before it was bound."""
    valid_ms: int
    """At most."""
    lingers_ms: int
    """After nothing more is expected of what it names."""
    reused_after_ms: int
    """After which another binding means that the number was used again."""


@dataclass(frozen=True, slots=True)
class Brake:
    """When a platform is held back because most of what it sends is bad."""

    run: int
    """Dead letters without anything good in between."""
    window: int
    """Records over which the share is taken."""
    ratio: float
    """Share of dead letters above which it is too much."""


class ResolvedDialect(NamedTuple):
    """What a native status means."""

    event_type: str | None
    needs_role: bool = False
    """It depends on the stop's role, which is not known."""
    by_role: bool = False
    """The stop's role has been asked for."""
    retracts: bool = False


@dataclass(eq=False)
class Policy:
    """Everything a decision depends on besides state and records, as one version; read only."""

    version: str
    digest: str
    catalogue: Mapping[str, EventType]
    platforms: Mapping[str, Platform]
    dialects: Mapping[str, Mapping[str, tuple[DialectRow, ...]]]
    sites: Mapping[str, Site]
    site_codes: Mapping[tuple[str, str, str], str]
    """Site id by (tenant, list, code)."""
    site_towns: Mapping[tuple[str, str, str, str], str]
    """Site id by (tenant, city, subdivision, country)."""
    countries: Mapping[str, str]
    """Region by country."""
    horizons_ms: Mapping[str, int]
    """How far each tenant looks back; its keys are the known tenants."""
    ownership: Mapping[tuple[str, str, str | None], tuple[Authority, ...]]
    """By (tenant, event type, region); region None: the same in all regions."""
    limits: Limits
    references: ReferenceRules
    brake: Brake
    allowed_schemas: Mapping[str, frozenset[str]] = field(default_factory=dict)
    """Fingerprints of the schemas a topic may carry; a topic that is absent: its committed one."""

    awaited: frozenset[str] = field(init=False)
    """Event types that a strict one waits for."""
    cancelling: frozenset[str] = field(init=False)
    """Event types that cancel their entity."""
    closing: frozenset[str] = field(init=False)
    """Event types after which nothing more is expected."""
    writers: dict[str, list[str]] = field(init=False)
    """Platforms by the topic that they write to."""

    def __post_init__(self) -> None:
        kinds = self.catalogue.values()
        self.awaited = frozenset(
            name for kind in kinds if kind.strict for name in kind.predecessors
        )
        self.cancelling = frozenset(kind.name for kind in kinds if kind.cancels)
        self.closing = frozenset(kind.name for kind in kinds if kind.closes)
        self.writers = {}
        for platform in self.platforms.values():
            for topic in platform.topics:
                self.writers.setdefault(topic, []).append(platform.name)

    def only_writer(self, topic: str) -> str | None:
        """The platform that a topic belongs to; None: several write there, or none."""
        names = self.writers.get(topic, ())
        return names[0] if len(names) == 1 else None

    def authorities(
        self, tenant: str, event_type: str, region: str | None
    ) -> tuple[Authority, ...] | None:
        """Rules for a combination, in order of time; None: the bundle has none.

        An unknown region answers only where all regions have one rule.
        """
        found = self.ownership.get((tenant, event_type, None))
        if found is not None or region is None:
            return found
        return self.ownership.get((tenant, event_type, region))

    def resolve_status(
        self,
        platform: Platform,
        status: str,
        reason: str | None,
        qualifier: str | None,
        stop_role: str | None,
        classifier: str,
    ) -> ResolvedDialect:
        """Event type of a native status: the first row that fits, the most specific come first."""
        rows = self.dialects.get(platform.dialect, {}).get(status)
        if rows is None:
            return ResolvedDialect(None)
        by_role = any(row.stop_role is not None for row in rows)
        for row in rows:
            if (
                (row.reason is None or row.reason == reason)
                and (row.qualifier is None or row.qualifier == qualifier)
                and (row.classifier is None or row.classifier == classifier)
            ):
                if row.stop_role is None or row.stop_role == stop_role:
                    return ResolvedDialect(row.event_type, by_role=by_role, retracts=row.retracts)
                if stop_role is None:
                    return ResolvedDialect(None, needs_role=True)
        return ResolvedDialect(None)

    def site(self, tenant: str, name: str) -> Site | None:
        """Site with this id, if it is one of the tenant's."""
        found = self.sites.get(name)
        return found if found is not None and found.tenant in {None, tenant} else None

    def site_of(self, platform: Platform, tenant: str, stop: Stop | None) -> Site | None:
        """A tenant's site that a stop names by code or by town; None: the table doesn't know it."""
        if stop is None:
            return None
        code = stop["location"]
        if code:
            for listed in (platform.site_list, ""):
                found = self.site_codes.get((tenant, listed, code.upper()))
                if found is not None:
                    return self.sites[found]
        city = stop["city"]
        if city:
            country = stop["country"] or platform.country or ""
            subdivision = stop["subdivision"] or ""
            town = (tenant, city.upper(), subdivision.upper(), country.upper())
            found = self.site_towns.get(town)
            if found is not None:
                return self.sites[found]
        return None

    def region_of(self, stop: Stop | None, site: Site | None) -> str | None:
        """Region where it happened: the site's, else the country's as the record states it."""
        if site is not None:
            return site.region
        if stop is None or not stop["country"]:
            return None
        return self.countries.get(stop["country"].upper(), stop["country"].upper())
