"""Many starts in a row, without a freeze: `python tests/faults/starts.py --rounds 50`.

A round is ten cold starts of two workers at once, in a group that nobody has seen, and two rolling
restarts, half of them with static membership. Workers are forked from a process that has loaded the
product; all topics are as they are in production, records come all the time. A start that is not
done within the limit is a freeze: it is counted, its log is kept, and the next one is made.
"""

from __future__ import annotations

import argparse
import itertools
import json
import logging
import multiprocessing
import os
import shutil
import sys
import time
from collections import defaultdict
from pathlib import Path
from statistics import median

sys.path.append(str(Path(__file__).parents[1]))

from governed_stack import ROOT, Governed, until
from membership import as_member
from paced_traffic import PacedTraffic
from witness import Witness

from pipeline.cli import run
from pipeline.streams import governor

SLOTS = ("0", "1")
KINDS = ("static", "dynamic")
RATE = 40.0
COLD_A_ROUND = 5
LIMIT_S = 60.0
"""More than a worker's own limits: what takes longer has neither gone on nor ended itself."""
STOP_S = 45.0


def govern(kind: str, environment: dict[str, str], log: str) -> None:
    """Be a worker; in a process of its own."""
    out = os.open(log, os.O_CREAT | os.O_WRONLY | os.O_APPEND)
    for descriptor in (1, 2):
        os.dup2(out, descriptor)
    os.environ.clear()
    os.environ.update(environment)
    as_member(kind)
    sys.exit(run._supervised_worker())


class Starts(Governed):
    """The stack with traffic and a witness, and two worker slots."""

    WATCH = Witness

    def __init__(self) -> None:
        super().__init__()
        self.publish(self.bundle)
        self.traffic = PacedTraffic(self, seed=1, rate=RATE)
        self.group = ""
        self.workers_by_slot: dict[str, multiprocessing.Process] = {}
        self._context = multiprocessing.get_context("forkserver")
        self._context.set_forkserver_preload([Path(__file__).stem])
        self._numbers = itertools.count(1)

    def begin(self, slot: str, kind: str) -> Path:
        """Start a worker; its log."""
        log = self.folder / f"start-{next(self._numbers)}-{kind}-{slot}.log"
        environment = self.environment(
            MILEPOST_GOVERNOR_SLOT=slot,
            MILEPOST_GOVERNOR_GROUP=self.group,
            MILEPOST_REGISTRY_URL=self.registry_url,
            MILEPOST_STATE_DIR=str(self.folder / f"state-{slot}"),
        )
        self.workers_by_slot[slot] = self._context.Process(
            target=govern, args=(kind, environment, str(log))
        )
        self.workers_by_slot[slot].start()
        return log

    def end(self, *slots: str) -> None:
        """End workers in order."""
        for slot in slots:
            self.workers_by_slot[slot].terminate()
        for slot in slots:
            worker = self.workers_by_slot[slot]
            worker.join(STOP_S)
            if worker.exitcode != 0:
                worker.kill()
                worker.join()
                raise AssertionError(f"worker {slot} did not end in order: {worker.exitcode}")

    def kill(self) -> None:
        """Whatever still runs."""
        for worker in self.workers_by_slot.values():
            worker.kill()
            worker.join()
        self.workers_by_slot.clear()

    def governed(self, logs: list[Path]) -> None:
        """Wait until these workers have a share, and all that was sent by then is decided."""
        until(lambda: all(_has_share(log) for log in logs), LIMIT_S, "a share for each")
        due = {place: list(offsets[-1:]) for place, offsets in list(self.traffic.acked.items())}
        self.watch.until(lambda: self.watch.decided_up_to(due), LIMIT_S, "a verdict on all")

    def cold(self, kind: str) -> list[float]:
        """Start two workers of a new group at once; how long it took."""
        self.end(*self.workers_by_slot)
        self.group = f"starts-{next(self._numbers)}"
        began = time.monotonic()
        self.governed([self.begin(slot, kind) for slot in SLOTS])
        return [time.monotonic() - began]

    def rolling(self, kind: str) -> list[float]:
        """Restart one worker after the other; how long each took, its end included."""
        took = []
        for slot in SLOTS:
            began = time.monotonic()
            self.end(slot)
            self.governed([self.begin(slot, kind)])
            took.append(time.monotonic() - began)
        return took


def _has_share(log: Path) -> bool:
    return log.exists() and '"state_restored"' in log.read_text(errors="replace")


class Figures:
    """What came of all starts, kept in a file."""

    def __init__(self, report: Path) -> None:
        self.report = report
        self._done: dict[str, int] = defaultdict(int)
        self._seconds: dict[str, list[float]] = defaultdict(list)
        self.frozen: list[str] = []

    def note(self, what: str, seconds: list[float]) -> None:
        self._done[what] += 1
        self._seconds[what] += seconds

    def write(self) -> str:
        """All of it, as JSON."""
        kinds = {
            what: {
                "times": self._done[what],
                "least_s": round(min(seconds), 2),
                "median_s": round(median(seconds), 2),
                "most_s": round(max(seconds), 2),
            }
            for what, seconds in sorted(self._seconds.items())
        }
        text = json.dumps({"frozen": self.frozen, **kinds}, indent=1)
        self.report.parent.mkdir(parents=True, exist_ok=True)
        self.report.write_text(text + "\n")
        return text


def attempt(starts: Starts, figures: Figures, what: str, kind: str) -> None:
    """Make one start, or one rolling restart."""
    name = f"{what}, {kind}"
    try:
        figures.note(name, starts.cold(kind) if what == "cold start" else starts.rolling(kind))
    except AssertionError as error:
        figures.frozen.append(f"{name}: {error}")
        kept = figures.write()
        for log in sorted(starts.folder.glob("start-*.log"), key=os.path.getmtime)[-4:]:
            shutil.copy(log, figures.report.parent)
        say(kept)
        starts.kill()
        if what != "cold start":
            starts.cold(kind)


def say(text: str) -> None:
    sys.stdout.write(f"{text}\n")
    sys.stdout.flush()


def main() -> int:
    reader = argparse.ArgumentParser(description=__doc__)
    reader.add_argument("--rounds", type=int, default=50)
    reader.add_argument("--report", type=Path, default=ROOT / "reports" / "starts.json")
    given = reader.parse_args()
    logging.disable(logging.CRITICAL)
    paths = (Path(__file__).parent, Path(__file__).parents[1], ROOT)
    os.environ["PYTHONPATH"] = os.pathsep.join(map(str, paths))  # of whom workers are forked from
    starts, figures = Starts(), Figures(given.report)
    try:
        starts.traffic.start()
        for _ in range(given.rounds):
            for kind in KINDS:
                for _ in range(COLD_A_ROUND):
                    attempt(starts, figures, "cold start", kind)
                attempt(starts, figures, "rolling restart", kind)
            say(figures.write())
        starts.traffic.stop()
        wrong = [*figures.frozen, *starts.traffic.failures, *starts.watch.anomalies]
        starts.end(*starts.workers_by_slot)
    finally:
        starts.traffic.stop()
        starts.kill()
        starts.close()
    say("\n".join(wrong) or "no freeze, nothing lost, doubled or out of order")
    return 1 if wrong else 0


if __name__ == "__main__":
    sys.exit(main())
governor.load()  # in the process that workers are forked from, and in no other
