"""What happens to processes, to the broker, and to time.

Must never touch a worker's memory.
"""

from __future__ import annotations

from typing import Final

from pipeline.contract import names
from pipeline.testing.simulation.claims import HOUR_MS
from pipeline.testing.simulation.events import Event, Stage

_LEAPS_MS: Final = (1_000, 20_000, 90_000, 600_000, HOUR_MS, 5 * HOUR_MS, 30 * HOUR_MS)
_WORKERS_MAX: Final = 4


class Faults:
    """Kills, stops, rebalances, markers that come late, retention, compaction, time that passes.

    Args:
        stage: the simulation.
        slots: of the group, at the beginning.

    """

    def __init__(self, stage: Stage, slots: list[str]) -> None:
        self._stage = stage
        self._slots = slots
        self.events = [
            Event(4.0, self.mark),
            Event(1.6, self.leap),
            Event(2.0, self.restart),
            Event(2.0, self.expire),
            Event(0.6, self.resume),
            Event(0.2, self.kill, fault=True),
            Event(0.2, self.stop, fault=True),
            Event(0.3, self.join, fault=True),
            Event(0.2, self.drain, fault=True),
            Event(0.3, self.supplant, fault=True),
            Event(0.3, self.retain, fault=True),
            Event(0.5, self.compact, fault=True),
            Event(0.2, self.mistake, fault=True),
        ]

    def leap(self) -> None:
        """Much time passes; mostly while no transaction is open, for it would be too long open."""
        stage = self._stage
        if not stage.broker.transactions.open or stage.rnd.random() < 0.1:
            leap_ms = stage.rnd.choice(_LEAPS_MS)
            stage.now_ms += leap_ms
            stage.say("time", f"passes: {leap_ms / 1000:g} s")

    def mark(self) -> None:
        """A marker of a decided transaction reaches one of its logs."""
        transactions = self._stage.broker.transactions
        if transactions.decided:
            transaction = self._stage.rnd.choice(transactions.decided)
            unwritten = transaction.unwritten
            at = self._stage.rnd.randrange(len(unwritten))
            if None in unwritten and self._stage.rnd.random() < 0.3:
                at = unwritten.index(None)  # the group's offsets, long before the others
            transactions.write_marker(transaction, at)

    def retain(self) -> None:
        """Retention takes the beginning of a platform's log, read or not."""
        stage = self._stage
        raw = [log for log in stage.broker.logs.values() if log.topic.startswith(names.RAW_PREFIX)]
        if raw:
            log = stage.rnd.choice(raw)
            log.start = stage.rnd.randrange(log.start, max(log.start, log.stable) + 1)
            stage.say("retention", f"{log.topic} {log.partition} begins at {log.start}")

    def compact(self) -> None:
        """A partition of the changelog is compacted."""
        broker, rnd = self._stage.broker, self._stage.rnd
        broker.log(names.CHANGELOG, rnd.randrange(broker.partitions)).compact(rnd.random() < 0.5)

    def mistake(self) -> None:
        """The group's coordinator is loaded twice."""
        self._stage.broker.transactions.mistake()
        self._stage.say("group", "takes what is decided for pending")

    def kill(self) -> None:
        """A process is killed, wherever it is."""
        if workers := self._stage.workers:
            self._stage.kill(self._stage.rnd.choice(workers))

    def stop(self) -> None:
        """A process is stopped and doesn't know."""
        if self._stage.workers:
            worker = self._stage.rnd.choice(self._stage.workers)
            worker.process.stopped = True
            self._stage.say(worker.process.name, "is stopped")

    def resume(self) -> None:
        """One that was stopped goes on."""
        stopped = [worker for worker in self._stage.workers if worker.process.stopped]
        if stopped:
            worker = self._stage.rnd.choice(stopped)
            worker.process.stopped = False
            self._stage.say(worker.process.name, "goes on")

    def restart(self) -> None:
        """A supervisor starts a fresh process in a slot whose process has ended."""
        living = {worker.slot for worker in self._stage.workers}
        empty = [slot for slot in self._slots if slot not in living]
        if empty:
            self._stage.start(self._stage.rnd.choice(empty))

    def supplant(self) -> None:
        """A stopped process is taken for gone, and its slot given to a fresh one."""
        stopped = [worker for worker in self._stage.workers if worker.process.stopped]
        if stopped and len(self._stage.workers) < _WORKERS_MAX:
            self._stage.start(self._stage.rnd.choice(stopped).slot)

    def join(self) -> None:
        """A worker is added to the group."""
        if len(self._slots) < _WORKERS_MAX:
            slot = f"w{len(self._slots)}"
            self._slots.append(slot)
            self._stage.start(slot)

    def drain(self) -> None:
        """A worker is asked to leave, and not started again, unless it is the last."""
        if len(self._slots) > 1 and self._stage.workers:
            worker = self._stage.rnd.choice(self._stage.workers)
            if worker.slot in self._slots:
                self._slots.remove(worker.slot)
            worker.engine.halt()
            self._stage.say(worker.process.name, "is asked to leave")

    def expire(self) -> None:
        """The session of a member is over whose process doesn't run."""
        group = self._stage.broker.group
        running = {w.producer for w in self._stage.workers if not w.process.stopped}
        silent = [member for member in group.members.values() if member.instance not in running]
        if silent:
            member = self._stage.rnd.choice(silent)
            group.remove(member)
            self._stage.say("group", f"session of {member.name} is over")

    def calm(self) -> None:
        """Every process runs, or is gone for good; there is at least one."""
        for worker in self._stage.workers:
            worker.process.stopped = False
            worker.process.deafness = 0.0
        if not self._stage.workers:
            self._stage.start(self._slots[0])
        self.expire()
