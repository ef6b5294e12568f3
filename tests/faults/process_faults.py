"""Faults of processes: killed at random and at named moments, stopped beyond their session, too
many at once, and the broker itself killed. Each returns once it has happened."""

from __future__ import annotations

import os
import re
import signal
from collections.abc import Callable
from random import Random

import psutil
from arena import SLOTS, Arena, lasts
from confluent_kafka.admin import (
    AdminClient,
    AlterConfigOpType,
    ConfigEntry,
    ConfigResource,
    ResourceType,
)
from crash_points import ERP, OVERLAPPING
from governed_stack import until
from running import KILLED, Governor, Running

from pipeline.contract import names

SESSION_S = 3.0
LARGE = 1_000
"""Records of a batch from which on a lane decides the next one while this one commits."""
TINY = 200
"""Bytes that hold the end of a transaction, and no batch of records."""
NOTICED = re.compile(r'lane: leaving the process \(75\)|"state_restored"')
"""What one says that knows that others have its partitions: it leaves, or has a share anew."""
Act = Callable[[Arena, Random], None]


def kill_workers(arena: Arena, roll: Random) -> None:
    """Kill -9 two workers at random moments, perhaps the same slot's; others are started."""
    for _ in range(2):
        lasts(roll.uniform(0.0, 1.5))
        arena.governors[roll.choice(SLOTS)].kill_worker()


def kill_supervisor(arena: Arena, roll: Random) -> None:
    """Kill -9 a supervisor: its worker leaves in order and nobody starts another."""
    arena.governors[roll.choice(SLOTS)].kill()


def kill_sinks(arena: Arena, roll: Random) -> None:
    """Kill -9 all sinks and the ERP at a random moment."""
    lasts(roll.uniform(0.0, 1.0))
    for process in (*arena.portals, arena.erp_sink, arena.erp):
        process.kill()


def dies_at(point: str) -> Act:
    """A worker dies at a named moment, at one of its first passages."""

    def act(arena: Arena, roll: Random) -> None:
        governor = arena.governors[roll.choice(SLOTS)]
        governor.kill_both()
        passage = 1 if point.endswith("restore") else roll.randint(1, 6)
        governor.start(arena.spoiled("dying.py", point, str(passage)), {KILLED})
        assert governor.wait() == KILLED, governor.said()

    return act


def dies_overlapping(arena: Arena, roll: Random) -> None:
    """A worker with more to do than one batch takes dies when one is committed."""
    governor = arena.governors[roll.choice(SLOTS)]
    arena.stop_governors()
    sent = arena.traffic.sent
    arena.traffic.at_once(4 * LARGE)
    until(lambda: arena.traffic.sent >= sent + 4 * LARGE, 60, "a lot to do")
    large = {"MILEPOST_GOVERNOR_BATCH_RECORDS_MAX": str(LARGE)}
    governor.start(arena.spoiled("dying.py", OVERLAPPING, "1"), {KILLED}, **large)
    assert governor.wait() == KILLED, governor.said()


def abort(arena: Arena, roll: Random) -> None:
    """A transaction aborts instead of its commit: state and positions are read again."""
    governor = arena.governors[roll.choice(SLOTS)]
    governor.kill_both()
    governor.start(arena.spoiled("dying.py", "abort", str(roll.randint(1, 6))))
    until(lambda: "transaction_aborted" in governor.said(), 60, "an abort")


def sink_dies_at(point: str) -> Act:
    """A sink dies at a named moment; of the portal's, each on its own database."""

    def act(arena: Arena, roll: Random) -> None:
        sinks = [arena.erp_sink] if point in ERP else arena.portals
        for sink in sinks:
            sink.kill()
            passage = str(roll.randint(1, 4))
            sink.start(arena.spoiled_sink(sink, "dying.py", point, passage), {KILLED})
        for sink in sinks:
            assert sink.wait() == KILLED, sink.said()

    return act


