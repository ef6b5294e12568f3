"""Trials of engines that are broken on purpose: witness and checks of the campaign must find out.

One engine after the other, each on topics of its own making, on one broker.
"""

from __future__ import annotations

import os
import signal
import sys
import time
from collections.abc import Callable

import psutil
from arena import HERE, Arena
from confluent_kafka.admin import AdminClient
from crash_points import OVERLAPPING
from governed_stack import DECLARED, PARTITIONS, until
from paced_traffic import PacedTraffic
from process_faults import LARGE, SESSION_S, until_noticed
from running import KILLED, LEFT
from truth import readers, verified
from witness import Witness

from pipeline.contract import names
from pipeline.kafka import clients, topics

FOUND_OUT_S = 40.0
WHOLE = "whole"
STOCK = (sys.executable, str(HERE / "stock_faust.py"))


class Trial(Arena):
    """An arena without sinks, for one engine at a time."""

    def renew(self) -> None:
        """Make every topic anew, with the policy in force and another witness."""
        self._end()
        self.witness.close()
        admin = AdminClient({"bootstrap.servers": self.bootstrap})
        there = admin.list_topics(timeout=20).topics
        ours = [name for name in there if name.startswith("logistics")]
        for done in admin.delete_topics(ours).values():
            done.result(30)
        until(lambda: not set(ours) & admin.list_topics(timeout=20).topics.keys(), 30)
        admin = clients.admin(self.settings, self.bootstrap)
        wanted = topics.plan(DECLARED, topics.describe(admin, self.bootstrap, DECLARED))
        topics.apply(admin, self.bootstrap, wanted)
        self.group = f"trial-{time.monotonic_ns()}"
        self.publish(self.bundle)
        self.watch = self.witness = Witness(self.settings, self.bootstrap)
        self.traffic = PacedTraffic(self, seed=1, rate=200.0)

    def start_broken(self, engine: str, *told: str, slot: str = "0", **env: str) -> None:
        """Start a governor on a broken engine; with the moment at which it is to die, if any."""
        self.governors[slot].start(self.spoiled("broken_engine.py", engine, *told), **env)

    def found_out(self) -> list[str]:
        """What the checks find wrong, once they do."""
        end = time.monotonic() + FOUND_OUT_S
        while not self.witness.anomalies and time.monotonic() < end:
            time.sleep(0.05)
        self._end()
        return self.witness.anomalies or list(verified(self))

    def _end(self) -> None:
        self.traffic.stop()
        for governor in self.governors.values():
            if governor.process is not None:
                governor.kill()

    def sound(self) -> list[str]:
        """What the same checks find wrong with an engine that is whole."""
        self.traffic.stop()
        self.decided()
        self.stop_governors()
        found = [*self.witness.anomalies, *readers(self), *verified(self)]
        return found + self.unasked({KILLED, LEFT})


def dies_before_commit(trial: Trial, engine: str) -> None:
    """It is killed with everything written and nothing committed, and started again."""
    trial.traffic.start()
    trial.start_broken(engine, "before_commit", "5")
    assert trial.governors["0"].wait() == KILLED
    trial.start_broken(engine)


def aborts(trial: Trial, engine: str) -> None:
    """One of its transactions aborts."""
    trial.traffic.start()
    trial.start_broken(engine, "abort", "5")
    until(lambda: "transaction_aborted" in trial.governors["0"].said(), 60, "an abort")


def commits_while_deciding(trial: Trial, engine: str) -> None:
    """It has more to do than one batch takes, and dies when one is committed."""
    trial.traffic.at_once(5 * LARGE)
    trial.traffic.start()
    until(lambda: sum(map(len, list(trial.traffic.acked.values()))) >= 4 * LARGE, 60)
    large = {"MILEPOST_GOVERNOR_BATCH_RECORDS_MAX": str(LARGE)}
    trial.start_broken(engine, OVERLAPPING, "1", **large)
    assert trial.governors["0"].wait() == KILLED
    trial.start_broken(engine)


def stands_still(trial: Trial, engine: str) -> None:
    """It stops dead with a decision made, and goes on when another has its partitions."""
    trial.traffic.start()
    trial.start_broken(engine, "before_produce", "5", "SIGSTOP")
    stopped = trial.governors["0"]
    stands = lambda: psutil.Process(stopped.pid).status() == psutil.STATUS_STOPPED  # noqa: E731
    until(stands, 60, "a worker to stop")
    trial.start_broken(engine, slot="1")
    time.sleep(SESSION_S)
    trial.decided()
    before = stopped.logged
    os.kill(stopped.pid, signal.SIGCONT)
    if engine == WHOLE:
        until_noticed(stopped, before)


def killed_at_random(trial: Trial, engine: str) -> None:
    """Stock Faust, or whatever stands in for it, is killed with its hands full, and started."""
    victim = trial.governors["0"]

    def start() -> None:
        if engine == "stock_faust":
            victim.start(STOCK)
        else:
            trial.start_broken(engine)

    start()
    read = trial.witness.next
    activated = lambda: all(read[names.DECISIONS, n] for n in range(PARTITIONS))  # noqa: E731
    trial.witness.until(activated, 60, "a policy in force")
    trial.traffic.at_once(3 * LARGE)
    trial.traffic.start()
    trial.more(300)
    victim.kill()
    start()


TRIALS: dict[str, Callable[[Trial, str], None]] = {
    "positions_outside": dies_before_commit,
    "no_rewind": aborts,
    "encoded_at_commit": commits_while_deciding,
    "no_fencing": stands_still,
    "reads_uncommitted": dies_before_commit,
    "stock_faust": killed_at_random,
}
