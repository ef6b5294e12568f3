"""A campaign of faults: `python tests/faults/campaign.py --minutes 60 --seed 1 --report FILE`.

First on one broker, then for the rest of the time on three; `--brokers` chooses one of both. Every
fault is followed by a proof that all goes on; the end is a proof that nothing was lost, doubled,
out of order or left open. A seed replays what happened to whom and how long; `--only NAME` replays
one kind of fault. The report says which of the promised counts were reached, and how long all take.
"""

from __future__ import annotations

import argparse
import logging
import os
import platform
import sys
import time
from collections import defaultdict
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from random import Random
from statistics import median

sys.path.append(str(Path(__file__).parents[1]))

from arena import ROOT, Arena
from cluster_faults import CLUSTER_FAULTS
from confluent_kafka import libversion
from fault_table import FAULTS, Fault
from following import taken
from log_faults import begin_to_idle
from postgres_cluster import BINARIES, MISSING
from promised import promised
from three_brokers import ThreeBrokers
from truth import described, everything_wrong

from pipeline.local.pinning import KAFKA

FAILURES_MAX = 3
SHARES = {1: 0.85, 3: 0.15}
"""By number of brokers: its part of the time."""
REPORT = """# Fault campaign, {brokers}

Seed {seed}, {minutes:.1f} minutes, {faults} of {of} faults; at this pace all of them take
about {all:.0f} minutes. {where}.
{sent} events sent, {decided} records decided, {approved} approved, {letters} dead letters.
Processes that had to be started again from outside, with their exit codes: {exits}.
Ends that nobody asked for but the fault that caused them: {left}.

{verdict}

Seconds until everything sent is decided, and the longest pause of a partition as its reader saw it:

| fault | times | of | s, median | s, most | pause s, median | pause s, most |
|---|--:|--:|--:|--:|--:|--:|
{rows}

Milliseconds from the append of a good record to that of its verdict, by what was beside it:

| beside | records | median | most |
|---|--:|--:|--:|
{waits}
"""
CUT_SHORT = "it was cut short: nothing was checked at its end"
LAST = FAULTS[-1]


@dataclass
class Outcome:
    """What came of the faults of one kind."""

    seconds: list[float] = field(default_factory=list)
    """From its begin until all that was sent is decided."""
    pauses: list[float] = field(default_factory=list)
    """Longest time in which the ledger of a partition stood still, as its reader saw it."""


class Campaign:
    """An arena, and what happens in it.

    Args:
        seed: what happens to whom and how long.
        arena: where.
        faults: what can happen.

    """

    def __init__(self, seed: int, arena: Arena, faults: list[Fault] = FAULTS) -> None:
        self.seed, self.arena, self.faults = seed, arena, faults
        self.outcomes: dict[str, Outcome] = defaultdict(Outcome)
        self.wrong: list[str] = []
        self.concluded = False
        self.began = time.monotonic()

    def open(self) -> None:
        self.arena.open()
        self.arena.fate_of(begin_to_idle(self.arena))
        self.arena.witness.pause_s()

    def run(self, fault: Fault) -> None:
        """Let it happen once; see that all goes on.

        Raises:
            AssertionError: it did not happen as it should, something stays undecided, or a process
                ended otherwise than the fault has it end.

        """
        arena, outcome = self.arena, self.outcomes[fault.name]
        roll = Random(f"{self.seed} {fault.name} {len(outcome.seconds)}")
        began = time.monotonic()
        try:
            fault.act(arena, roll)
            arena.heal()
            arena.decided()
            taken(arena)
        except Exception as error:
            for end in arena.unasked(fault.ends):
                error.add_note(end)
            raise
        finally:
            outcome.seconds.append(time.monotonic() - began)
            outcome.pauses.append(arena.witness.pause_s())
        ends = arena.unasked(fault.ends)
        assert not arena.witness.anomalies, arena.witness.anomalies
        assert not ends, "; ".join(ends)

    def until(self, end: float, only: str | None, most: int | None) -> None:
        """Run all faults of the long run in an order of the seed, as far as time allows.

        Each kind happens once before any happens again.
        """
        kinds = [
            fault
            for fault in self.faults
            if fault.name == only or (only is None and (BINARIES or not fault.postgres))
        ]
        roll = Random(self.seed)
        again = [f for f in kinds for _ in range(1, f.long if most is None else min(f.long, most))]
        roll.shuffle(kinds)
        roll.shuffle(again)
        todo = sorted(kinds + again, key=lambda fault: fault is LAST)
        for number, fault in enumerate(todo, 1):
            if len(self.wrong) >= FAILURES_MAX:
                break
            if time.monotonic() > end and fault is not LAST:
                continue
            say(f"{time.monotonic() - self.began:7.1f} s  {number}/{len(todo)}  {fault.name}")
            if not self._goes_well(fault.name, lambda fault=fault: self.run(fault)):
                self.arena.witness.anomalies.clear()
                self._goes_well(f"after {fault.name}", self.arena.heal)

    def conduct(self, end: float, only: str | None = None, most: int | None = None) -> None:
        """Open, let everything happen and check everything: what fails is in `wrong`."""
        if self._goes_well("begin", self.open):
            self._goes_well("campaign", lambda: self.until(end, only, most))
            self.conclude()

    def close(self) -> None:
        """End everything that runs in the arena."""
        self._goes_well("end", self.arena.close)

    def conclude(self) -> list[str]:
        """Check everything; what is wrong, with what was wrong on the way."""
        self.wrong += everything_wrong(self.arena)
        self.concluded = True
        return self.wrong

    def _goes_well(self, what: str, act: Callable[[], None]) -> bool:
        """Do something; note what is wrong if it fails, in whatever way."""
        try:
            act()
        except Exception as error:  # noqa: BLE001  no failure may cost the others, or the report
            self.wrong.append(f"{what}: {described(error)}"[:3_000])
            say(f"  WRONG: {self.wrong[-1]}")
            return False
        return True

    def report(self) -> str:
        """What was done and what came of it, in Markdown."""
        arena = self.arena
        wrong = self.wrong if self.concluded else [*self.wrong, CUT_SHORT]
        rows = [
            f"| {fault.name} | {len(o.seconds)} | {fault.long} | {_figures(o)} |"
            for fault in self.faults
            for o in (self.outcomes[fault.name],)
        ]
        return REPORT.format(
            brokers=f"{len(arena.stack.brokers)} broker(s)",
            seed=self.seed,
            minutes=(time.monotonic() - self.began) / 60,
            faults=sum(len(o.seconds) for o in self.outcomes.values()),
            of=sum(fault.long for fault in self.faults),
            all=self._all_s() / 60,
            where=f"Kafka {KAFKA}, librdkafka"
            f" {libversion()[0]}, Python {platform.python_version()}, {os.cpu_count()} cores",
            sent=arena.traffic.sent,
            decided=arena.witness.decided,
            approved=len(arena.witness.revisions),
            letters=arena.witness.letters,
            exits=_counted(arena.exits),
            left=_counted(arena.left),
            verdict="\n- ".join(["Wrong:", *wrong]) if wrong else "Nothing was wrong.",
            rows="\n".join(rows),
            waits="\n".join(
                f"| {beside} | {len(ms)} | {median(ms):.0f} | {max(ms)} |"
                for beside, ms in arena.waits_ms.items()
            ),
        )

    def _all_s(self) -> float:
        """How long all faults would take, as long as each did by now."""
        every = median([s for o in self.outcomes.values() for s in o.seconds] or [0])
        return sum(f.long * median(self.outcomes[f.name].seconds or [every]) for f in self.faults)