def stop_beyond_session(arena: Arena, roll: Random) -> None:
    """SIGSTOP a worker wherever it is, until others have its partitions; then let it go on."""
    governor = arena.governors[roll.choice(SLOTS)]
    pid = until(governor.worker_pid, 30, "a worker")
    _outlive(arena, governor, pid, lambda: os.kill(pid, signal.SIGSTOP))


def stops_at(point: str) -> Act:
    """A worker stops dead at a named moment, until others have its partitions; then it goes on."""

    def act(arena: Arena, roll: Random) -> None:
        governor = arena.governors[roll.choice(SLOTS)]
        governor.kill_both()
        passage = str(roll.randint(1, 6))
        governor.start(arena.spoiled("dying.py", point, passage, "SIGSTOP"))
        _outlive(arena, governor, governor.pid, lambda: None)

    return act


def _outlive(arena: Arena, governor: Governor, pid: int, stop: Callable[[], None]) -> None:
    """See the others take over from a stopped process, and that it is fenced when it may go on.

    By then all that it holds is decided by others: whatever it could still commit would be a second
    verdict, or a block out of its turn.
    """
    stop()
    until_stopped(pid, governor)
    lasts(SESSION_S + 0.5)
    arena.decided()  # the others have its partitions
    before = governor.logged
    os.kill(pid, signal.SIGCONT)
    until_noticed(governor, before)
    arena.more(50)
    arena.decided()
    assert arena.witness.anomalies == []


def until_noticed(governor: Governor, since: int) -> None:
    """Wait until one that stood still has noticed, by what it said since its log was so long."""
    noticed = lambda: NOTICED.search(governor.log(since))  # noqa: E731
    until(noticed, 60, f"{governor.name} to notice that it lost its partitions")


def until_stopped(pid: int, process: Running) -> None:
    """Wait until a process stands still."""
    until(lambda: _status(pid) == psutil.STATUS_STOPPED, 60, f"{process.name} to stop")


def _status(pid: int) -> str:
    try:
        return psutil.Process(pid).status()
    except psutil.NoSuchProcess:
        return psutil.STATUS_DEAD


def kill_broker(arena: Arena, roll: Random) -> None:
    """Kill -9 the broker and start it again on its data."""
    broker = roll.choice(arena.stack.brokers)
    broker.kill()
    lasts(roll.uniform(0.0, 2.0))
    broker.start()
    broker.wait_ready()


def join_or_leave(arena: Arena, roll: Random) -> None:
    """A third and fourth worker join and leave, in order or killed, one upon the other."""
    for _ in range(roll.randint(1, 4)):
        _change(arena, roll)
        lasts(roll.uniform(0.0, 1.5))


def _change(arena: Arena, roll: Random) -> None:
    slot = roll.choice(("2", "3"))
    guest = arena.guests.get(slot)
    if guest is None:
        arena.guests[slot] = guest = arena.governor(slot)
        guest.start(arena.spoiled("membership.py", roll.choice(("static", "dynamic"))))
    elif roll.random() < 0.7:
        del arena.guests[slot]
        guest.stop()
    else:
        del arena.guests[slot]
        guest.kill()


def deliveries_fail(arena: Arena, roll: Random) -> None:
    """A topic refuses what is produced for a while: transactions abort, states are read again."""
    topic = roll.choice((names.DECISIONS, names.APPROVED, names.CHANGELOG))
    _largest(arena, topic, TINY)
    try:
        lasts(roll.uniform(0.3, 1.5))
    finally:
        _largest(arena, topic, 1_048_588)


def _largest(arena: Arena, topic: str, size: int) -> None:
    admin = AdminClient({"bootstrap.servers": arena.bootstrap})
    entry = ConfigEntry("max.message.bytes", str(size), incremental_operation=AlterConfigOpType.SET)
    resource = ConfigResource(ResourceType.TOPIC, topic, incremental_configs=[entry])
    for done in admin.incremental_alter_configs([resource]).values():
        done.result(20)
