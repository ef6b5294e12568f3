"""The minimal step on Milepost's lane: the same work as every peer, in the same transactions.

It shows what the lane costs, apart from what Milepost does with a record.
"""

import gc
import importlib
import sys
from dataclasses import dataclass, field

import faust

from benchmarks.peers import step
from pipeline.lane import Decided, Lane, LaneApp, LaneConfig, Output

RUN = step.told()
POSITION = b"\0"
"""First byte of the changelog's keys that hold positions; entities' keys begin otherwise."""
NOT_OWNER, NOT_READ = [("reason", step.NOT_OWNER)], [("reason", step.NOT_READ)]
DECIDE = importlib.import_module(RUN["options"]["kernel"]).Spliced(RUN["spec"]).decide


@dataclass
class Entities:
    states: dict[bytes, bytes] = field(default_factory=dict)
    positions: dict[str, int] = field(default_factory=dict)


class Keeping:
    """The lane's processor."""

    def restore(self, _partition, changelog):
        kept = Entities()
        for key, value in changelog.items():
            if key.startswith(POSITION):
                kept.positions[key[1:].decode()] = int(value)
            else:
                kept.states[key] = value
        return kept

    def positions(self, kept):
        return kept.positions

    def due_ms(self, _kept):
        return None

    def inputs(self, _kept):
        return None


def decide(part):
    """One batch of one partition."""
    kept, number = part.state, part.partition
    records = [record for record in part.records if record.topic != RUN["control"]]
    approved, rejected, undecodable, changes = DECIDE(records, kept.states)
    outputs = [Output(RUN["approved"], number, key, value) for key, value in approved]
    outputs += [Output(RUN["rejected"], number, key, value, NOT_OWNER) for key, value in rejected]
    outputs += [
        Output(RUN["undecodable"], number, key, value, NOT_READ) for key, value in undecodable
    ]
    kept.positions.update(part.ends)
    changes += [(POSITION + topic.encode(), b"%d" % end) for topic, end in part.ends.items()]
    return Decided(outputs, changes, kept.positions)


app = LaneApp(RUN["name"], datadir=RUN["state_dir"], web_enabled=False)
lane = Lane(
    app,
    LaneConfig(
        client={"bootstrap.servers": RUN["bootstrap"]},
        group=RUN["name"],
        slot=RUN["slot"],
        control_topic=RUN["control"],
        changelog_topic=RUN["changelog"],
        inputs=frozenset(RUN["inputs"]),
    ),
    Keeping(),
)


@app.agent(lane.channel)
async def govern(batches):
    waiting = True
    async for batch in batches:
        if waiting and any(record.topic in RUN["inputs"] for record in records_of(batch)):
            step.first()
            waiting = False
        batch.done({number: decide(part) for number, part in batch.parts.items()})


def records_of(batch):
    return (record for part in batch.parts.values() for record in part.records)


if __name__ == "__main__":
    gc.collect()
    gc.freeze()
    gc.set_threshold(1_000_000, 20, 50)
    sys.argv = sys.argv[:1]
    faust.Worker(
        app, loglevel="WARNING", redirect_stdouts=False, override_logging=False
    ).execute_from_commandline()
