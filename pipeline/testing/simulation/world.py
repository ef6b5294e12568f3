"""A simulated world: broker, clock, workers and what happens to them, all from one seed.

Exactly one thing happens at a step; the invariants are checked after it. First anything may go
wrong; then nothing does any more, and all that was written must be decided. Must never look at a
real clock or another source of chance.
"""

from __future__ import annotations

import hashlib
from collections import Counter
from itertools import accumulate
from random import Random
from typing import Final

from pipeline.contract import names
from pipeline.lane import Commit
from pipeline.testing.simulation.audit import Audit
from pipeline.testing.simulation.broker import Broker
from pipeline.testing.simulation.events import Event
from pipeline.testing.simulation.faults import Faults
from pipeline.testing.simulation.knowledge import Knowledge
from pipeline.testing.simulation.operators import Operators
from pipeline.testing.simulation.process import Process
from pipeline.testing.simulation.seams import simulated
from pipeline.testing.simulation.traffic import Platforms
from pipeline.testing.simulation.turns import Turn
from pipeline.testing.simulation.violation import ViolationError
from pipeline.testing.simulation.worker import Worker

START_MS: Final = 1_767_600_000_000
TRANSACTION_TIMEOUT_MS: Final = 15_000
CALM_STEPS_MAX: Final = 6_000
"""After which something is stuck."""
LIVES_MAX: Final = 12
_DAY_MS: Final = 86_400_000
_LAST_LEAPS: Final = (4 * _DAY_MS, 9 * _DAY_MS)
"""At the end, one after the other: by then every wait is over."""
FAULTS: Final = {
    "crash before produce": 0.04, "crash after produce": 0.04, "crash after offsets": 0.04,
    "crash before commit": 0.04, "crash after commit": 0.06, "crash during restore": 0.05,
    "stop after produce": 0.06, "stop before commit": 0.06, "stop during restore": 0.03,
    "lost record": 0.03, "lost tick": 0.1, "offsets refused": 0.04, "offsets again": 0.04,
    "offsets unheard": 0.02, "offsets unanswered": 0.02, "commit refused": 0.04,
    "commit again": 0.04, "commit unheard": 0.02, "commit unanswered": 0.03,
}  # fmt: skip
"""What may strike a process where it is, and how likely each time."""


