"""What an audit has proven so far, in a file: an audit that was interrupted goes on from there.

A partition is taken over only if the ledger still has, where its proof ended, the block that it
ended with. Must never hold a partition in which something was found.
"""

from __future__ import annotations

import contextlib
import hashlib
import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any, Final

from pipeline.contract import names
from pipeline.kafka.reading import Span
from pipeline.operations.proof.evidence import Evidence
from pipeline.operations.proof.report import Beyond, Input, Report, TakenOver

_FORMAT: Final = 1
_COUNTS: Final = ("blocks", "records", "decided_ms", "approved", "dead_letters", "lost")
_HEADER_BYTES: Final = 5


class Proven:
    """The proofs of one audit, partition by partition.

    Args:
        file: where they are kept.
        resume: take over what the audit before has proven; else it is forgotten.
        deep: whether the decisions are replayed too: only such proofs are taken over then.

    Raises:
        OSError: the file can't be written.

    """

    def __init__(self, file: Path, *, resume: bool, deep: bool) -> None:
        self._file = file
        self._deep = deep
        self._proofs: dict[str, Any] = {}
        if resume:
            with contextlib.suppress(FileNotFoundError, ValueError):
                told = json.loads(file.read_text("utf-8"))
                if isinstance(told, dict) and told.get("format") == _FORMAT:
                    self._proofs = told["partitions"]
        else:
            file.unlink(missing_ok=True)

    def take_over(self, evidence: Evidence, partition: int, end: int) -> Report | None:
        """What was found of a partition, if it was proven; None: it has to be read.

        Args:
            evidence: the topics.
            partition: its number.
            end: where its ledger ends now.

        """
        proof = self._proofs.get(str(partition))
        if proof is None or (self._deep and not proof["deep"]) or proof["offset"] > end:
            return None
        if proof["chain"] != _chain_at(evidence, partition, proof["last"]):
            return None
        report = Report(partitions=1, **{name: proof[name] for name in _COUNTS})
        report.inputs = [Input(*item) for item in proof["inputs"]]
        report.beyond = [Beyond(*item) for item in proof["beyond"]]
        report.dispositions.update(proof["dispositions"])
        report.reasons.update(proof["reasons"])
        taken = TakenOver(
            partition, proof["at"], proof["blocks"], proof["offset"], end - proof["offset"]
        )
        report.taken_over.append(taken)
        return report

    def keep(self, partition: int, report: Report, place: Mapping[str, Any]) -> None:
        """Note a partition in which nothing was found.

        Args:
            partition: its number.
            report: what was read of it.
            place: where and when: `at`, ms UTC, the ledger's `offset` that was reached, the `last`
                block's offset and its `chain` hash.

        """
        self._proofs[str(partition)] = {
            **{name: getattr(report, name) for name in _COUNTS},
            "inputs": report.inputs,
            "beyond": report.beyond,
            "dispositions": report.dispositions,
            "reasons": report.reasons,
            "deep": self._deep,
            **place,
        }
        self._file.parent.mkdir(parents=True, exist_ok=True)
        written = self._file.with_suffix(".new")
        told = {"format": _FORMAT, "partitions": self._proofs}
        written.write_text(json.dumps(told), "utf-8")
        written.replace(self._file)

    def done(self) -> None:
        """Forget everything: the audit has come to its end."""
        self._file.unlink(missing_ok=True)


def _chain_at(evidence: Evidence, partition: int, offset: int) -> str:
    """Hash of the block at an offset of the ledger; empty: there is none."""
    for record in evidence.records(names.DECISIONS, partition, Span(offset, offset + 1)):
        return hashlib.sha256((record.value or b"")[_HEADER_BYTES:]).hexdigest()
    return ""
