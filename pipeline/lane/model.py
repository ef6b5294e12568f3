"""What passes between the lane and the application: records, batches, decisions, observations.

Plain values. Nothing here opens a connection, reads a clock or knows Faust.
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterable, Mapping
from dataclasses import dataclass, field
from typing import Generic, NamedTuple, Protocol, TypeVar

S = TypeVar("S")

Headers = list[tuple[str, bytes | None]]

TICK_HEADER = "lane.tick"
"""Header of a tick on the control topic; its value is the token of the worker that wrote it."""


class Record(NamedTuple):
    """One consumed record; `timestamp_ms` is its append time (UTC)."""

    topic: str
    partition: int
    offset: int
    timestamp_ms: int
    key: bytes | None
    value: bytes | None
    headers: Headers | None


def is_tick(record: Record) -> bool:
    """Tell whether a record is a tick, whichever worker wrote it."""
    return record.headers is not None and any(name == TICK_HEADER for name, _ in record.headers)


Produced = tuple[str, int, bytes | None, bytes | None, list[tuple[str, bytes | None]] | None]
"""One record to produce as a bare tuple, as fields of `Output` in their order."""


class Output(NamedTuple):
    """One record to produce; the partition is always the application's choice."""

    topic: str
    partition: int
    key: bytes | None
    value: bytes | None
    headers: list[tuple[str, bytes | None]] | None = None


class Tick(NamedTuple):
    """What the application wants a tick to say; the lane adds `TICK_HEADER`."""

    key: bytes | None = None
    value: bytes | None = None
    headers: tuple[tuple[str, bytes], ...] = ()


class Gap(NamedTuple):
    """Offsets `first` to `next - 1` of an input that nobody can read any more."""

    topic: str
    first: int
    next: int
    why: str


RETENTION = "retention"
"""`Gap.why`: the log of the input begins above the position."""


@dataclass(slots=True)
class PartitionBatch(Generic[S]):
    """What is to be decided for one partition number, over all its inputs."""

    partition: int
    state: S
    records: list[Record] = field(default_factory=list)
    """As fetched; per input in offset order."""
    ends: dict[str, int] = field(default_factory=dict)
    """Position reached by this batch, of every input that moved: the offset to read next, behind
    trailing transaction markers where the end of the log was seen."""
    gaps: list[Gap] = field(default_factory=list)
    read_through: dict[str, int] = field(default_factory=dict)
    """Input → T (ms), where this batch completes reading everything appended up to T."""
    read_through_ms: int | None = None
    """The same for all inputs together, when that moved: the least T of them."""


@dataclass(slots=True)
class Decided:
    """A decision for one partition: everything in it commits in one transaction."""

    outputs: Iterable[Produced]
    changelog: Iterable[tuple[bytes, bytes | None]]
    """Key → value, None deletes; written to the same partition number of the changelog."""
    positions: Mapping[str, int]
    """Next offset per input, as the state now says: at least behind the batch's records and gaps,
    at most its `ends`."""


@dataclass(slots=True)
class Deferred:
    """An outage: nothing was decided and the state is as it was before the batch.

    The lane goes back to where the batch began, reads the named inputs no further for `seconds`,
    goes on with everything else, then tries again. No names, or none that has records in the
    batch: all inputs of this partition.
    """

    seconds: float
    why: str
    topics: frozenset[str] | None = None

    def __post_init__(self) -> None:
        """Refuse what would spin or wait for ever."""
        if not 0 < self.seconds <= 3600:
            raise ValueError(f"a deferral takes more than 0 and at most 3600 s: {self.seconds}")
        if self.topics is not None and not self.topics:
            raise ValueError("a deferral names its inputs, or None for all of them")


Results = Mapping[int, Decided | Deferred]


class RecordBatch(Generic[S]):
    """What one reading brought, by partition number; answered once, with `done`."""

    __slots__ = ("_answer", "parts", "size")

    def __init__(
        self,
        parts: dict[int, PartitionBatch[S]],
        size: int,
        answer: Callable[[tuple[RecordBatch[S], Results]], None],
    ) -> None:
        self.parts = parts
        self.size = size
        self._answer = answer

    def done(self, results: Results) -> None:
        """Hand the decisions back: exactly one for each partition of the batch."""
        self._answer((self, results))


class Processor(Protocol[S]):
    """How the application's state of one partition comes to be and what the lane may ask of it.

    Called on the lane's thread, never while a batch is with the agent. The state itself is the
    application's: the agent may update it in place, the lane drops it when anything fails.
    """

    def restore(self, partition: int, changelog: dict[bytes, bytes]) -> S:
        """Build the state from the newest value of each changelog key (none: a new partition)."""
        ...

    def positions(self, state: S) -> Mapping[str, int]:
        """Next offset of each input that this partition has ever read."""
        ...

    def due_ms(self, state: S) -> int | None:
        """When this partition wants its clock moved (UTC ms); None: the regular tick will do."""
        ...

    def inputs(self, state: S) -> Collection[str] | None:
        """Which of the lane's inputs this partition reads now; None: all."""
        ...


@dataclass(frozen=True, slots=True)
class Commit:
    """One committed transaction. `outputs` and `bytes` include the changelog."""

    partitions: tuple[int, ...]
    records: int
    outputs: int
    bytes: int
    decide_s: float
    """From handing the batch to the agent to its answer."""
    produce_s: float
    commit_s: float
    """Sending the offsets and committing; hidden behind deciding where batches are big."""


@dataclass(frozen=True, slots=True)
class Restored:
    """What restoring one assignment took; `records` counts changelog records, `keys` live ones."""

    partitions: tuple[int, ...]
    records: int
    keys: int
    seconds: float


class Observer:
    """Telemetry hook, called on the lane's thread once per batch or rarer. Override what you need.

    An exception in here ends the process like any other in the lane: don't do I/O.
    """

    def phase(self, name: str) -> None:
        """Report that the lane's phase changed."""

    def assigned(self, partitions: frozenset[int]) -> None:
        """Report the partition numbers that this worker owns from now on; empty: none."""

    def restored(self, restored: Restored) -> None:
        """Report that the state of an assignment was read back."""

    def committed(self, commit: Commit) -> None:
        """Report a committed transaction."""

    def aborted(self, why: str) -> None:
        """Report an aborted transaction: state and positions are reloaded."""

    def deferred(self, partition: int, deferred: Deferred) -> None:
        """Report that the application put a batch off."""

    def gap(self, partition: int, gap: Gap) -> None:
        """Report records that were gone before they were read."""

    def read_through(self, partition: int, topics: Mapping[str, int]) -> None:
        """Report inputs that are read through an append time (ms)."""

    def lag(self, partition: int, records: Mapping[str, int]) -> None:
        """Report offsets between position and end of each input, when a tick was consumed."""

    def refused(self, topic: str, why: str) -> None:
        """Report an input that can't be read."""

    def unstable(self, partitions: frozenset[int], seconds: float) -> None:
        """Report that a predecessor's transaction stays undecided longer than it may."""
