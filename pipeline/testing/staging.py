"""A scenario's own tenant and time on a stack that it shares with other scenarios.

Files say `acme` and have a start of their own. On a shared stack each run is another tenant's, with
platforms of its own, and its times lie so much later that no clock goes back. Must never change
what a scenario means.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from datetime import datetime, timedelta
from typing import Any, Final, NamedTuple

from pipeline.contract.bundle import Bundle
from pipeline.testing.expectations import TIMES

TENANT: Final = "acme"
"""The tenant that scenario files speak of."""


class Staging(NamedTuple):
    """Who plays the files' tenant, and how much later than the files say; ms."""

    tenant: str = TENANT
    later_ms: int = 0

    def key(self, text: str) -> str:
        """A Kafka key that a file gives, as it is on the stack."""
        return _renamed(text, TENANT, self.tenant)

    def platform(self, name: str) -> str:
        """A platform that a file names, as it is called on the stack."""
        return name + self._mark

    def bundle(self, bundle: Bundle, version: str) -> Bundle:
        """The bundle for this tenant and time, under another version."""
        later = timedelta(milliseconds=self.later_ms)
        content = _mapped(
            bundle.model_dump(by_alias=True),
            lambda _, value: value + later if isinstance(value, datetime) else value,
        )
        content["heading"]["version"] = version
        content["heading"]["tenants"] = self._named(content["heading"]["tenants"])
        for row in content["event_types"]:
            row["tenant_labels"] = self._named(row["tenant_labels"])
        for row in (*content["platforms"], *content["sites"]):
            row["tenant"] = row["tenant"] and self.key(row["tenant"])
        platforms = {row["name"] for row in content["platforms"]}
        for row in content["platforms"]:
            row["name"] = self.platform(row["name"])
            row["accounts"] = {code: self.key(name) for code, name in row["accounts"].items()}
        for row in content["rules"]:
            for who, field in (
                (row, "owner"),
                *((deputy, "platform") for deputy in row["deputies"]),
            ):
                if who[field] in platforms:
                    who[field] = self.platform(who[field])
            if row["tenants"] != "any":
                row["tenants"] = [self.key(name) for name in row["tenants"]]
        return Bundle.model_validate(content)

    def plain(self, record: Mapping[str, Any]) -> dict[str, Any]:
        """A decoded record of the stack, as a file would tell it."""

        def told(name: str, value: Any) -> Any:
            if isinstance(value, str):
                return _renamed(value, self.tenant, TENANT).removesuffix(self._mark)
            if name in TIMES and isinstance(value, int):
                return value - self.later_ms
            return value

        found: dict[str, Any] = _mapped(record, told)
        return found

    @property
    def _mark(self) -> str:
        """What the names of this tenant's platforms end with."""
        return "" if self.tenant == TENANT else f"-{self.tenant}"

    def _named(self, by_tenant: Mapping[str, Any]) -> dict[str, Any]:
        return {self.key(name): value for name, value in by_tenant.items()}


def _renamed(text: str, old: str, new: str) -> str:
    """A tenant, or a key that starts with one."""
    tenant, slash, rest = text.partition("/")
    return new + slash + rest if tenant == old else text


def _mapped(value: Any, change: Callable[[str, Any], Any], name: str = "") -> Any:
    """A copy with each single value changed, given the field that it is in."""
    if isinstance(value, Mapping):
        return {key: _mapped(inner, change, str(key)) for key, inner in value.items()}
    if isinstance(value, list):
        return [_mapped(inner, change, name) for inner in value]
    return change(name, value)
