"""A partner's file to claims and findings: each interchange is read for who sent it.

Must never open a file or send a record; bytes come in, values go out.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, Final, NamedTuple

from connectors.formats import x12
from connectors.formats.codes import MEANINGS, Code
from connectors.formats.findings import Finding, Position
from connectors.formats.limits import LimitExceededError, Limits
from connectors.formats.reading import Claim, Record
from connectors.partners import Partners

SHOWN_MAX: Final = 1_000
"""Findings in a findings file: who sees more of them asks for another document."""

PlatformZoneOf = Callable[[str, Record], str | None]
"""IANA zone at a stop, as a platform names it."""


class FileReading(NamedTuple):
    """What became of a file."""

    claims: tuple[Claim, ...]
    findings: tuple[Finding, ...]
    charset: str
    partners: tuple[str, ...]
    rejected_events: int

    @property
    def complete(self) -> bool:
        """Whether nothing of it was rejected: then nobody has to look at it."""
        return not any(finding.action.rejects for finding in self.findings)

    def document(self, name: str, digest: str) -> dict[str, Any]:
        """The findings file that a clerk reads beside the document."""
        return {
            "file": name,
            "sha256": digest,
            "outcome": "accepted" if self.complete else "needs attention",
            "partners": list(self.partners),
            "charset": self.charset,
            "events_taken": len(self.claims),
            "events_not_taken": self.rejected_events,
            "findings": [finding.document() for finding in self.findings[:SHOWN_MAX]],
            "findings_not_shown": max(0, len(self.findings) - SHOWN_MAX),
        }


def refused(code: Code, detail: str) -> FileReading:
    """The reading of a file of which nothing can be taken."""
    finding = Finding(code, Position(), detail, MEANINGS[code].default)
    return FileReading((), (finding,), "", (), 0)


def read_file(
    data: bytes,
    partners: Partners,
    zone_of: PlatformZoneOf,
    limits: Limits = Limits(),  # noqa: B008
) -> FileReading:
    """Read a file for the partners that sent it. What exceeds a limit is a finding too."""
    try:
        document = x12.parse(data, limits)
    except LimitExceededError as error:
        return refused(Code.LIMIT_EXCEEDED, str(error))
    claims: list[Claim] = []
    findings = list(document.findings)
    names: list[str] = []
    rejected = 0
    for interchange in document.interchanges:
        qualifier, sender = interchange.sender
        profile = partners.match(qualifier, sender)
        if profile is None:
            detail = f"ISA05 {qualifier or 'empty'}, ISA06 {sender or 'empty'}"
            position = interchange.position._replace(element=6)
            code = Code.PARTNER_UNKNOWN
            findings.append(Finding(code, position, detail, MEANINGS[code].default))
            findings.extend(interchange.findings)
            continue
        if profile.name not in names:
            names.append(profile.name)

        def at(stop: Record, platform: str = profile.platform) -> str | None:
            return zone_of(platform, stop)

        reading = x12.read(interchange, profile.context(at))
        claims.extend(reading.claims)
        findings.extend(reading.findings)
        rejected += reading.rejected_events
    return FileReading(tuple(claims), tuple(findings), document.charset, tuple(names), rejected)
