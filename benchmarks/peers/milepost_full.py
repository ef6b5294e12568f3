"""A real governor worker, everything on; it tells its first record.

`MILEPOST_PURE=1` in its environment switches compiled code off.
"""

from benchmarks.peers import step
from benchmarks.peers.workload import TOPICS
from pipeline.cli import run
from pipeline.streams import governor


def telling(untold):
    """`Decider.decide`, which tells the harness of its first batch with raw records to govern."""
    waiting = True

    async def decide(self, batch):
        nonlocal waiting
        if waiting and any(map(is_to_govern, batch.parts.values())):
            step.first()
            waiting = False
        return await untold(self, batch)

    return decide


def is_to_govern(part):
    """Whether a policy is in force and raw records are there."""
    activated = part.state.policy_version is not None
    return activated and any(record.topic in TOPICS for record in part.records)


if __name__ == "__main__":
    governor.Decider.decide = telling(governor.Decider.decide)
    run.governor(worker=True)
