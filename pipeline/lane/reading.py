"""Where one partition stands in each of its inputs, and when it needs a tick.

Pure bookkeeping: positions, gaps, deferrals, "read through T". Time comes in as arguments; no
client library, no threads.
"""

from __future__ import annotations

from collections.abc import Collection, Mapping
from dataclasses import dataclass
from typing import Generic, NamedTuple, TypeVar

from .config import LaneError
from .model import RETENTION, Decided, Gap, PartitionBatch, Record

S = TypeVar("S")

GOALS_MAX = 8
"""Ticks whose ends one input may still have before it; further ones replace the newest."""


class _Undo(NamedTuple):
    """What a `Reading` was before its newest batch was cut."""

    begun: dict[str, int]
    goals: dict[str, list[tuple[int, int]]]
    through: dict[str, int]
    whole: int | None


class Reading:
    """Positions of one partition number in its inputs.

    `position` is what was taken so far, per input; the lane's inner loop moves it record by record.
    A batch is cut from what moved since the last one, and can be put back as long as it is the
    newest.
    """

    __slots__ = (
        "_begun",
        "_gaps",
        "_goals",
        "_parked",
        "_through",
        "_undo",
        "_whole",
        "inputs",
        "lost",
        "open",
        "partition",
        "position",
    )

    def __init__(self, partition: int, positions: Mapping[str, int]) -> None:
        self.partition = partition
        self.position = dict(positions)
        self.inputs: frozenset[str] = frozenset()
        self.open: frozenset[str] = frozenset()
        """Inputs that are being fetched."""
        self.lost: set[str] = set()
        """Inputs whose position is not in their log; no fetching until `found`."""
        self._begun = dict(positions)
        self._gaps: list[Gap] = []
        self._goals: dict[str, list[tuple[int, int]]] = {}
        self._through: dict[str, int] = {}
        self._whole: int | None = None
        self._parked: dict[str, float] = {}
        self._undo: _Undo | None = None

    def select(self, inputs: Collection[str]) -> bool:
        """Read these inputs from now on; one never seen starts at its beginning.

        Returns:
            Whether anything changed.

        """
        chosen = frozenset(inputs)
        if chosen == self.inputs:
            return False
        self.inputs = chosen
        for topic in chosen:
            self._begun.setdefault(topic, self.position.setdefault(topic, 0))
        for topic in [topic for topic in self._goals if topic not in chosen]:
            del self._goals[topic]
        return True

    def wanted(self) -> dict[str, int]:
        """Choose what is to be fetched now, with positions; it is `open` from here on."""
        self.open = self.inputs - self._parked.keys() - self.lost
        return {topic: self.position[topic] for topic in sorted(self.open)}

    def reached_end(self, topic: str, offset: int) -> None:
        """Note that the log of `topic` holds nothing to read below `offset`."""
        if topic in self.open and offset > self.position[topic]:
            self.position[topic] = offset

    def found(self, topic: str, start: int, end: int) -> Gap | None:
        """Continue an input that was `lost`, given where its log starts and ends.

        Returns:
            What can't be read any more, or None where the position is fine after all.

        Raises:
            ValueError: the position lies beyond the end.

        """
        at = self.position[topic]
        if at > end:
            raise ValueError(f"position {at} lies beyond the end {end}")
        self.lost.discard(topic)
        if at >= start:
            return None
        gap = Gap(topic, at, start, RETENTION)
        self._gaps.append(gap)
        self.position[topic] = start
        return gap

    def aim(self, append_ms: int, ends: Mapping[str, int]) -> dict[str, int]:
        """Note where the inputs ended after a tick with this append time.

        Returns:
            Offsets between position and end, per input.

        """
        lags = {}
        for topic, end in ends.items():
            if topic not in self.inputs:
                continue
            lags[topic] = max(0, end - self.position[topic])
            goals = self._goals.setdefault(topic, [])
            if goals and (goals[-1][1] == end or len(goals) >= GOALS_MAX):
                goals.pop()
            goals.append((append_ms, end))
        return lags

    def cut(self, records: list[Record], state: S) -> PartitionBatch[S] | None:
        """Make a batch of everything since the last one; None if there is nothing to tell."""
        goals = {topic: list(aims) for topic, aims in self._goals.items()}
        through = self._reach()
        if not (records or self._gaps or through):
            return None
        self._undo = _Undo(self._begun, goals, dict(self._through), self._whole)
        # An input that is not read any more may still have lost something, which must be told
        told = self.inputs.union(gap.topic for gap in self._gaps)
        ends = {
            topic: self.position[topic]
            for topic in told
            if self.position[topic] != self._begun[topic]
        }
        self._begun = dict(self.position)
        self._through.update(through)
        gaps, self._gaps = self._gaps, []
        return PartitionBatch(
            self.partition, state, records, ends, gaps, through, self._reach_together()
        )

    def put_back(self, batch: PartitionBatch[S], topics: Collection[str] | None, at: float) -> None:
        """Undo the newest `cut` and fetch these inputs no further until `at`.

        None means all of them; so does naming none that has records in the batch, since the same
        batch would be back at once.

        Raises:
            ValueError: there is no such batch.

        """
        if self._undo is None:
            raise ValueError("only the newest batch can be put back, and once")
        self._begun, self._goals, self._through, self._whole = self._undo
        self._undo = None
        self._gaps = batch.gaps + self._gaps
        self.position = dict(self._begun)
        for gap in self._gaps:
            self.position[gap.topic] = max(self.position[gap.topic], gap.next)
        concerned = self.inputs if topics is None else self.inputs.intersection(topics)
        if concerned.isdisjoint({record.topic for record in batch.records}):
            concerned = self.inputs
        for topic in concerned:
            self._parked[topic] = at

    def wake(self, now: float) -> bool:
        """End the deferrals that are over; tell whether there were any."""
        over = [topic for topic, at in self._parked.items() if at <= now]
        for topic in over:
            del self._parked[topic]
        return bool(over)

    @property
    def parked(self) -> frozenset[str]:
        """Inputs that wait for the end of a deferral."""
        return frozenset(self._parked)

    def _reach(self) -> dict[str, int]:
        """Take the goals that the positions have reached: input → newest append time."""
        through = {}
        for topic, goals in self._goals.items():
            while goals and self.position[topic] >= goals[0][1]:
                through[topic] = goals.pop(0)[0]
        return through

    def _reach_together(self) -> int | None:
        """Least append time that every input is read through, if it has moved."""
        if not self.inputs <= self._through.keys():
            return None
        whole = min(self._through[topic] for topic in self.inputs)
        if self._whole is not None and whole <= self._whole:
            return None
        self._whole = whole
        return whole


