"""The workers' changelog held against the ledger, whose blocks carry a digest of the state.

It also shows a ledger whose end was cut off: the state knows the newest block. Must never look into
an entity's state.
"""

from __future__ import annotations

import hashlib
import json
from typing import Final

from pipeline.contract import names
from pipeline.operations.proof.evidence import Evidence
from pipeline.operations.proof.ledger import Head, LedgerWalk
from pipeline.operations.proof.report import Report

_OWN_KEY: Final = b"\0partition"
_MODULUS: Final = 1 << 128


class StateCheck:
    """Reads the changelog of one partition number.

    Args:
        evidence: the topics.
        walk: the ledger up to the cut.
        report: told what doesn't hold.

    """

    def __init__(self, evidence: Evidence, walk: LedgerWalk, report: Report) -> None:
        self._walk = walk
        self._report = report
        self._positions: dict[str, int] = {}
        self._blocks = 0
        self._chain = ""
        number = walk.partition
        span = evidence.span(names.CHANGELOG, number)
        entities: dict[bytes, int] = {}
        for record in evidence.records(names.CHANGELOG, number, span):
            if record.key == _OWN_KEY:
                own = json.loads(record.value or b"{}")
                self._blocks, self._chain = own["block"], own["chain"]
                self._positions = own["positions"]
            elif record.value is None:
                entities.pop(record.key or b"", None)
            else:
                entities[record.key or b""] = _digest(record.key or b"", record.value)
        self._digest = f"{sum(entities.values()) % _MODULUS:032x}"
        walk.wanted = self._blocks
        walk.marked = walk.head if self._blocks == walk.blocks else None

    def conclude(self) -> None:
        """Compare with the ledger, which was walked to its end."""
        walk = self._walk
        if walk.marked is not None:
            self._compare(walk.marked)
        elif self._blocks > walk.blocks:
            detail = f"the state knows {self._blocks} blocks, the ledger has {walk.blocks}"
            self._wrong(f"{detail}: its end is gone")
        else:
            self._wrong(f"the state knows {self._blocks} blocks, the ledger has {walk.blocks}")

    def _wrong(self, detail: str) -> None:
        self._report.flag("state", names.CHANGELOG, self._walk.partition, -1, detail)

    def _compare(self, head: Head) -> None:
        if self._chain != head.chain:
            self._wrong("the state names another newest block")
        if head.blocks and self._digest != head.state_digest:
            self._wrong("the state is not the one whose digest the newest block carries")
        for topic in head.positions.keys() | self._positions.keys():
            known, told = self._positions.get(topic, 0), head.positions.get(topic, 0)
            if known != told:
                self._wrong(f"the state goes on at {known} of {topic}, the ledger at {told}")


def _digest(key: bytes, value: bytes) -> int:
    hashed = hashlib.blake2b(value, digest_size=16, key=hashlib.sha256(key).digest())
    return int.from_bytes(hashed.digest(), "big")
