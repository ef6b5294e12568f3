"""One life of a governor worker: the lane's engine and the governor's decider, as they ship.

Faust's channel between the two is left out: a batch is decided where it is handed over. Must never
decide about a record.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Collection
from concurrent.futures import Future
from random import Random
from typing import Any, Final, Protocol

from pipeline.contract import codec, names
from pipeline.governance.vocabulary import ControlKind
from pipeline.lane import Commit, Decided, LaneConfig, Observer, Restored, Tick
from pipeline.lane.config import LaneError
from pipeline.lane.engine import Engine
from pipeline.lane.leaving import Watchdog
from pipeline.lane.model import RecordBatch
from pipeline.streams.governor import Decider, Governing, Inputs
from pipeline.streams.state import PartitionState
from pipeline.streams.topology import Governed, Surroundings
from pipeline.testing.driver import SCHEMA_IDS
from pipeline.testing.simulation.knowledge import (
    DECLARED,
    WRITTEN,
    Knowledge,
    SimulatedLookups,
)
from pipeline.testing.simulation.process import Process, Surrounding
from pipeline.testing.simulation.seams import LeftError, finished
from pipeline.testing.simulation.turns import Actor, CrashError, Turn
from pipeline.testing.simulation.violation import ViolationError

GROUP: Final = "simulated"
RECORD_BYTES_MAX: Final = 2_000
_FENCED: Final = "consume: "
"""How the lane begins to tell that its consumer can't go on."""


class Habitat(Surrounding, Protocol):
    """The simulation, as a worker sees it."""

    knowledge: Knowledge
    batches: tuple[int, ...]
    """How many records a worker may take at once."""

    def monotonic(self) -> float:
        """Seconds of simulated time."""

    def failed(self, violation: ViolationError) -> None:
        """A worker has found what must not be."""

    def committed(self, worker: Worker, commit: Commit) -> None:
        """A worker has committed."""

    def say(self, who: str, what: str) -> None:
        """For the trace."""

    def after(self) -> Turn:
        """Who is next, now that a worker's thread is over."""


class Worker(Observer):
    """A worker in one of the group's slots.

    Args:
        world: the simulation.
        slot: of the group.
        life: how many have lived in this slot before.

    """

    def __init__(self, world: Habitat, slot: str, life: int) -> None:
        self.slot = slot
        self.producer = f"{GROUP}-{slot}"
        """Its transactional id, which is its name in the group as well."""
        self.process = Process(f"{slot}.{life}", world)
        self.process.actor = Actor(self.process.name, self._run, world.after)
        self._world = world
        self._ahead: Counter[int] = Counter()
        """By partition: batches that were decided and are not committed."""
        inputs = Inputs(DECLARED)
        lookups = SimulatedLookups(world.knowledge, world.monotonic)
        surroundings = surrounded(world.broker.partitions, lookups.policies, lookups.schemas)
        governing = Governing(inputs)
        self.engine: Engine[PartitionState] = Engine(
            self._config(world.rnd), governing, self, self._deliver
        )
        self._decider = Decider(surroundings, lookups, _measure, inputs, self._set_inputs)

    def state(self, partition: int) -> PartitionState | None:
        """State of a partition in memory, where everything decided is committed."""
        inlet = self.engine._inlet  # noqa: SLF001  what is compared is what nobody else may see
        part = None if inlet is None else inlet.parts.get(partition)
        return None if part is None or self._ahead[partition] else part.state

    def committed(self, commit: Commit) -> None:
        """See `Observer`."""
        self._world.say(self.process.name, f"committed {commit.records} records")
        self._ahead.subtract(commit.partitions)
        self._world.committed(self, commit)

    def aborted(self, why: str) -> None:
        """See `Observer`."""
        self._world.say(self.process.name, f"aborted: {why}")

    def assigned(self, partitions: frozenset[int]) -> None:
        """See `Observer`."""
        self._ahead.clear()
        self._world.say(self.process.name, f"owns {sorted(partitions)}")

    def restored(self, restored: Restored) -> None:
        """See `Observer`."""
        self.process.restores.update(restored.partitions)

    def deferred(self, partition: int, deferred: Any) -> None:
        """See `Observer`."""
        self._world.say(self.process.name, f"puts {partition} off: {deferred.why}")

    def gap(self, partition: int, gap: Any) -> None:
        """See `Observer`."""
        self._world.say(self.process.name, f"lost in {partition}: {gap}")

    def _set_inputs(self, topics: Collection[str]) -> Future[frozenset[str]]:
        return self.engine.set_inputs(topics)

    def _config(self, rnd: Random) -> LaneConfig:
        return LaneConfig(
            client={"bootstrap.servers": "simulated"},
            group=GROUP,
            slot=self.slot,
            control_topic=names.CONTROL,
            changelog_topic=names.CHANGELOG,
            inputs=DECLARED - {names.CONTROL},
            batch_records_max=rnd.choice(self._world.batches),
            overlap_records=rnd.choice((1, 3, 1_000)),
            tick=_tick,
        )

    def _deliver(self, batch: RecordBatch[PartitionState]) -> None:
        """Decide a batch; in one order of inputs, which hashing would leave open."""
        for part in batch.parts.values():
            part.ends = dict(sorted(part.ends.items()))
        results = finished(self._decider.decide(batch))
        self._ahead.update(n for n, result in results.items() if isinstance(result, Decided))
        batch.done(results)

    def _run(self) -> None:
        """The process, from its start to its end."""
        try:
            self.engine.run(_Watch())
            self._world.say(self.process.name, "has left the group")
        except CrashError:
            self._world.say(self.process.name, "is gone")
        except LeftError as left:
            self._world.say(self.process.name, f"leaves its process: {left}")
        except ViolationError as violation:
            self._world.failed(violation)
        except Exception as error:  # noqa: BLE001  whatever it is, somebody must hear of it
            fenced = isinstance(error, LaneError) and str(error).startswith(_FENCED)
            self._world.say(self.process.name, f"fails: {error!r}")
            if not fenced:
                told = f"{self.process.name} fails: {error!r}"
                failure = ViolationError("worker", told)
                failure.__cause__ = error
                self._world.failed(failure)
        if not self.process.actor.doomed:
            self.process.end()


class _Watch(Watchdog):
    """A watchdog that watches nothing: simulated time passes while nobody works."""

    def __init__(self) -> None:
        """Without a thread."""

    def step(self, what: str, limit_s: float | None = None) -> None:
        """See `Watchdog`."""


def surrounded(
    partitions: int, policies: Any, schemas: Any, inputs: frozenset[str] = DECLARED
) -> Surroundings:
    """What a run of the topology needs."""
    return Surroundings(
        partitions=partitions,
        group=GROUP,
        policies=policies,
        schemas=schemas,
        ids=WRITTEN,
        inputs=inputs,
        record_bytes_max=RECORD_BYTES_MAX,
    )


def _tick(partition: int) -> Tick:
    return Tick(str(partition).encode(), control(ControlKind.TICK, partition))


def control(kind: ControlKind, partition: int, **told: Any) -> bytes:
    """Value of a control record."""
    record = {"kind": kind.value, "partition": partition, **told}
    return codec.encode(record, codec.committed("control"), SCHEMA_IDS["control"])


def _measure(partition: int, governed: Governed) -> None:
    """Nobody measures."""
