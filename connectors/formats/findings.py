"""Findings: what is wrong or odd about a partner's document, and what is done about it.

Must never know a format's syntax.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, NamedTuple

from connectors.formats.codes import MEANINGS, Action, Code


class Position(NamedTuple):
    """Where in a document: ordinals within the file, counted from 1."""

    interchange: int | None = None
    group: int | None = None
    set: int | None = None
    segment: int | None = None
    name: str | None = None
    """Name of the segment."""
    element: int | None = None

    def __str__(self) -> str:
        parts = []
        if self.interchange is not None:
            parts.append(f"interchange {self.interchange}")
        if self.set is not None:
            parts.append(f"set {self.set}")
        if self.segment is not None:
            parts.append(f"segment {self.segment}" + (f" ({self.name})" if self.name else ""))
        if self.element is not None:
            parts.append(f"element {self.element}")
        return ", ".join(parts) or "file"


class Finding(NamedTuple):
    """One finding, and what is done about it."""

    code: Code
    position: Position
    detail: str
    """The values that it is about."""
    action: Action

    def __str__(self) -> str:
        meaning = MEANINGS[self.code]
        detail = f" ({self.detail})" if self.detail else ""
        done = _DONE[self.action]
        return f"{self.position}: {meaning.text}{detail}; {done}. Remedy: {meaning.remedy}."

    def document(self) -> dict[str, Any]:
        """The finding for a JSON file that a clerk reads."""
        return {
            "severity": self.action.severity,
            "code": str(self.code),
            "action": str(self.action),
            "says": str(self),
            "position": {
                name: value for name, value in self.position._asdict().items() if value is not None
            },
        }


_DONE = {
    Action.ACCEPT: "accepted",
    Action.WARN: "accepted with a warning",
    Action.REJECT_EVENT: "the event was not taken",
    Action.REJECT_SET: "the transaction set was not taken",
    Action.REJECT_INTERCHANGE: "the interchange was not taken",
}


@dataclass(frozen=True, slots=True)
class FindingPolicy:
    """What is done about each code; codes that are not named have their default."""

    actions: Mapping[Code, Action] = field(default_factory=dict)

    def action(self, code: Code) -> Action:
        """What is done about a finding of this code."""
        return self.actions.get(code) or MEANINGS[code].default

    def finding(self, code: Code, position: Position, detail: str = "") -> Finding:
        """A finding with its action."""
        return Finding(code, position, detail, self.action(code))

    def judged(self, finding: Finding) -> Finding:
        """A finding that was made before the partner was known, with this policy's action."""
        return finding._replace(action=self.action(finding.code))
