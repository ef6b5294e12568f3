"""What approved records carry of their claims, by ledger_seq, held against the claims themselves.

Must never read a topic.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any, Final, NamedTuple

from pipeline.operations.proof.spill import KEY_BYTES, Buckets, Column

Record = dict[str, Any]

_CARRIED: Final = (
    "platform",
    "native_status",
    "native_reason",
    "classifier",
    "recorded",
    "occurred_offset_minutes",
    "leg",
    "attempt",
    "document",
    "warehouse_task",
    "amount",
    "currency",
)
_APPROVED, _RAW = 0, 1


class Claim(NamedTuple):
    """Where a claim is, and to how many ms its time is exact."""

    input: int
    """Ordinal of its input."""
    offset: int
    width_ms: int


class Carried:
    """What approved records carry of their claims: a hash, and the time.

    Args:
        records: how many the ledger has numbered.
        folder: for what doesn't stay in memory.

    """

    def __init__(self, records: int, folder: Path | None) -> None:
        self._said = Column("<QqB", folder)
        """By ledger_seq: the hash, the newest time, whether there were others."""
        self._said.resize(records)
        self._times = Buckets("BqIqq", folder)
        """Of claims whose records carry several: by whom, input, offset, width, time."""

    def __contains__(self, seq: int) -> bool:
        return seq < len(self._said) and self._said[seq][0] != 0

    def note(self, seq: int, approved: Record) -> bool:
        """Note what an approved record carries; False: another one of that claim differs."""
        found = _hash(approved, approved["source_event_id"])
        before, time, several = self._said[seq]
        if before and time != approved["occurred"]:
            self._times.add(_key(seq), _APPROVED, 0, 0, 0, time)
            several = 1
        self._said[seq] = found, approved["occurred"], several
        return before in {0, found}

    def agrees(self, seq: int, raw: Record, claim: Claim) -> bool:
        """Whether a raw event says what was noted, its time at its own precision."""
        said, time, several = self._said[seq]
        occurred = raw["occurred"]
        if several:
            self._times.add(_key(seq), _RAW, claim.offset, claim.input, claim.width_ms, occurred)
        same = time // claim.width_ms == occurred // claim.width_ms
        return same and bool(said == _hash(raw, raw["event_id"]))

    def differing(self) -> Iterator[Claim]:
        """Claims of which another approved record than the newest carries another time."""
        for _, entries in self._times.groups():
            times = [time for by, *_, time in entries if by == _APPROVED]
            for by, offset, number, width, occurred in entries:
                if by == _RAW and any(time // width != occurred // width for time in times):
                    yield Claim(number, offset, width)


def _key(seq: int) -> bytes:
    return seq.to_bytes(KEY_BYTES, "little")


def _hash(body: Mapping[str, Any], event_id: str) -> int:
    quantity = body["quantity"]
    measured = None if quantity is None else tuple(sorted(quantity.items()))
    said = (event_id, measured, *[body[name] for name in _CARRIED])
    return hash(said) & 0xFFFF_FFFF_FFFF_FFFF or 1
