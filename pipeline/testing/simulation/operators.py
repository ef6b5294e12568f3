"""People at their desks: bundles, suspensions, replays; and a registry that is not always there.

Must never touch a worker.
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

from pipeline.contract import headers, names
from pipeline.governance.claims import Raw
from pipeline.governance.vocabulary import ControlKind
from pipeline.testing.simulation.events import Event, Stage
from pipeline.testing.simulation.knowledge import FIRST, LATER, policies
from pipeline.testing.simulation.worker import control


class Operators:
    """Those who steer.

    Args:
        stage: the simulation.

    """

    def __init__(self, stage: Stage) -> None:
        self._stage = stage
        self._active: set[int] = set()
        self.events = [
            Event(0.7, self.activate),
            Event(0.3, self.publish),
            Event(1.0, self.answer),
            Event(0.4, self.go_away, fault=True),
            Event(0.2, self.register, fault=True),
            Event(0.7, self.steer, fault=True),
            Event(0.6, self.replay, fault=True),
        ]

    def control(self, kind: ControlKind, partition: int, **told: Any) -> None:
        """Write a control record to one partition."""
        self._stage.say("control", f"{kind.value} for {partition} {told}")
        value = control(kind, partition, **told)
        key = str(partition).encode()
        self._stage.broker.append(names.CONTROL, partition, (key, value, None))

    def activate(self) -> None:
        """A bundle is activated on one partition."""
        rnd, partitions = self._stage.rnd, self._stage.broker.partitions
        waiting = [number for number in range(partitions) if number not in self._active]
        partition = rnd.choice(waiting) if waiting else rnd.randrange(partitions)
        self._activate(partition, FIRST if rnd.random() < (0.9 if waiting else 0.4) else LATER)

    def activate_first(self, partition: int) -> None:
        """The first bundle is activated on a partition that has none."""
        if partition not in self._active:
            self._activate(partition, FIRST)

    def _activate(self, partition: int, version: str) -> None:
        self._active.add(partition)
        digest = policies()[version].digest
        self.control(ControlKind.ACTIVATE, partition, policy_version=version, policy_digest=digest)

    def publish(self) -> None:
        """The later bundle can be had."""
        self._stage.knowledge.published.add(LATER)

    def register(self) -> None:
        """The registry learns another id."""
        self._stage.knowledge.registered = True

    def go_away(self) -> None:
        """Neither the registry nor the policy topic answers any more."""
        self._stage.knowledge.away = True
        self._stage.say("registry", "is away")

    def answer(self) -> None:
        """They answer again."""
        self._stage.knowledge.away = False

    def steer(self) -> None:
        """Somebody holds a platform back, lets it go, vouches for it, or has the past redecided."""
        stage, rnd = self._stage, self._stage.rnd
        kind = rnd.choice((
            ControlKind.SUSPEND, ControlKind.RELEASE, ControlKind.WATERMARK, ControlKind.REDECIDE,
        ))  # fmt: skip
        told: dict[str, Any] = {"platform": rnd.choice(sorted(policies()[FIRST].platforms))}
        if kind is ControlKind.WATERMARK:
            told["complete_to"] = stage.now_ms - rnd.randrange(1_000_000)
        if kind is ControlKind.REDECIDE:
            told = {"entities": [f"acme/shipment/S{number}" for number in range(1, 5)]}
        for partition in range(stage.broker.partitions):
            self.control(kind, partition, **told)

    def replay(self) -> None:
        """Somebody sends a dead letter through again, to the right partition or another."""
        stage = self._stage
        partition = stage.rnd.randrange(stage.broker.partitions)
        letters, _ = stage.broker.log(names.DEAD_LETTER, partition).read(0, 1_000)
        if not letters:
            return
        letter = stage.rnd.choice(letters)
        told = letter.headers or []
        origin = dict(told)[f"{names.DEAD_LETTER_PREFIX}origin"]
        kept = [item for item in told if not item[0].startswith(headers.FAMILIES)]
        raw = Raw(letter.key, letter.value, tuple(kept))
        hops = stage.rnd.choice((0, 3))
        sent = headers.forwarded(raw, letter.key, headers.read_origin(origin or b""), hops)
        if stage.rnd.random() < 0.5:
            partition = stage.rnd.randrange(stage.broker.partitions)
        stage.broker.append(names.REPLAY, partition, (letter.key, letter.value, sent))
        stage.say("operator", f"replays dead letter {letter.offset} to {partition}")

    def calm(self) -> None:
        """Everything answers and is in force."""
        self.answer()
        self.publish()
        for partition in range(self._stage.broker.partitions):
            self.activate_first(partition)

    def release(self, partition: int, platforms: Iterable[str]) -> None:
        """Platforms that a partition holds back are let go."""
        for name in platforms:
            self.control(ControlKind.RELEASE, partition, platform=name)
