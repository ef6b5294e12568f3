"""The lane: exactly-once record batches for a Faust agent, over many co-partitioned inputs.

Faust's own consumer, producer and tables can't keep a transaction over outputs, state and offsets.
The lane takes their place and leaves Faust what it is good at: the app, the worker, the agent. It
needs nothing of Milepost; take the folder.

What it promises

- The *partition number* is the unit of work: number *p* of the control topic and of every input,
  with one state. The group subscribes to the control topic alone; whoever owns *p* reads *p* of all
  inputs. Inputs can be added or dropped while running, without a rebalance.
- Outputs, state changes and positions of a batch commit in one transaction, or none of them do.
  `read_committed` readers see each decision once, whatever is killed. Positions come from the
  state; the group's offsets are committed as well, for fencing and for lag tools.
- No silent skip: records that retention took are reported as a `Gap`; a position beyond the end, an
  input without append time or with another partition count ends the worker with its name.
- An outage is no error: the agent answers `Deferred`, the lane goes back to where that batch began
  and reads the inputs concerned no further for a while.
- Time is part of the log: *ticks*, records on the control topic, carry append times, and the lane
  says when an input is *read through* T: everything appended up to T was in this or an earlier
  batch. (As far as brokers' clocks agree and replication keeps up.)
- Anything indefinite ends the process with exit code 75 and every thread's stack; `supervise`
  starts a fresh one. So does leaving unread what another consumer can read. Exit code 78: it can't
  run as configured.

Threads: *Faust's loop* runs the agent, which only decides. *lane* makes every call of the group's
consumer and the producers. *lane-lookup* asks where logs start and end, and reads
where an input stands still. *lane-watchdog* leaves the process when a step takes too long. No batch
is with the agent and no transaction is open while the lane reads, so that a rebalance finds nothing
in flight; the processor's methods are called on the lane's thread, never while a batch is with the
agent.

Phases: starting → joining → restoring → running → (restoring, after an abort) → leaving.

An application counts words per key::

    class Counting:  # a Processor[Counts]
        def restore(self, partition, changelog):
            return Counts(changelog)

        def positions(self, counts):
            return counts.positions

        def due_ms(self, counts):
            return None

        def inputs(self, counts):
            return None

    app = LaneApp("counting")
    lane = Lane(app, LaneConfig(
        client={"bootstrap.servers": "127.0.0.1:9092"}, group="counting", slot="0",
        control_topic="control", changelog_topic="counts", inputs=frozenset({"words"}),
    ), Counting())

    @app.agent(lane.channel)
    async def count(batches):
        async for batch in batches:
            batch.done({p: decide(part) for p, part in batch.parts.items()})

where `decide` updates `part.state` from `part.records` and returns `Decided(outputs, changelog,
positions)`, with `positions` = the old ones and `part.ends`, kept in the changelog too. Start it
with `supervise([sys.executable, "-m", "faust", "-A", "counting", "worker"])`.
"""

from .config import EX_CONFIG, EX_TEMPFAIL, LaneConfig, LaneError, TopicRefusedError
from .faust_app import Lane, LaneApp
from .model import (
    RETENTION,
    TICK_HEADER,
    Commit,
    Decided,
    Deferred,
    Gap,
    Observer,
    Output,
    PartitionBatch,
    Processor,
    Produced,
    Record,
    RecordBatch,
    Restored,
    Results,
    Tick,
    is_tick,
)

__all__ = [
    "EX_CONFIG",
    "EX_TEMPFAIL",
    "RETENTION",
    "TICK_HEADER",
    "Commit",
    "Decided",
    "Deferred",
    "Gap",
    "Lane",
    "LaneApp",
    "LaneConfig",
    "LaneError",
    "Observer",
    "Output",
    "PartitionBatch",
    "Processor",
    "Produced",
    "Record",
    "RecordBatch",
    "Restored",
    "Results",
    "Tick",
    "TopicRefusedError",
    "is_tick",
]
