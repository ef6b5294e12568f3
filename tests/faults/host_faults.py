"""Faults of the machine that a process runs on: its disk is full, its clock is wrong."""

from __future__ import annotations

import resource
from pathlib import Path
from random import Random

import psutil
from arena import SLOTS, Arena, lasts
from governed_stack import until
from running import Governor

DAY_S = 86_400
WORKERS = 3
SKEWS_S = (-DAY_S, DAY_S, -300, 300, -3_600)


def _room(pid: int, size: int) -> None:
    """How large a file of a process may get; 0 is a full disk."""
    psutil.Process(pid).rlimit(psutil.RLIMIT_FSIZE, (size, resource.RLIM_INFINITY))


def disk_full_for_worker(arena: Arena, roll: Random) -> None:
    """No file can be written by a worker, nor by the next one that its supervisor starts."""
    governor = arena.governors[roll.choice(SLOTS)]
    if governor.bare:
        governor.kill_both()
        governor.start()
    first = until(governor.worker_pid, 30, "a worker")
    for pid in (governor.pid, first):
        _room(pid, 0)
    arena.more(50)
    governor.kill_worker()
    until(lambda: governor.worker_pid() not in {None, first}, 30, "a worker after a killed one")
    others = [
        other
        for other in (*arena.guests.values(), *arena.governors.values())
        if other is not governor and other.running
    ]
    for other in others:
        other.stop()
    arena.guests.clear()
    worker = _decides_alone(arena, governor)
    for pid in (governor.pid, worker):
        _room(pid, resource.RLIM_INFINITY)
    for other in arena.governors.values():
        if other is not governor:
            other.start()


def _decides_alone(arena: Arena, governor: Governor) -> int:
    """See that a worker decides while nobody else is there and its disk is full; its process.

    It may leave on purpose, of a broker that is slow for a while, and can't say so then; but not
    one after the other.
    """
    for _ in range(WORKERS):
        worker = until(governor.worker_pid, 30, "a worker")
        arena.more(50)
        if governor.worker_pid() == worker:
            return worker
    raise AssertionError(f"{WORKERS} workers in a row ended of a full disk")


def disk_full_for_sinks(arena: Arena, roll: Random) -> None:
    """The SQLite stores of portal and ERP sink can't be written for a while."""
    pids = [arena.portals[0].pid, arena.erp_sink.pid]
    for pid in pids:
        _room(pid, 0)
    lasts(roll.uniform(0.5, 2.0))
    arena.more(50)
    for pid in pids:
        _room(pid, resource.RLIM_INFINITY)


def clock_wrong(arena: Arena, roll: Random) -> None:
    """A worker's clock is off by minutes or a day, and jumps back while it runs."""
    governor = arena.governors[roll.choice(SLOTS)]
    file = arena.folder / f"clock-{governor.name}"
    skew_s = roll.choice(SKEWS_S)
    _set_clock(file, skew_s)
    governor.kill_both()
    governor.start(arena.spoiled("skewed.py", str(file)))
    governor.govern()
    arena.decided()
    _set_clock(file, skew_s - 600)
    arena.more(50)


def _set_clock(file: Path, skew_s: int) -> None:
    """Say how wrong a clock is: at once, since it is read at any moment."""
    new = file.with_suffix(".new")
    new.write_text(f"{skew_s}\n")
    new.replace(file)
