"""Runs a governor on a lane that is broken on purpose, each in one of the ways that matter.

`broken_engine.py NAME [POINT PASSAGE [SIGNAL]] -- run governor --worker`. A campaign that these
pass would prove nothing.
"""

from __future__ import annotations

import dataclasses
import functools
import sys
import time
import uuid
from collections.abc import Callable

from confluent_kafka import Producer
from dying import take

from pipeline.cli.main import main
from pipeline.lane import clients
from pipeline.lane.engine import Engine
from pipeline.lane.model import Output
from pipeline.lane.writer import Writer

DECIDE_S = 10.0


def positions_outside() -> None:
    """Positions and state are written beside the transaction, not in it."""
    real = Writer.write

    def write(self, decisions):
        plain = Producer({**self._config.client, "acks": "all"})
        for number, decided in decisions.items():
            for key, value in decided.changelog:
                plain.produce(self._config.changelog_topic, value, key, number)
        plain.flush(10)
        return real(self, _without_changelog(decisions))

    Writer.write = write


def no_rewind() -> None:
    """After an abort it goes on as if nothing had happened."""
    Engine._reload = lambda self, inlet: self._enter("running")


def encoded_at_commit() -> None:
    """The state is written down at the commit: by then the next batch is in it."""
    real_write, real_commit, real_init = Writer.write, Engine._commit, Engine.__init__
    real_wait = Engine._wait

    @functools.wraps(real_init)
    def init(self, *given):
        real_init(self, *given)
        deliver = self._deliver

        def delivered(batch):
            self.overlaps = True
            deliver(batch)

        self._deliver, self.overlaps = delivered, False

    def wait(self, batch):
        self.overlaps = False
        return real_wait(self, batch)

    def commit(self, inlet, pending):
        end = time.monotonic() + DECIDE_S
        while self.overlaps and self._answers.empty() and time.monotonic() < end:
            time.sleep(0.001)
        for number, decided in pending.decisions.items():
            late = dict([*decided.changelog, inlet.parts[number].state.own_record()])
            topic = self._config.changelog_topic
            self._writer._produce(Output(topic, number, *item) for item in late.items())
        return real_commit(self, inlet, pending)

    Engine.__init__, Engine._commit, Engine._wait = init, commit, wait
    Writer.write = lambda self, decisions: real_write(self, _without_changelog(decisions))


def no_fencing() -> None:
    """Each process has a transactional id of its own, and the group is not asked."""
    real = clients.writer

    def writer(*given):
        return real(*given) | {"transactional.id": f"mutant-{uuid.uuid4().hex}"}

    clients.writer = writer
    attempt = Writer._attempt

    def without_group(self, what, *given):
        return None if what == "offsets" else attempt(self, what, *given)

    Writer._attempt = without_group


def reads_uncommitted() -> None:
    """State is read back with what transactions wrote that never committed."""
    real = clients.changelog_reader

    def reader(*given):
        return real(*given) | {"isolation.level": "read_uncommitted"}

    clients.changelog_reader = reader


def _without_changelog(decisions):
    return {
        number: dataclasses.replace(decided, changelog=()) for number, decided in decisions.items()
    }


def whole() -> None:
    """It is not broken."""


ENGINES: dict[str, Callable[[], None]] = {
    engine.__name__: engine
    for engine in (
        positions_outside,
        no_rewind,
        encoded_at_commit,
        no_fencing,
        reads_uncommitted,
        whole,
    )
}

if __name__ == "__main__":
    ENGINES[sys.argv[1]]()
    sys.argv = ["milepost", *take(sys.argv[2:])]
    main()
