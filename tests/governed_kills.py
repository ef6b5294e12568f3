"""A governor killed again and again while a seeded world talks: nothing lost, nothing twice.

Used by the test of it, and by hand: `python tests/governed_kills.py --kills 20 --events 4000`.
"""

from __future__ import annotations

import argparse
import random
import sys
import threading
import time
from collections import Counter
from dataclasses import dataclass, field

from governed_stack import PARTITIONS, Governed, per_entity

from connectors.simulation.address import Addresses, encode
from connectors.simulation.traffic import compose
from pipeline.contract import names
from pipeline.contract.policy_tables import compile_policy
from pipeline.kafka import clients
from pipeline.testing.driver import TopologyDriver


@dataclass
class Outcome:
    """What a run with kills came to."""

    kills: int = 0
    events: int = 0
    seconds: float = 0.0
    recovery_s: list[float] = field(default_factory=list)
    """From each kill to the first decision after it."""
    fates: Counter = field(default_factory=Counter)
    approved: int = 0
    wrong: list[str] = field(default_factory=list)

    def __str__(self):
        slowest = max(self.recovery_s, default=0.0)
        return (
            f"{self.kills} kills, {self.events} events in {self.seconds:.0f} s, recovery"
            f" {sorted(self.recovery_s)[len(self.recovery_s) // 2]:.1f} s median, {slowest:.1f} s"
            f" at most; {self.approved} approved records; {dict(self.fates)};"
            f" {'nothing wrong' if not self.wrong else self.wrong[:10]}"
        )


class Speaker(threading.Thread):
    """Sends a world's statements at a steady pace."""

    def __init__(self, governed, seed, events, seconds):
        super().__init__(daemon=True)
        traffic = compose(seed, int(time.time() * 1000), events=events)
        self.sendings = traffic.sendings
        self.records = []
        self.places = []
        addresses = Addresses(governed.bundle)
        for sending in self.sendings:
            statement = sending.statement
            topic = addresses.topic(statement)
            self.records.append(
                clients.Outgoing(
                    topic,
                    encode(statement, governed.raw_id(topic)),
                    addresses.key(statement),
                    (),
                    addresses.partition(statement, PARTITIONS),
                )
            )
        self._pause = seconds / max(1, len(self.records))
        self._producer = clients.producer(governed.settings, governed.bootstrap)

    def run(self):
        began, delivery = time.monotonic(), clients.Delivery(self._producer, 600)
        for count, record in enumerate(self.records):
            ahead = began + count * self._pause - time.monotonic()
            if ahead > 0:
                time.sleep(ahead)
            delivery.add(record)
        self.places = [tuple(place) for place in delivery.wait()]


def kill_run(governed, *, seed=11, events=1_500, kills=4, seconds=20.0) -> Outcome:
    """Kill the worker at random moments while events come in; see what was decided.

    Args:
        governed: the stack; its worker is killed and started anew.
        seed: of the world and of the moments.
        events: statements to send.
        kills: how often to kill -9.
        seconds: over which the events are sent.

    """
    outcome, roll = Outcome(), random.Random(seed)
    speaker = Speaker(governed, seed, events, seconds)
    approved = len(governed.watch.approved)
    began = time.monotonic()
    speaker.start()
    while outcome.kills < kills:
        decided = len(governed.watch.fates)
        _progress(governed, decided)
        _linger(governed, roll.uniform(0.05, 1.5))
        governed.worker.kill()
        killed = time.monotonic()
        outcome.kills += 1
        governed.watch.look()
        decided = len(governed.watch.fates)
        governed.start()
        _progress(governed, decided)
        outcome.recovery_s.append(time.monotonic() - killed)
    speaker.join(600)
    outcome.events = len(speaker.places)
    fates = governed.fates(speaker.places, 120)
    governed.watch.until(lambda: _read_up(governed.watch), 60, "the approved records decided on")
    outcome.seconds = time.monotonic() - began
    outcome.fates = Counter(fate.verdict[0] for fate in fates)
    outcome.wrong += wrong(governed, speaker, fates)
    outcome.approved = len(governed.watch.approved) - approved
    return outcome


