"""An arena on Kafka 4.4.0, which loses commit markers when it is killed (KAFKA-20734).

`kafka-4.4.0.json` pins it as `pipeline/local/artifacts.json` does the one that the product runs.
"""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
from dataclasses import replace
from pathlib import Path
from unittest.mock import patch

from arena import HERE, MILEPOST, ROOT, Arena, lasts
from confluent_kafka import Consumer, TopicPartition
from governed_stack import until
from tcp_proxy import Link, TcpProxy, Way

from pipeline.local import pins
from pipeline.local.artifacts import Artifacts
from pipeline.operations import aborting
from pipeline.operations.aborting import Hanging

PATIENCE_S = 9.0
"""Longer than a transaction may stay undecided: the time-out of the arena's, and its broker's."""
ENDING_S = 30.0
SWITCH_S = 0.0002
"""How long other threads may keep a killer waiting: a broker writes markers within milliseconds."""
RATE = 200.0
READY_S = 180.0
"""How long a broker takes to come back is for no test to judge."""


class DeadlyProxy(TcpProxy):
    """Kills a broker in the moment in which it answers to the end of a transaction."""

    victim: int | None = None

    def _look(self, link: Link, way: Way, frame: bytes) -> float:
        before = self.delayed_ends
        held_s = super()._look(link, way, frame)
        if self.victim is not None and self.delayed_ends > before:
            os.kill(self.victim, signal.SIGKILL)
            self.victim = None
        return held_s


class LossyArena(Arena):
    """Governors that commit all the time, on a broker that loses markers."""

    def __init__(self, seed: int) -> None:
        sys.setswitchinterval(SWITCH_S)
        with (
            patch("pipeline.local.artifacts.Artifacts", _artifacts),
            patch("arena.TcpProxy", DeadlyProxy),
        ):
            super().__init__(seed, RATE)
        self.broker()._ready_within_s = READY_S
        for governor in self.governors.values():
            governor.env["MILEPOST_GOVERNOR_LINGER_MS"] = "5"

    def power_fails(self) -> None:
        """Broker and workers are gone at once, as the end of a transaction is being answered.

        By then its commit is decided, and its markers are on their way.
        """
        self.proxy.victim = self.broker().pid
        self.proxy.delay_ends(ENDING_S)
        until(lambda: self.broker().pid is None, ENDING_S, "the end of a transaction")
        for governor in self.governors.values():
            governor.kill_both()
        self.proxy.calm()

    def hanging(self) -> list[Hanging]:
        """Transactions that stay open for longer than they may."""
        return aborting.hanging(self.settings, self.bootstrap, PATIENCE_S, lasts)

    def end(self, one: Hanging) -> None:
        """End a transaction where that tears nothing."""
        aborting.abort(self.settings, self.bootstrap, one)

    def milepost(self, *command: str) -> tuple[int, str]:
        """What an operator's command ends with, and what it prints."""
        env = self.environment(
            MILEPOST_STATE_DIR=str(self.folder / "stack"), MILEPOST_TRANSACTION_TIMEOUT_MS="5000"
        )
        done = subprocess.run(
            [*MILEPOST, *command], env=env, cwd=ROOT, capture_output=True, text=True, check=False
        )
        return done.returncode, done.stdout

    def vanished(self, one: Hanging) -> bool:
        """Whether readers of committed records are past its first record and never saw it."""
        reader = Consumer(
            {
                "bootstrap.servers": self.bootstrap,
                "group.id": "vanished",
                "isolation.level": "read_committed",
                "enable.partition.eof": True,
            }
        )
        try:
            reader.assign([TopicPartition(one.topic, one.partition, one.offset)])
            record = reader.poll(30)
            return record is None or record.offset() != one.offset
        finally:
            reader.close()


def _artifacts(cache: Path | None, **named) -> Artifacts:
    told = json.loads((HERE / "kafka-4.4.0.json").read_text())
    jars = tuple(pins.Pin(**each) for each in told["artifacts"])
    lossy = replace(pins.load(), kafka_version=told["version"], kafka=jars)
    return Artifacts(cache, pins=lossy, **named)
