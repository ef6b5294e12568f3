"""A real governor worker, everything on; it tells its first record.

`MILEPOST_PURE=1` in its environment switches compiled code off.
"""

import time

from benchmarks.peers import step
from benchmarks.peers.workload import TOPICS
from pipeline.cli import run
from pipeline.lane import Decided
from pipeline.streams import governor


def telling(untold):
    """`Decider.decide`, which tells when it began with the first raw records that it governed."""
    waiting = True

    async def decide(self, batch):
        nonlocal waiting
        began = time.time(), time.process_time()
        results = await untold(self, batch)
        if waiting and any(is_governed(part, results) for part in batch.parts.values()):
            step.first(*began)
            waiting = False
        return results

    return decide


def is_governed(part, results):
    """Whether raw records of this part were decided: without a policy they are put off."""
    raw = any(record.topic in TOPICS for record in part.records)
    return raw and isinstance(results[part.partition], Decided)


if __name__ == "__main__":
    governor.Decider.decide = telling(governor.Decider.decide)
    run.governor(worker=True)