def _figures(outcome: Outcome) -> str:
    if not outcome.seconds:
        return "- | - | - | -"
    return " | ".join(
        f"{of(each):.1f}" for each in (outcome.seconds, outcome.pauses) for of in (median, max)
    )


def _counted(counts: Mapping[str, int]) -> str:
    return ", ".join(f"{name}: {n}" for name, n in sorted(counts.items())) or "none"


def table(brokers: int) -> list[Fault]:
    """The faults of a campaign on so many brokers."""
    return FAULTS if brokers == 1 else CLUSTER_FAULTS


def begun(seed: int, rate: float, brokers: int) -> Campaign:
    """A campaign on so many brokers."""
    arena = Arena(seed, rate) if brokers == 1 else ThreeBrokers(seed, rate)
    return Campaign(seed, arena, table(brokers))


def summary(times: dict[str, int]) -> str:
    """What the long run promises, and how much of it was reached, in Markdown."""
    rows = [f"| {what} | {reached} | {most} |" for what, most, reached in promised(times)]
    return "\n".join(["| promised | times | of |", "|---|--:|--:|", *rows])


def say(text: str) -> None:
    sys.stdout.write(f"{text}\n")
    sys.stdout.flush()


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--minutes", type=float, default=60.0)
    parser.add_argument("--seed", type=int, default=int(time.time()) % 1_000_000)
    parser.add_argument("--rate", type=float, default=100.0, help="events a second")
    parser.add_argument("--brokers", type=int, choices=tuple(SHARES), help="only on so many")
    parser.add_argument("--only", help="one kind of fault, by its name")
    parser.add_argument("--most", type=int, help="so many of each kind at most")
    parser.add_argument("--report", type=Path, default=ROOT / "reports" / "faults.md")
    given = parser.parse_args()
    logging.disable(logging.CRITICAL)  # clients complain about every fault
    say(f"seed {given.seed}")
    if BINARIES is None:
        say(f"without a portal on PostgreSQL, which {MISSING}")
    return conduct(given)


def conduct(given: argparse.Namespace) -> int:
    """Run the campaigns that are asked for and write the report, whatever happens on the way."""
    shares = SHARES if given.brokers is None else {given.brokers: 1.0}
    told: list[str] = []
    times: dict[str, int] = {}
    well = True
    try:
        for brokers, share in shares.items():
            if given.only is not None and all(f.name != given.only for f in table(brokers)):
                continue
            well &= _one(given, brokers, share, told, times)
    finally:
        told.append(summary(times))
        say(told[-1])
        given.report.parent.mkdir(parents=True, exist_ok=True)
        given.report.write_text("\n".join(told))
        say(f"report: {given.report}")
    return 0 if well else 1


def _one(
    given: argparse.Namespace, brokers: int, share: float, told: list[str], times: dict[str, int]
) -> bool:
    """Run one campaign to its end; what is told of it, and how often what happened, go along."""
    try:
        campaign = begun(given.seed, given.rate, brokers)
    except Exception as error:  # noqa: BLE001  the report is to say so
        told.append(
            f"# Fault campaign, {brokers} broker(s)\n\nIt did not begin: {described(error)}\n"
        )
        say(told[-1])
        return False
    try:
        campaign.conduct(campaign.began + given.minutes * share * 60, given.only, given.most)
    finally:
        times |= {name: len(o.seconds) for name, o in campaign.outcomes.items()}
        told.append(campaign.report())
        say(told[-1])
        campaign.close()
    return not campaign.wrong


if __name__ == "__main__":
    sys.exit(main())
