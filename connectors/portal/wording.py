"""What things are called in front of a customer: labels, places and roles, from the policy bundle.

Without a bundle, or for a name that it lacks, the name itself is made readable. Must never know a
milestone.
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import Final

from pipeline.contract.bundle import Bundle, EventTypeModel, SiteModel
from pipeline.governance.identity import Key
from pipeline.governance.vocabulary import Role

ROLES: Final = {
    Role.ERP: "Order system",
    Role.TMS: "Transport system",
    Role.WMS: "Warehouse",
    Role.CARRIER: "Carrier",
    Role.PORTAL: "Customer portal",
    Role.OPS_DESK: "Operations desk",
}
UNITS: Final = {
    "C62": "pieces",
    "EA": "pieces",
    "PCE": "pieces",
    "H87": "pieces",
    "KGM": "kg",
    "LBR": "lb",
    "TNE": "t",
    "MTQ": "m³",
    "LTR": "l",
    "CT": "cartons",
    "XCT": "cartons",
    "PF": "pallets",
    "XPX": "pallets",
}
"""Common codes of UN/ECE Recommendations 20 and 21; others are shown as they are."""
DEFAULT_LANGUAGE: Final = "en"
LANGUAGES_ASKED_MAX: Final = 10


class Wording:
    """Names for people.

    Args:
        bundle: the policy bundle; None: only readable names.

    """

    def __init__(self, bundle: Bundle | None) -> None:
        rows = [] if bundle is None else bundle.event_types
        self._kinds = {row.name: row for row in rows}
        self._statuses = {
            (row.entity.value, row.status): row.name for row in reversed(rows) if row.status
        }
        self._partial = {
            (row.entity.value, row.partial_status): row for row in rows if row.partial_status
        }
        self._sites: dict[tuple[str, str], SiteModel] = {}
        self._tenants = {} if bundle is None else bundle.heading.tenants
        for site in [] if bundle is None else bundle.sites:
            for tenant in self._tenants if site.tenant is None else [site.tenant]:
                self._sites[tenant, site.id] = site
        self.languages = {DEFAULT_LANGUAGE} | {name for row in rows for name in row.labels}

    def kind(self, event_type: str) -> EventTypeModel | None:
        """Row of the catalogue, if it has one."""
        return self._kinds.get(event_type)

    def event(self, event_type: str, tenant: str, language: str) -> str:
        """What a customer of the tenant calls an event type."""
        row = self._kinds.get(event_type)
        if row is None:
            return readable(event_type)
        labels = {**row.labels, **row.tenant_labels.get(tenant, {})}
        return labels.get(language) or labels.get(DEFAULT_LANGUAGE) or readable(event_type)

    def status(self, status: str, key: Key, language: str) -> str:
        """What a customer calls an entity's status: as the event type that leads to it."""
        partial = self._partial.get((key.type, status))
        if partial is not None:
            labels = partial.partial_labels
            return labels.get(language) or labels.get(DEFAULT_LANGUAGE) or readable(status)
        event_type = self._statuses.get((key.type, status))
        if event_type is None:
            return readable(status)
        return self.event(event_type, key.tenant, language)

    def site(self, tenant: str, location: str | None) -> SiteModel | None:
        """Site of a canonical location; a stop list that visits one twice writes `#2` after it."""
        return None if location is None else self._sites.get((tenant, location.partition("#")[0]))

    def language(self, tenant: str | None, asked: Iterable[str]) -> str:
        """The first asked language that has labels, else the tenant's own."""
        for name in asked:
            if name in self.languages:
                return name
        known = self._tenants.get(tenant or "")
        return DEFAULT_LANGUAGE if known is None else known.language


def role(name: str) -> str:
    """What a customer calls a role."""
    known = {member.value: text for member, text in ROLES.items()}
    return known.get(name, readable(name))


def unit(code: str) -> str:
    """A unit of quantity in words."""
    return UNITS.get(code, code)


def readable(name: str) -> str:
    """A technical name as words: `goods.issued` becomes `Goods issued`."""
    words = " ".join(name.replace(".", " ").replace("_", " ").replace("-", " ").split())
    return words[:1].upper() + words[1:] if words else "Unknown"


def languages_of(header: str) -> list[str]:
    """Primary languages of an Accept-Language header, the most wanted first."""
    wanted: list[tuple[float, int, str]] = []
    for index, part in enumerate(header.split(",")[:LANGUAGES_ASKED_MAX]):
        name, _, quality = part.strip().partition(";q=")
        try:
            weight = float(quality) if quality else 1.0
        except ValueError:
            continue
        if name and weight > 0:
            wanted.append((-weight, index, name.split("-")[0].lower()))
    return [name for _, _, name in sorted(wanted)]
