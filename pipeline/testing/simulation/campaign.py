"""Many seeds, on all cores; and what a run of one of them comes to.

Must never decide what is simulated.
"""

from __future__ import annotations

import contextlib
import hashlib
import os
from collections.abc import Iterable, Iterator
from concurrent.futures import ProcessPoolExecutor
from multiprocessing import get_context
from typing import Any, Final, NamedTuple

from pipeline.testing.simulation.world import World

_CHUNK: Final = 10


class Outcome(NamedTuple):
    """What a run of one seed came to."""

    seed: int
    steps: int
    claims: int
    """Raw events that platforms wrote."""
    records: int
    """Input records that were decided."""
    transactions: int
    """Of workers, committed."""
    processes: int
    """Workers' lives."""
    faults: int
    digest: str
    """Of everything that was written: two runs of a seed have the same."""
    invariant: str = ""
    """The one that does not hold; empty: all do."""
    found: str = ""
    """What was found, and where."""
    trace: tuple[str, ...] = ()
    """What happened, line by line, if it was asked for."""


def run(seed: int, *, trace: bool = False) -> Outcome:
    """Run one seed.

    Args:
        seed: decides everything.
        trace: whether to keep what happened.

    """
    world = World(seed, trace=trace)
    world.run()
    violation = world.violation
    return Outcome(
        seed,
        world.steps,
        world.claims,
        world.audit.records,
        world.audit.transactions,
        world.processes,
        world.struck.total(),
        world.digest(),
        "" if violation is None else violation.invariant,
        "" if violation is None else violation.found,
        tuple(world.trace or ()),
    )


def run_all(seeds: Iterable[int], jobs: int) -> Iterator[Outcome]:
    """Run many seeds, each in one of several processes.

    Args:
        seeds: which.
        jobs: how many processes.

    Returns:
        Their outcomes, in order.

    """
    if jobs == 1:
        yield from map(run, seeds)
        return
    # Forked threads would not be there; and nothing of this process is needed
    context = get_context("spawn")
    place = context.Value("i", 0)
    with ProcessPoolExecutor(jobs, context, initializer=_settle, initargs=(place,)) as pool:
        yield from pool.map(run, seeds, chunksize=_CHUNK)


def digest(outcomes: Iterable[Outcome]) -> str:
    """Of all that these runs wrote."""
    found = hashlib.blake2b(digest_size=16)
    for outcome in outcomes:
        found.update(outcome.digest.encode())
    return found.hexdigest()


def cores() -> int:
    """How many this process may use."""
    with contextlib.suppress(AttributeError):
        return len(os.sched_getaffinity(0))
    return os.cpu_count() or 1


def _settle(place: Any) -> None:
    """Keep this process on a core of its own: threads that take turns change twice as fast."""
    with place.get_lock():
        number = place.value
        place.value += 1
    with contextlib.suppress(AttributeError, OSError):
        allowed = sorted(os.sched_getaffinity(0))
        os.sched_setaffinity(0, {allowed[number % len(allowed)]})
