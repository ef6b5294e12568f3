"""A tiny real application of the lane: counts records per key, and obeys a few words in values.

    boom            the agent fails
    hang            the agent never answers
    wait FILE       an outage until FILE exists; only the record's own input waits
    later           an outage of a moment, whenever its state was read back
    due MS          this partition wants its clock moved at MS
    huge N          an output of N bytes

Run as `counter_app.py JSON`; tells what happens as JSON lines on stdout, takes `inputs A B` on
stdin, and `leave A`, unread, which the lane doesn't know of. Every decision goes to the output
topic, so that a test sees all of it.
"""

import json
import os
import sys
import threading
from dataclasses import dataclass, field
from pathlib import Path

import faust

from pipeline.lane import (
    Decided,
    Deferred,
    Lane,
    LaneApp,
    LaneConfig,
    Observer,
    Output,
    Tick,
    TopicRefusedError,
    is_tick,
    restore,
)
from pipeline.lane.inlet import Inlet
from pipeline.lane.reading import Reading
from pipeline.lane.restore import Restorer

sys.path.append(str(Path(__file__).parents[1]))

from crash_points import arm

SPEC = json.loads(sys.argv[1])
OUT = SPEC.pop("out")
CRASH = SPEC.pop("crash", None)
IDLE = {
    "join": (Inlet, "join", None),
    "offsets": (Restorer, "_unstable", "not answered"),
    "restore": (Restorer, "_fold", None),
    "coordinator": (restore, "_uncommitted", "unstable"),
}
"""What may be made to do nothing, and returns then."""


def tell(what, **details):
    os.write(1, (json.dumps({"what": what, **details}) + "\n").encode())


@dataclass
class Counter:
    counts: dict[bytes, int] = field(default_factory=dict)
    positions: dict[str, int] = field(default_factory=dict)
    due_ms: int | None = None
    later: bool = True


class Counting:
    def restore(self, partition, changelog):
        state = Counter()
        for key, value in changelog.items():
            kind, name = key[:1], key[1:]
            if kind == b"n":
                state.counts[name] = int(value)
            elif kind == b"p":
                state.positions[name.decode()] = int(value)
            else:
                state.due_ms = int(value)
        return state

    def positions(self, state):
        return state.positions

    def due_ms(self, state):
        return state.due_ms

    def inputs(self, state):
        return None


def decide(part):
    for record in part.records:
        value = record.value or b""
        if value == b"boom":
            raise RuntimeError("boom")
        if value == b"hang":
            threading.Event().wait()
        if value.startswith(b"wait ") and not Path(value[5:].decode()).exists():
            return Deferred(0.3, "no file yet", frozenset({record.topic}))
        if value == b"later" and part.state.later:
            part.state.later = False
            return Deferred(0.3, "a moment", frozenset({record.topic}))
    state, out, log = part.state, [], []
    for topic, first, after, why in part.gaps:
        out.append(Output(OUT, part.partition, b"gap", f"{topic} {first} {after} {why}".encode()))
    for record in part.records:
        if is_tick(record):
            continue
        if record.value and record.value.startswith(b"huge "):
            out.append(Output(OUT, part.partition, b"huge", bytes(int(record.value[5:]))))
        key = record.key or b""
        count = state.counts[key] = state.counts.get(key, 0) + 1
        origin = f"{record.topic} {record.offset}".encode()
        out.append(Output(OUT, part.partition, key, b"%d" % count, [("origin", origin)]))
        log.append((b"n" + key, b"%d" % count))
        if record.value and record.value.startswith(b"due "):
            state.due_ms = int(record.value[4:])
            log.append((b"d", b"%d" % state.due_ms))
    for topic, time_ms in part.read_through.items():
        out.append(Output(OUT, part.partition, b"read", f"{topic} {time_ms}".encode()))
    if part.read_through_ms is not None:
        out.append(Output(OUT, part.partition, b"clock", b"%d" % part.read_through_ms))
        if state.due_ms is not None and state.due_ms <= part.read_through_ms:
            state.due_ms = None
            log.append((b"d", None))
    state.positions.update(part.ends)
    log += [(b"p" + topic.encode(), b"%d" % end) for topic, end in part.ends.items()]
    return Decided(out, log, state.positions)


class Telling(Observer):
    def phase(self, name):
        tell("phase", name=name)

    def assigned(self, partitions):
        tell("assigned", partitions=sorted(partitions))

    def restored(self, restored):
        tell("restored", partitions=restored.partitions, keys=restored.keys)

    def aborted(self, why):
        tell("aborted", why=why)

    def deferred(self, partition, deferred):
        tell("deferred", partition=partition, why=deferred.why)


for name in SPEC.pop("idle", ()):
    owner, method, returned = IDLE[name]
    setattr(owner, method, lambda *_, returned=returned: returned)

app = LaneApp("counter", datadir=SPEC.pop("datadir"))
lane = Lane(
    app,
    LaneConfig(
        **{**SPEC, "inputs": frozenset(SPEC["inputs"])},
        tick=lambda partition: Tick(b"tick", b"%d" % partition),
    ),
    Counting(),
    Telling(),
)


@app.agent(lane.channel)
async def count(batches):
    async for batch in batches:
        batch.done({number: decide(part) for number, part in batch.parts.items()})


LEFT = set()
"""Inputs that are not fetched although the lane wants them."""
wanted = Reading.wanted


def wanted_but_left(reading):
    found = wanted(reading)
    if not LEFT.isdisjoint(found):
        tell("left", partition=reading.partition)
    return {topic: at for topic, at in found.items() if topic not in LEFT}


Reading.wanted = wanted_but_left


def obey():
    for line in sys.stdin:
        word, *topics = line.split()
        if word == "leave":
            LEFT.update(topics)
            lane._engine._inlet._refetch = True
            continue
        answer = lane.set_inputs(topics)
        try:
            tell("inputs", names=sorted(answer.result(20)))
        except TopicRefusedError as error:
            tell("refused", why=str(error))


if __name__ == "__main__":
    if CRASH is not None:
        arm(*CRASH)
    threading.Thread(target=obey, daemon=True).start()
    faust.Worker(app, loglevel="INFO").execute_from_commandline()