class World:
    """One simulation.

    Args:
        seed: decides everything.
        trace: whether to keep what happened, line by line.

    """

    running: Process

    def __init__(self, seed: int, *, trace: bool = False) -> None:
        self.seed = seed
        self.rnd = rnd = Random(seed)  # noqa: S311  the seed decides everything, no secret
        self.now_ms = START_MS
        self.steps = 0
        self.trace: list[str] | None = [] if trace else None
        self.broker = Broker(rnd.choice((1, 2, 2, 3)), TRANSACTION_TIMEOUT_MS)
        self.broker.transactions.now_ms = self.now_ms
        self.knowledge = Knowledge()
        self.audit = Audit(self.broker)
        self.workers: list[Worker] = []
        self.violation: ViolationError | None = None
        self.struck: Counter[str] = Counter()
        """How often each of `FAULTS` happened."""
        self._all: list[Worker] = []
        self._lives: Counter[str] = Counter()
        self._caller = Turn()
        self._error: Exception | None = None
        self._calm_since: int | None = None
        self._leaps = list(_LAST_LEAPS)
        self._goal_ms = 0
        slots = [f"w{number}" for number in range(rnd.choice((1, 2, 2, 3)))]
        self.claims = rnd.randrange(15, 46)
        """How many events its platforms write."""
        self._platforms = Platforms(self, self.claims)
        prompt = rnd.random() < 0.7
        self.batches: tuple[int, ...] = (1, 4, 12, 100) if prompt else (200,)
        """How many records a worker may take at once: all that comes before a first activation."""
        self._operators = Operators(self)
        self._faults = Faults(self, slots)
        parts = (self._platforms, self._operators, self._faults)
        events = [event for part in parts for event in part.events]
        self._events: list[Event] = [e for e in events if not e.fault or rnd.random() < 0.6]
        self._weights = list(accumulate(event.weight for event in self._events))
        self._odds = {what: odds for what, odds in FAULTS.items() if rnd.random() < 0.5}
        self._patience = rnd.choice((0.3, 0.6, 0.9))
        """How likely a process is interrupted where it could be."""
        self._slots = slots
        for partition in range(self.broker.partitions if prompt else 0):
            self._operators.activate_first(partition)

    @property
    def processes(self) -> int:
        """How many workers have lived."""
        return len(self._all)

    def run(self) -> None:
        """Run it to its end; afterwards `violation` tells what was found.

        Raises:
            Exception: the simulation itself is at fault.

        """
        with simulated(self):
            for slot in list(self._slots):
                self.start(slot)
            self._next().give()
            self._caller.take()
            for worker in self._all:
                worker.process.dead = True
                worker.process.actor.unwind()
        if self._error is not None:
            raise self._error

    # What processes and events may call

    def monotonic(self) -> float:
        """Seconds of simulated time."""
        return self.now_ms / 1_000

    def sleep(self, seconds: float) -> None:
        """A process lets time pass."""
        self.now_ms += round(1_000 * seconds)
        self.running.pause("sleep")

    def say(self, who: str, what: str) -> None:
        """For the trace."""
        if self.trace is not None:
            after_s = (self.now_ms - START_MS) / 1_000
            self.trace.append(f"{self.steps:5} {after_s:12.3f} s  {who:16} {what}")

    def strikes(self, what: str) -> bool:
        """Whether a fault happens now."""
        odds = self._odds.get(what)
        if odds is None or self._calm_since is not None or self.rnd.random() >= odds:
            return False
        self.struck[what] += 1
        self.say("fault", what)
        return True

    def pause(self, process: Process, what: str) -> None:
        """Let anything happen before a process goes on."""
        del what
        if self.rnd.random() >= self._patience and not process.stopped:
            return
        following = self._next()
        if following is not process.actor:
            following.give()
            process.actor.take()

    def start(self, slot: str) -> None:
        """Start a fresh process in a slot."""
        worker = Worker(self, slot, self._lives[slot])
        self._lives[slot] += 1
        self._all.append(worker)
        self.workers.append(worker)
        self.say(worker.process.name, "starts")

    def kill(self, worker: Worker) -> None:
        """Kill a process."""
        if self._lives.total() < LIVES_MAX:
            self.say(worker.process.name, "is killed")
            worker.process.end()
            self.workers.remove(worker)

    def committed(self, worker: Worker, commit: Commit) -> None:
        """A worker has committed: what it has in memory must be what it wrote."""
        transactions = self.broker.transactions
        if any(item.producer == worker.producer for item in transactions.untold):
            return
        self.audit.look()
        for partition in commit.partitions:
            state = worker.state(partition)
            if state is not None:
                self.audit.compare(state, worker.process.name)

    def failed(self, violation: ViolationError) -> None:
        """Something is not as promised: the first such thing ends the simulation."""
        self.violation = self.violation or violation

    def after(self) -> Turn:
        """Who is next, now that a process has ended."""
        self.workers = [worker for worker in self.workers if not worker.process.dead]
        return self._next()

    # The schedule

    def _next(self) -> Turn:
        """Let things happen until a process is to go on, or the simulation is over."""
        try:
            while self.violation is None and not self._over():
                worker = self._step()
                self.audit.look()
                if worker is not None:
                    self.running = worker.process
                    return worker.process.actor
        except ViolationError as violation:
            self.failed(violation)
        except Exception as error:  # noqa: BLE001  raised where the simulation was called
            self._error = error
        return self._caller

    def _step(self) -> Worker | None:
        """One step; the worker that is to go on, if that is it."""
        rnd = self.rnd
        self.steps += 1
        self.now_ms += rnd.randrange(1, 200 if self._calm_since is not None else 30)
        transactions = self.broker.transactions
        transactions.now_ms = self.now_ms
        for late in transactions.expire():
            self.say("coordinator", f"aborts a transaction of {late.producer}: open for too long")
        able = [worker for worker in self.workers if not worker.process.stopped]
        if able and rnd.random() < (0.6 if self._calm_since is None else 0.8):
            worker = rnd.choice(able)
            if not worker.process.idle or rnd.random() < 0.4:
                return worker
        if self._calm_since is None:
            rnd.choices(self._events, cum_weights=self._weights)[0].act()
        elif rnd.random() < 0.5:
            self._faults.mark()
        else:
            self._faults.calm()
        return None

    def _over(self) -> bool:
        """Whether it is over; on the way, faults stop and time leaps once all was decided."""
        if self._calm_since is None:
            if self._platforms.left == 0 and self.rnd.random() < 0.02:
                self._calm()
            return False
        if self.steps % 8:
            return False
        stuck = self.audit.unfinished(self._goal_ms)
        if stuck is None and not self._leaps:
            self.audit.conclude()
            return True
        if stuck is None or self.steps % 400 == 0:
            for partition in range(self.broker.partitions):
                self._operators.release(partition, self.audit.held_back(partition))
        if stuck is None:
            self.now_ms += self._leaps.pop(0)
            self._goal_ms = self.now_ms
            self._calm_since = self.steps
        elif self.steps - self._calm_since > CALM_STEPS_MAX:
            raise ViolationError("liveness", stuck)
        return False

    def _calm(self) -> None:
        """From here on nothing goes wrong."""
        self._calm_since = self.steps
        self.say("world", "calms down")
        self._platforms.calm()
        self._operators.calm()
        self._faults.calm()

    def digest(self) -> str:
        """Of everything that was ever written: two runs of a seed have the same."""
        found = hashlib.blake2b(digest_size=16)
        for place, log in sorted(self.broker.logs.items()):
            found.update(repr(place).encode())
            for entry in log.entries:
                told = entry._replace(transaction=None)
                if place[0] == names.CHANGELOG:
                    told = told._replace(value=self.audit.canonical(told.key, told.value))
                found.update(repr((tuple(told), entry.visible)).encode())
        found.update(repr((self.steps, self.now_ms)).encode())
        return found.hexdigest()
