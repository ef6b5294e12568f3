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
from dataclasses import dataclass, field
from pathlib import Path
from random import Random
from statistics import median

sys.path.append(str(Path(__file__).parents[1]))

from arena import ROOT, Arena
from cluster_faults import CLUSTER_FAULTS
from confluent_kafka import libversion
from fault_table import FAULTS, Fault
from log_faults import begin_to_idle
from postgres_cluster import BINARIES, MISSING
from promised import promised
from three_brokers import ThreeBrokers
from truth import everything_wrong

from pipeline.local.pinning import KAFKA

FAILURES_MAX = 3
SHARES = {1: 0.85, 3: 0.15}
"""By number of brokers: its part of the time."""
REPORT = """# Fault campaign, {brokers}

Seed {seed}, {minutes:.1f} minutes, {faults} of {of} faults; at this pace all of them take
about {all:.0f} minutes. {where}.
{sent} events sent, {decided} records decided, {approved} approved, {letters} dead letters.
Processes that had to be started again from outside, with their exit codes: {exits}.

{verdict}

Seconds until everything sent is decided, and the longest pause of a partition as its reader saw it:

| fault | times | of | s, median | s, most | pause s, median | pause s, most |
|---|--:|--:|--:|--:|--:|--:|
{rows}
"""
LAST = FAULTS[-1]


@dataclass
class Outcome:
    """What came of the faults of one kind."""

    seconds: list[float] = field(default_factory=list)
    """From its begin until all that was sent is decided."""
    pauses: list[float] = field(default_factory=list)
    """Longest time in which the ledger of a partition stood still, as its reader saw it."""


class Campaign:
    """An arena, and what happens in it."""

    def __init__(self, seed: int, rate: float = 100.0, brokers: int = 1) -> None:
        self.seed = seed
        self.faults = table(brokers)
        self.arena = Arena(seed, rate) if brokers == 1 else ThreeBrokers(seed, rate)
        self.outcomes: dict[str, Outcome] = defaultdict(Outcome)
        self.wrong: list[str] = []
        self.began = time.monotonic()

    def open(self) -> None:
        self.arena.open()
        self.arena.fate_of(begin_to_idle(self.arena))
        self.arena.witness.pause_s()

    def run(self, fault: Fault) -> None:
        """Let it happen once; see that all goes on.

        Raises:
            AssertionError: it did not happen as it should, or something stays undecided.

        """
        arena, outcome = self.arena, self.outcomes[fault.name]
        roll = Random(f"{self.seed} {fault.name} {len(outcome.seconds)}")
        began = time.monotonic()
        try:
            fault.act(arena, roll)
            arena.heal()
            arena.decided()
        finally:
            outcome.seconds.append(time.monotonic() - began)
            outcome.pauses.append(arena.witness.pause_s())
        assert not arena.witness.anomalies, arena.witness.anomalies

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
            try:
                self.run(fault)
            except AssertionError as error:
                self.wrong.append(f"{fault.name}: {error}"[:3_000])
                say(f"  WRONG: {self.wrong[-1]}")
                self.arena.witness.anomalies.clear()
                self.arena.heal()

    def conclude(self) -> list[str]:
        """Check everything; what is wrong, with what was wrong on the way."""
        self.wrong += everything_wrong(self.arena)
        return self.wrong

    def report(self) -> str:
        """What was done and what came of it, in Markdown."""
        arena = self.arena
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
            exits=", ".join(f"{name}: {n}" for name, n in sorted(arena.exits.items())) or "none",
            verdict="\n- ".join(["Wrong:", *self.wrong]) if self.wrong else "Nothing was wrong.",
            rows="\n".join(rows),
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


def table(brokers: int) -> list[Fault]:
    """The faults of a campaign on so many brokers."""
    return FAULTS if brokers == 1 else CLUSTER_FAULTS


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
    shares = SHARES if given.brokers is None else {given.brokers: 1.0}
    wrong, told, times = [], [], {}
    for brokers, share in shares.items():
        if given.only is not None and all(f.name != given.only for f in table(brokers)):
            continue
        campaign = Campaign(given.seed, given.rate, brokers)
        try:
            campaign.open()
            campaign.until(campaign.began + given.minutes * share * 60, given.only, given.most)
            wrong += campaign.conclude()
            told.append(campaign.report())
            times |= {name: len(o.seconds) for name, o in campaign.outcomes.items()}
        finally:
            campaign.arena.close()
        say(told[-1])
    told.append(summary(times))
    say(told[-1])
    given.report.parent.mkdir(parents=True, exist_ok=True)
    given.report.write_text("\n".join(told))
    say(f"report: {given.report}")
    return 1 if wrong else 0


if __name__ == "__main__":
    sys.exit(main())
