"""What the governor tells the outside about itself: metrics per batch, logs of what is rare.

Must never touch a record, nor do anything once per event.
"""

from __future__ import annotations

import time
from collections.abc import Mapping, Sequence
from typing import Final

import structlog

from pipeline.governance.settlement import DeadLetter
from pipeline.lane import Commit, Deferred, Gap, Observer, Restored
from pipeline.streams.topology import Governed
from pipeline.telemetry.metrics import Metrics

DEAD_LETTERS_LOGGED: Final = 5
_log = structlog.get_logger(__name__)


class WrongPolicy(Deferred):
    """A partition is not governed: what is published is not the bundle that was activated."""

    __slots__ = ()


class GovernorObserver(Observer):
    """The lane's observer, and the measure of each decision."""

    def __init__(self, metrics: Metrics) -> None:
        self._metrics = metrics
        self._deferred: dict[int, str] = {}

    def measure(self, partition: int, governed: Governed) -> None:
        """Count dispositions and latencies of one partition's decisions."""
        self._deferred.pop(partition, None)
        for (fate, reason), count in governed.verdicts.items():
            self._metrics.add(
                "milepost_input_records_total", count, disposition=fate, reason=reason
            )
        now_ms = time.time() * 1_000
        latencies = [max(0.0, now_ms - at) / 1_000 for at in governed.approved_received]
        if latencies:
            self._metrics.spread("milepost_approval_latency_seconds", latencies)
        self._metrics.set("milepost_state_entities", governed.entities, partition=partition)
        self._metrics.set("milepost_state_bytes", governed.state_bytes, partition=partition)
        self._log_dead_letters(partition, governed.dead_letters)

    def _log_dead_letters(self, partition: int, letters: Sequence[DeadLetter]) -> None:
        """Name the first few of a batch; a flood of them is counted."""
        for letter in letters[:DEAD_LETTERS_LOGGED]:
            _log.warning(
                "dead_lettered",
                partition=partition,
                topic=letter.origin.topic,
                offset=letter.origin.offset,
                entity=letter.entity,
                reason=letter.reason.value,
                detail=letter.detail,
            )
        if len(letters) > DEAD_LETTERS_LOGGED:
            more = len(letters) - DEAD_LETTERS_LOGGED
            _log.warning("dead_lettered_more", partition=partition, records=more)

    def assigned(self, partitions: frozenset[int]) -> None:
        """Partitions that this worker governs from now on."""
        _log.info("partitions_assigned", partitions=sorted(partitions))
        self._metrics.set("milepost_owned_partitions", len(partitions))

    def restored(self, restored: Restored) -> None:
        """State was read back."""
        _log.info(
            "state_restored",
            partitions=list(restored.partitions),
            records=restored.records,
            entities=restored.keys,
            seconds=round(restored.seconds, 3),
        )
        self._metrics.record("milepost_restore_seconds", restored.seconds)
        self._metrics.record("milepost_restore_records", restored.records)

    def committed(self, commit: Commit) -> None:
        """One transaction."""
        self._metrics.record("milepost_transaction_records", commit.records)
        self._metrics.record("milepost_transaction_bytes", commit.bytes)
        for step, seconds in (
            ("decide", commit.decide_s),
            ("produce", commit.produce_s),
            ("commit", commit.commit_s),
        ):
            self._metrics.record("milepost_transaction_seconds", seconds, step=step)

    def aborted(self, why: str) -> None:
        """A transaction was aborted; state is reloaded."""
        _log.warning("transaction_aborted", why=why)
        self._metrics.add("milepost_transaction_aborts_total", 1)

    def deferred(self, partition: int, deferred: Deferred) -> None:
        """A batch was put off; said once per reason."""
        self._metrics.add("milepost_deferrals_total", 1)
        wrong = isinstance(deferred, WrongPolicy)
        if wrong:
            self._metrics.add("milepost_policy_mismatches_total", 1)
        if self._deferred.get(partition) != deferred.why:
            self._deferred[partition] = deferred.why
            topics = sorted(deferred.topics or ())
            if wrong:
                _log.error("policy_mismatch", partition=partition, why=deferred.why)
            else:
                _log.warning("batch_deferred", partition=partition, topics=topics, why=deferred.why)

    def gap(self, partition: int, gap: Gap) -> None:
        """Records were gone before they were read."""
        _log.error(
            "input_gap",
            partition=partition,
            topic=gap.topic,
            first=gap.first,
            next=gap.next,
            why=gap.why,
        )
        self._metrics.add("milepost_input_gap_records_total", gap.next - gap.first, topic=gap.topic)

    def lag(self, partition: int, records: Mapping[str, int]) -> None:
        """Offsets between position and end."""
        for topic, count in records.items():
            self._metrics.set("milepost_input_lag_records", count, topic=topic, partition=partition)

    def refused(self, topic: str, why: str) -> None:
        """An input can't be read."""
        _log.error("input_refused", topic=topic, why=why)
        self._metrics.add("milepost_input_refusals_total", 1, topic=topic)

    def unstable(self, partitions: frozenset[int], seconds: float) -> None:
        """A predecessor's transaction stays undecided."""
        _log.error(
            "transaction_undecided",
            partitions=sorted(partitions),
            seconds=round(seconds, 1),
            remedy="see `milepost doctor`; do not abort it blindly",
        )
        self._metrics.set("milepost_transaction_undecided_seconds", seconds)
