"""The workers' changelog held against the ledger, whose blocks carry a digest of the state.

It also shows a ledger whose end was cut off: the state knows the newest block. Must never look into
an entity's state.
"""

from __future__ import annotations

import hashlib
import json
from typing import Any, Final

from pipeline.contract import names
from pipeline.operations.proof.evidence import Evidence
from pipeline.operations.proof.ledger import Head, LedgerWalk, digest_of
from pipeline.operations.proof.report import Report
from pipeline.operations.proof.spill import Buckets

OWN_KEY: Final = b"\0partition"
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
        self.own: dict[str, Any] = {}
        """What the state says of the partition itself."""
        self.offset = -1
        """Of that."""
        number = walk.partition
        self.span = span = evidence.span(names.CHANGELOG, number)
        entities = Buckets("B16s", walk.folder)
        for record in evidence.records(names.CHANGELOG, number, span):
            key, value = record.key or b"", record.value
            if key == OWN_KEY:
                self._take_own(record.offset, value)
            else:
                digest = b"" if value is None else digest_in_state(key, value)
                entities.add(digest_of(key), value is not None, digest)
        total = sum(
            int.from_bytes(entries[-1][1], "big")
            for _, entries in entities.groups()
            if entries[-1][0]
        )
        self._digest = f"{total % _MODULUS:032x}"
        self.blocks = int(self.own.get("block", 0))
        walk.wanted = self.blocks
        walk.marked = walk.head if self.blocks == walk.blocks else None

    def conclude(self) -> None:
        """Compare with the ledger, which was walked to its end."""
        walk = self._walk
        if walk.marked is not None:
            self._compare(walk.marked)
            return
        detail = f"the state knows {self.blocks} blocks, the ledger has {walk.blocks}"
        if self.blocks > walk.blocks:
            self._wrong(f"{detail}: its end is gone, or its newest transaction is torn")
        else:
            self._wrong(f"{detail}: the state's end is gone, or their newest transaction is torn")

    def _take_own(self, offset: int, value: bytes | None) -> None:
        self.offset = offset
        try:
            own = json.loads(value or b"{}")
            self.own = {"block": int(own["block"]), "chain": own["chain"]} | own
        except (ValueError, KeyError, TypeError):
            self._wrong("its own record can't be read")

    def _wrong(self, detail: str) -> None:
        self._report.flag("state", names.CHANGELOG, self._walk.partition, self.offset, detail)

    def _compare(self, head: Head) -> None:
        if self.own.get("chain", "") != head.chain:
            self._wrong("the state names another newest block")
        if head.blocks and self._digest != head.state_digest:
            self._wrong("the state is not the one whose digest the newest block carries")
        positions = self.own.get("positions", {})
        for topic in sorted(head.positions.keys() | positions.keys()):
            known, told = positions.get(topic, 0), head.positions.get(topic, 0)
            if known != told:
                self._wrong(f"the state goes on at {known} of {topic}, the ledger at {told}")


def digest_in_state(key: bytes, value: bytes) -> bytes:
    """What an entity adds to the digest of its partition's state."""
    keyed = hashlib.sha256(key).digest()
    return hashlib.blake2b(value, digest_size=16, key=keyed).digest()
