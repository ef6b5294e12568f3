"""Which rows of a bundle's files decided a step of judgement, as file:line.

Must never decide anything: what decided is the kernel's to say.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from typing import Final

from pipeline.contract.bundle import LoadedBundle
from pipeline.governance.reasons import Reason

Location = tuple[str, ...]

_HEADING: Final[Mapping[Reason, Sequence[Location]]] = {
    Reason.REGION_UNRESOLVED: [("waits", "region")],
    Reason.STOP_UNRESOLVED: [("waits", "stop")],
    Reason.AWAITING_PREDECESSOR: [("waits", "predecessor")],
    Reason.UNCORRELATED: [("waits", "reference")],
    Reason.REFERENCE_CONFLICT: [("waits", "reference"), ("references", "reused_after")],
    Reason.AWAITING_TARGET: [("waits", "target")],
    Reason.PLATFORM_SUSPENDED: [("waits", "withheld")],
    Reason.PLATFORM_BRAKED: [("brake",), ("waits", "withheld")],
    Reason.OPEN_CLAIMS_FULL: [("limits", "open_claims")],
}
"""Lines of bundle.yaml that say when a claim leaves with a reason, and for how long it waits."""
_PLATFORM: Final = {
    Reason.OCCURRED_IN_FUTURE: "clock_tolerance",
    Reason.IMPLAUSIBLE_TIME: "earliest",
    Reason.UNKNOWN_TENANT: "accounts",
}
"""The same for a row of platforms.yaml."""
_RULE: Final = {
    Reason.OWNER_SPOKE: "owner",
    Reason.NOT_OWNER_AT_OCCURRENCE: "from",
    Reason.AGREES_WITH_OWNER: "tolerance",
    Reason.DIFFERS_FROM_OWNER: "tolerance",
    Reason.AWAITING_OWNER: "deputies",
    Reason.OWNER_SILENT: "deputies",
}
"""The same for a rule of ownership.yaml."""


class PolicyRows:
    """The lines of a bundle's files; each answer is empty where there is no such row."""

    def __init__(self, loaded: LoadedBundle) -> None:
        bundle = loaded.bundle
        self._documents = loaded.documents
        self._extends = {row.dialect: row.extends for row in bundle.dialects}
        self._names = {
            ("platforms.yaml", "platforms"): [row.name for row in bundle.platforms],
            ("sites.yaml", "sites"): [row.id for row in bundle.sites],
            ("catalogue.yaml", "event_types"): [row.name for row in bundle.event_types],
            ("ownership.yaml", "rules"): [row.rule for row in bundle.rules],
        }

    def platform(self, name: str, *within: str) -> list[str]:
        """A platform's row, or a field of it."""
        return self._row("platforms.yaml", "platforms", name, within)

    def site(self, name: str, *within: str) -> list[str]:
        """A site's row."""
        return self._row("sites.yaml", "sites", name, within)

    def event_type(self, name: str, *within: str) -> list[str]:
        """A row of the catalogue, or a field of it."""
        return self._row("catalogue.yaml", "event_types", name, within)

    def rule(self, name: str, *within: str) -> list[str]:
        """A rule of ownership, or a field of it."""
        return self._row("ownership.yaml", "rules", name, within)

    def heading(self, *within: str) -> list[str]:
        """A line of bundle.yaml."""
        return [self._at("bundle.yaml", within)]

    def code(self, dialect: str, status: str) -> list[str]:
        """Where a dialect, or what it extends, maps a code; else where its own codes begin."""
        files = {
            document.content["dialect"]: file
            for file, document in self._documents.items()
            if file.startswith("dialects/")
        }
        at: str | None = dialect
        while at is not None and at in files:
            if ("codes", status) in self._documents[files[at]].lines:
                return [self._at(files[at], ("codes", status))]
            at = self._extends[at]
        return [self._at(files[dialect], ("codes",))] if dialect in files else []

    def leaving(self, reason: Reason, platform: str, rule: str) -> list[str]:
        """What says that a claim leaves with this reason, besides the rows of the step itself."""
        found = [line for place in _HEADING.get(reason, ()) for line in self.heading(*place)]
        if reason in _PLATFORM:
            found += self.platform(platform, _PLATFORM[reason])
        if rule:
            found += self.rule(rule, *([_RULE[reason]] if reason in _RULE else []))
        return found

    def _row(self, file: str, section: str, name: str, within: Iterable[str]) -> list[str]:
        names = self._names[file, section]
        return [self._at(file, (section, names.index(name), *within))] if name in names else []

    def _at(self, file: str, location: tuple[str | int, ...]) -> str:
        document = self._documents[file]
        return f"{document.file}:{document.line(location)}"
