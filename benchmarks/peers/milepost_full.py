"""A real governor worker, everything on; it tells its first record.

`MILEPOST_PURE=1` in its environment switches compiled code off.
"""

from benchmarks.peers import step
from benchmarks.peers.workload import TOPICS
from pipeline.cli import run
from pipeline.streams import governor


def telling(untold):
    """`Decider.decide`, which tells the harness of its first batch with raw records."""
    waiting = True

    async def decide(self, batch):
        nonlocal waiting
        if waiting and any(
            r.topic in TOPICS for part in batch.parts.values() for r in part.records
        ):
            step.first()
            waiting = False
        return await untold(self, batch)

    return decide


if __name__ == "__main__":
    governor.Decider.decide = telling(governor.Decider.decide)
    run.governor(worker=True)