class TickPlan:
    """When one partition needs a tick from its owner. Times: monotonic seconds, or UTC ms.

    What time it is for the log is known from the newest tick that was read and what has passed
    since, on the monotonic clock: this machine's time of day plays no part.
    """

    __slots__ = ("_heard", "_interval_s", "_newest_ms", "_next", "_pause_s", "_token", "_written")

    def __init__(self, interval_s: float, pause_s: float, now: float) -> None:
        self._interval_s = interval_s
        self._pause_s = pause_s
        self._next = now + interval_s
        self._written = now - pause_s
        self._token: bytes | None = None
        self._newest_ms: int | None = None
        self._heard = now

    def wanted(self, now: float, due_ms: int | None) -> bool:
        """Tell whether to write one now.

        One is on its way at most, and they keep their distance. A due time asks for a tick only
        until one with a later append time was consumed: from then on it is the reading that counts.
        """
        if self._token is not None or now < self._written + self._pause_s:
            return False
        if now >= self._next:
            return True
        if due_ms is None or self._newest_ms is None:
            return due_ms is not None  # a first one tells what time it is
        passed_ms = (now - self._heard) * 1_000
        return self._newest_ms < due_ms <= self._newest_ms + passed_ms

    def written(self, now: float, token: bytes | None) -> None:
        """Note that a tick with this token is on its way; None: it could not be sent."""
        self._token = token
        self._written = now
        self._next = now + self._interval_s

    def consumed(self, now: float, token: bytes | None, append_ms: int) -> None:
        """Note that a tick, one's own or a former owner's, was read."""
        if self._newest_ms is None or append_ms > self._newest_ms:
            self._newest_ms, self._heard = append_ms, now
        self.failed(token)

    def failed(self, token: bytes | None) -> None:
        """Note that a tick is not on its way any longer."""
        if token is not None and token == self._token:
            self._token = None


@dataclass(slots=True)
class Part(Generic[S]):
    """An owned partition number, with what its processor last said about the state."""

    generation: int
    """Of the lane's states when this one was read back."""
    state: S
    reading: Reading
    plan: TickPlan
    due_ms: int | None
    inputs: Collection[str] | None
    mark: str | None = None
    """Which commit made the state what it is; None: none that is known of."""


def check_positions(batch: PartitionBatch[S], decided: Decided) -> None:
    """See that the positions given are behind everything read, and not beyond.

    Raises:
        LaneError: they are not: records would be read twice, or never.

    """
    least = {gap.topic: gap.next for gap in batch.gaps}
    for record in batch.records:
        least[record.topic] = record.offset + 1
    for topic, end in batch.ends.items():
        position = decided.positions.get(topic)
        low = least.get(topic)
        if (position is None and low is not None) or (
            position is not None and not (low or 0) <= position <= end
        ):
            raise LaneError(
                f"partition {batch.partition}: the decision puts input {topic!r} at {position}, "
                f"but its batch reaches from {low} to {end}"
            )
