"""Where a raw event goes: its platform's topic and tenant, the record's key, the zone of its stop.

Read from the policy bundle once. Must never send anything or judge who may say what.
"""

from __future__ import annotations

from typing import Any, NamedTuple, cast

from pipeline.contract.bundle import Bundle
from pipeline.contract.policy_tables import compile_policy
from pipeline.governance.identity import entity_key, normalise, reference_key

Record = dict[str, Any]


class Address(NamedTuple):
    """Topic and key of a raw record."""

    topic: str
    key: bytes


class UnaddressableError(ValueError):
    """A raw event that can't be sent anywhere: `field` is to blame, `remedy` puts it right."""

    def __init__(self, field: str, detail: str, remedy: str) -> None:
        super().__init__(f"{field}: {detail}; {remedy}.")
        self.field = field
        self.detail = detail
        self.remedy = remedy


class Addressing:
    """The platforms and sites of one bundle."""

    def __init__(self, bundle: Bundle) -> None:
        self._policy = compile_policy(bundle)
        self._topics = {row.name: row.topics[0] for row in bundle.platforms if row.topics}

    @property
    def platforms(self) -> frozenset[str]:
        """Names of all platforms."""
        return frozenset(self._topics)

    def knows(self, platform: str) -> bool:
        """Whether the bundle has this platform."""
        return platform in self._topics

    def tells_watermarks(self, platform: str) -> bool:
        """Whether the bundle has this platform's source say up to when it is complete."""
        known = self._policy.platforms.get(platform)
        return known is not None and known.watermarks

    def address(self, record: Record) -> Address:
        """Topic and key of a raw event.

        The key has the id as the platform's rules spell it, so that every spelling of one id
        arrives at one partition; the record keeps the platform's own spelling.

        Raises:
            UnaddressableError: platform or account is unknown, or the event names no entity.

        """
        name = record["platform"]
        platform = self._policy.platforms.get(name)
        if platform is None or name not in self._topics:
            raise UnaddressableError(
                "platform",
                f"{name!r} is not in the policy bundle",
                "use a name from policy/platforms.yaml, or have it added",
            )
        return Address(self._topics[name], self._key(record).encode())

    def zone_of(self, platform: str, stop: Record) -> str | None:
        """IANA zone of the site that a platform's stop names, if the bundle knows it.

        For a platform that serves several tenants, the zone in which their sites agree.
        """
        known = self._policy.platforms.get(platform)
        if known is None:
            return None
        tenants = [known.tenant] if known.tenant else known.accounts.values()
        sites = [self._policy.site_of(known, tenant, cast("Any", stop)) for tenant in tenants]
        zones = {site.zone for site in sites if site is not None}
        return zones.pop() if len(zones) == 1 else None

    def _key(self, record: Record) -> str:
        tenant = self._tenant(record)
        kind, identifier, reference = (
            record["entity_type"],
            record["entity_id"],
            record["reference"],
        )
        if kind and identifier:
            rules = self._policy.platforms[record["platform"]].id_rules.get(kind, ())
            identifier = normalise(identifier, rules)
            if identifier:
                return entity_key(tenant, kind, identifier)
        elif reference is not None and reference["kind"] and reference["value"]:
            return reference_key(tenant, reference["kind"], reference["scope"], reference["value"])
        raise UnaddressableError(
            "entity_id",
            "the event names neither an entity nor a reference",
            "give entity_type and entity_id, or a reference with kind and value",
        )

    def _tenant(self, record: Record) -> str:
        platform = self._policy.platforms[record["platform"]]
        if platform.tenant is not None:
            return platform.tenant
        tenant = platform.accounts.get(record["account"] or "")
        if tenant is None:
            raise UnaddressableError(
                "account",
                f"{record['account']!r} is no account of platform {platform.name}",
                "give one of its accounts in policy/platforms.yaml, or have it added",
            )
        return tenant