def _progress(governed, decided):
    """Wait until something more is decided: a kill without progress in between proves nothing."""
    governed.watch.until(
        lambda: len(governed.watch.fates) > decided, 60, "a decision after a start"
    )


def _read_up(watch):
    """Whether every approved record was read that the blocks which were read count."""
    counted = {block["partition"]: block["approved_count"] for block in watch.blocks}
    return len(watch.approved) >= sum(counted.values())


def _linger(governed, seconds):
    """Let it work for a while, reading along."""
    end = time.monotonic() + seconds
    while time.monotonic() < end:
        governed.watch.look()


def wrong(governed, speaker, fates):
    """Everything that should not be, as seen by a reader who was there all the time."""
    if len(speaker.places) != len(speaker.records):
        yield f"{len(speaker.places)} of {len(speaker.records)} events were acknowledged"
    for entity, records in per_entity(governed.watch.approved).items():
        told = [record["entity_seq"] for record in records]
        if told != list(range(1, len(told) + 1)):
            yield f"{entity}: entity_seq {told}"
    ids = Counter((r["milestone_id"], r["revision"]) for r in governed.watch.approved)
    for name, count in ids.items():
        if count > 1:
            yield f"{name} was published {count} times"
    letters = sum(fate.now[0] == "dead_lettered" for fate in governed.watch.fates.values())
    if len(governed.watch.letters) != letters:
        yield f"{len(governed.watch.letters)} dead letters, {letters} verdicts"
    yield from (str(item) for item in governed.verify(deep=True).violations)
    yield from _differs(governed, speaker)


def _differs(governed, speaker):
    """The story an undisturbed run in memory tells of the same records."""
    driver = TopologyDriver([compile_policy(governed.bundle)], PARTITIONS, _first_ms(governed))
    for record, (topic, partition, offset) in sorted(
        zip(speaker.records, speaker.places, strict=True),
        key=lambda pair: governed.watch.fates[pair[1]].row["received"],
    ):
        at_ms = governed.watch.fates[topic, partition, offset].row["received"]
        value = None if record.value is None else _renumbered(record.value)
        driver.pipe_bytes(topic, record.key, value, partition=partition, at_ms=at_ms)
    expected = _standing(driver.records(names.APPROVED))
    keys = {(r["tenant"], r["entity_type"], r["entity_id"]) for r in expected.values()}
    found = _standing(
        r
        for r in governed.watch.approved
        if (r["tenant"], r["entity_type"], r["entity_id"]) in keys
    )
    for name in expected.keys() | found.keys():
        if _told(expected.get(name)) != _told(found.get(name)):
            yield f"{name}: {_told(found.get(name))}, undisturbed {_told(expected.get(name))}"


def _first_ms(governed):
    """When the first record of the stack was appended."""
    return min(fate.row["received"] for fate in governed.watch.fates.values())


def _renumbered(value):
    """The same record under the driver's schema id, if it names a real one."""
    known = value[:1] == b"\0" and int.from_bytes(value[1:5], "big") < 10_000
    return b"\0\0\0\0\1" + value[5:] if known else value


def _standing(approved):
    return {record["milestone_id"]: record for record in approved}


def _told(record):
    if record is None:
        return None
    return tuple(
        record[name]
        for name in ("event_type", "action", "assurance", "occurred", "platform", "source_event_id")
    )


def main():
    """Run on a stack of its own."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--seed", type=int, default=11)
    parser.add_argument("--events", type=int, default=4_000)
    parser.add_argument("--kills", type=int, default=20)
    parser.add_argument("--seconds", type=float, default=70.0)
    given = parser.parse_args()
    governed = Governed()
    try:
        governed.publish(governed.bundle)
        governed.start()
        outcome = kill_run(
            governed,
            seed=given.seed,
            events=given.events,
            kills=given.kills,
            seconds=given.seconds,
        )
        sys.stdout.write(f"{outcome}\n")
        return 1 if outcome.wrong else 0
    finally:
        governed.close()


if __name__ == "__main__":
    sys.exit(main())
