"""How long a partition pauses when its worker is killed, is drained, and comes back.

`python -m benchmarks.pauses --times 5`. Two governors under their supervisors share four
partitions of paced traffic; a pause is the longest time between two approved records of a
partition around what happened, less what the traffic itself leaves between two. Beside it stands
what the workers said meanwhile, and when.
"""

import argparse
import dataclasses
import itertools
import json
import os
import random
import statistics
import time
from collections import defaultdict
from datetime import datetime
from pathlib import Path

import psutil

from benchmarks import compare, report
from benchmarks.peers import catalogue, full_check, harness, meters, pacing
from pipeline.contract import names

RATE = 1_000
BEFORE_S, AFTER_S = 4.0, 12.0
JOIN_S = 15.0
TELLING = dataclasses.replace(
    catalogue.GOVERNOR,
    environment={"MILEPOST_LOG_LEVEL": "INFO", "MILEPOST_LOG_FORMAT": "json"},
)
"""The governor with a log that tells what it does."""
PHASES = {
    "the hot path runs": "a worker is built",
    "[^--Lane]: Starting": "its lane starts",
    "revoked partitions": "revoked",
    "assigned partitions": "assigned",
    "state_restored": "restored",
}
"""How lines of the log begin, and what they stand for."""


class Arrivals(pacing.Reader):
    """Notes when records of each partition can be read."""

    def __init__(self, cluster, topic):
        super().__init__(cluster, topic)
        self.times = defaultdict(list)

    def take(self, now_ms, messages):
        for message in messages:
            self.times[message.partition()].append(now_ms)


def longest(times, begin_ms, end_ms):
    """The longest time without a record in a span (ms), its ends included."""
    within = [at for at in times if begin_ms <= at <= end_ms]
    marks = [begin_ms, *within, end_ms]
    return max(later - earlier for earlier, later in itertools.pairwise(marks))


def worker_of(supervisor):
    """The worker's process below its supervisor."""
    (child,) = psutil.Process(supervisor.pid).children()
    return child


def kill(run, slot):
    """Kill a worker; its supervisor starts another."""
    worker_of(run.workers[slot]).kill()


def drain(run, slot):
    """End supervisor and worker in order."""
    run.workers[slot].stop()


def join(run, slot):
    """Start what was drained again."""
    run.start(str(slot))
    run.workers[slot] = run.workers.pop()


def measure(bench, times):
    """Pauses in ms by what happened, one of each for every time."""
    cluster = bench.cluster
    run = harness.Run(cluster, TELLING, bench.folders)
    run.prepare(raw=True)
    found = {"killed": [], "drained": [], "joined": []}
    reader = Arrivals(cluster, names.APPROVED)
    chance = random.Random(1)
    plan = [(RATE, bench.count)]
    pacer = None
    try:
        for slot in ("0", "1"):
            run.start(slot)
        time.sleep(JOIN_S)
        reader.start()
        pacer = pacing.start_pacer(run, bench.path, plan)
        until = time.time() + harness.START_S
        while len(reader.times) < cluster.partitions:
            if time.time() > until:
                raise RuntimeError("nothing is decided")
            time.sleep(0.1)
        for _ in range(times):
            slot = chance.randrange(2)
            for what, act in (("killed", kill), ("drained", drain), ("joined", join)):
                before = run.log.stat().st_size
                at_ms, ms = pause(reader, lambda act=act, slot=slot: act(run, slot))
                found[what].append(ms)
                print(f"{what}: {ms} ms ({phases(run.log, before, at_ms)})", flush=True)
    finally:
        if pacer is not None:
            pacer.terminate()
            pacer.wait(30)
        reader.stop()
        run.stop()
    fault = full_check.audit(cluster)
    run.clean()
    if fault:
        raise RuntimeError(f"not exact: {fault}")
    return found


def pause(reader, act):
    """Let something happen.

    Returns:
        When that was, and how much longer a partition was silent than it usually is (ms).

    """
    time.sleep(BEFORE_S)
    usual = max(span(reader, time.time() * 1000 - BEFORE_S * 1000 / 2))
    at = time.time() * 1000
    act()
    time.sleep(max(0.0, AFTER_S - (time.time() - at / 1000)))
    return at, round(max(span(reader, at)) - usual)


def phases(log, begin, at_ms):
    """What the workers did since then, in ms after it, as their log has it."""
    told = []
    for line in log.read_bytes()[begin:].decode("utf-8", "replace").splitlines():
        if not line.startswith("{"):
            continue
        said = json.loads(line)
        for start, phase in PHASES.items():
            if said["event"].startswith(start):
                ms = datetime.fromisoformat(said["timestamp"]).timestamp() * 1000 - at_ms
                told.append(f"{phase} {ms:+.0f}")
    return ", ".join(told)


def span(reader, begin_ms):
    """The longest silence of each partition since then, until a moment ago."""
    end_ms = time.time() * 1000 - 200
    return [longest(reader.times[number], begin_ms, end_ms) for number in sorted(reader.times)]


def main():
    reader = argparse.ArgumentParser(description=__doc__)
    reader.add_argument("--times", type=int, default=5)
    reader.add_argument("--out", type=Path, default=report.RESULTS / "pauses.json")
    given = reader.parse_args()
    records = int(RATE * (JOIN_S + 3 * given.times * (BEFORE_S + AFTER_S))) + 1
    with compare.bench(records) as bench:
        meters.wait_quiet([bench.cluster.broker_pid, os.getpid()], 20)
        found = measure(bench, given.times)
    for what, pauses in found.items():
        print(f"{what}: median {statistics.median(pauses)}, at most {max(pauses)} ms")
    document = {"machine": meters.machine(), **found}
    report.keep(given.out, document)


if __name__ == "__main__":
    main()
