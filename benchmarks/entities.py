"""CPU per event and memory with few entities in state and with many; the topology alone, no Kafka.

`python -m benchmarks.entities --entities 100000,1000000,5000000`. Each count has a process of its
own; half of the events are about entities that lie there, the rest begin new stories.
"""

import argparse
import gc
import json
import os
import random
import subprocess
import sys
import time
from pathlib import Path

from benchmarks import ballast, report
from benchmarks.peers import meters, workload
from benchmarks.peers.cluster import PARTITIONS
from pipeline.governance.identity import partition_of
from pipeline.streams.state import PartitionState

ROUND = 5_000
BYTES_EACH = 2_000
"""Memory that an entity of the ballast needs at most."""


def states(kept, count):
    """States with so many entities."""
    logs = [{} for _ in range(PARTITIONS)]
    for number, key in kept.keys(count):
        logs[number][key] = bytes(bytearray(kept.value))  # each its own, as from a changelog
    for number, value in kept.own_records():
        logs[number][ballast.PARTITION_KEY] = value
    return [PartitionState.restore(number, logs.pop(0)) for number in range(PARTITIONS)]


def events(count, lying, now_ms):
    """Topic, key, value: new stories and, in between, something more about what lies there."""
    chance = random.Random(count)
    stories = workload.records(count // 2, 1, now_ms - workload.DAY_MS)
    for topic, key, value, _ in stories:
        yield workload.TOPICS[topic], key, value
        more = ballast.said(chance.randrange(lying), "CHG", now_ms, chance, 1)
        yield ballast.ERP, *more


def one(lying, count):
    """Microseconds per event, and memory, with so many entities."""
    from pipeline.testing.driver import TopologyDriver

    now_ms = int(time.time() * 1000)
    kept = ballast.Ballast(now_ms, 1)
    told = list(events(count, lying, now_ms))
    driver = TopologyDriver([ballast.spec.policy()], PARTITIONS, start_ms=now_ms)
    driver.inputs.clear()
    bare = meters.rss_mib(os.getpid())
    driver.states = states(kept, lying)
    gc.collect()
    full = meters.rss_mib(os.getpid())
    gc.freeze()
    gc.set_threshold(1_000_000, 20, 50)  # as the worker does
    rounds = []
    for first in range(0, len(told), ROUND):
        for topic, key, value in told[first : first + ROUND]:
            driver._append(topic, partition_of(key, PARTITIONS), key, value, None, now_ms)
        began = time.process_time()
        driver._settle()
        rounds.append((time.process_time() - began) / len(told[first : first + ROUND]) * 1e6)
        driver.outputs.clear()
    return {
        "entities": lying,
        "us_per_event": round(sorted(rounds)[len(rounds) // 2], 2),
        "rss_mib": round(full),
        "bytes_per_entity": round((full - bare) * 2**20 / lying),
        "state_bytes": len(kept.value),
    }


def whole(count):
    """Memory of so many shipments whose stories are whole."""
    kept = ballast.Ballast(int(time.time() * 1000), 1, whole=True)
    bare = meters.rss_mib(os.getpid())
    lying = states(kept, count)
    gc.collect()
    full = meters.rss_mib(os.getpid())
    return {
        "shipments": sum(map(len, lying)),
        "bytes_per_shipment": round((full - bare) * 2**20 / count),
        "state_bytes": len(kept.value),
    }


def main():
    reader = argparse.ArgumentParser(description=__doc__)
    reader.add_argument("--entities", default="100000,1000000,5000000")
    reader.add_argument("--events", type=int, default=40_000)
    reader.add_argument("--runs", type=int, default=3)
    reader.add_argument("--out", type=Path, default=report.RESULTS / "entities.json")
    reader.add_argument("--one", type=int, help="measure in this process and print it")
    reader.add_argument("--whole", type=int, help="so many shipments with their whole stories")
    given = reader.parse_args()
    if given.whole:
        print(json.dumps(whole(given.whole)))
        return
    if given.one:
        print(json.dumps(one(given.one, given.events)))
        return
    found = []
    for run in range(given.runs):
        for count in map(int, given.entities.split(",")):
            free = os.sysconf("SC_AVPHYS_PAGES") * os.sysconf("SC_PAGE_SIZE")
            if count * BYTES_EACH > free:
                print(f"{count:,} entities: left out, this machine has no memory for them")
                continue
            argv = [sys.executable, "-m", "benchmarks.entities", "--one", str(count)]
            done = subprocess.run(
                [*argv, "--events", str(given.events)], check=True, capture_output=True, text=True
            )
            found.append(json.loads(done.stdout))
            print(f"run {run + 1}: {found[-1]}", flush=True)
    argv = [sys.executable, "-m", "benchmarks.entities", "--whole", "200000"]
    done = subprocess.run(argv, check=True, capture_output=True, text=True)
    stories = json.loads(done.stdout)
    print(stories)
    report.keep(given.out, {"machine": meters.machine(), "rows": found, "whole": stories})


if __name__ == "__main__":
    main()
