"""ANSI X12: interchanges of North American partners.

`tokens` → `envelope` → one module a transaction set. `read` applies a partner's policy.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Final

from connectors.formats.codes import Action, Code
from connectors.formats.findings import Finding, Position
from connectors.formats.reading import Claim, Context, Reading
from connectors.formats.x12 import shipment_status
from connectors.formats.x12.envelope import (
    Document,
    Group,
    Interchange,
    TransactionSet,
    parse,
    sets_of,
)

SetReader = Callable[[Interchange, Group, TransactionSet, Context], Reading]

READERS: Final[Mapping[str, SetReader]] = {shipment_status.KIND: shipment_status.read}
"""Reader by transaction set (ST01)."""


def read(interchange: Interchange, context: Context) -> Reading:
    """Claims and findings of an interchange under its partner's policy.

    An event, a set or all of it is left out where a finding's action says so; findings of parts
    that were left out are kept.
    """
    findings = [context.policy.judged(finding) for finding in interchange.findings]
    claims: list[Claim] = []
    rejected = 0
    for group, transaction in sets_of(interchange):
        reader = READERS.get(transaction.kind)
        if reader is None or (context.sets and transaction.kind not in context.sets):
            findings.append(
                context.policy.finding(
                    Code.SET_NOT_EXPECTED, transaction.position, transaction.kind or "no kind"
                )
            )
            continue
        reading = reader(interchange, group, transaction, context)
        findings.extend(reading.findings)
        claims.extend(reading.claims)
        rejected += reading.rejected_events
    left_out = _LeftOut(findings)
    kept = tuple(claim for claim in claims if not left_out.has(claim.position))
    ordered = sorted(findings, key=lambda finding: finding.position.segment or 0)
    return Reading(kept, tuple(ordered), rejected + len(claims) - len(kept))


class _LeftOut:
    """Which parts of an interchange the findings about it reject."""

    def __init__(self, findings: list[Finding]) -> None:
        self._all = any(finding.action is Action.REJECT_INTERCHANGE for finding in findings)
        at = [f.position for f in findings if f.action is Action.REJECT_SET]
        self._sets = {position.set for position in at if position.set is not None}
        self._groups = {position.group for position in at if position.set is None}

    def has(self, claim: Position) -> bool:
        """Whether a claim stands in a part that is rejected; no group: it is about all groups."""
        return (
            self._all
            or claim.set in self._sets
            or claim.group in self._groups
            or None in self._groups
        )


__all__ = ["READERS", "Document", "Interchange", "parse", "read"]
