"""Latency and throughput when load steps from nearly nothing to a backlog and back, as a picture.

`python -m benchmarks.load_step`. Records trickle, then come all at once as fast as the broker takes
them, then trickle again; every record's latency is told by when it was appended.
"""

import argparse
import os
import time
from collections import defaultdict
from pathlib import Path

from benchmarks import compare, report
from benchmarks.peers import catalogue, harness, meters, pacing
from benchmarks.peers.workload import TOPICS

TRICKLE, FLOOD = 200, 1_000_000
BIN_S = 0.25


def bins(samples, begin_ms):
    """Samples (time, value) by the quarter of a second that they fall into."""
    found = defaultdict(list)
    for at_ms, value in samples:
        found[int((at_ms - begin_ms) / 1000 / BIN_S)].append(value)
    return found


def curves(peer, batches, times):
    """Points (seconds, value): p50 and p99 latency by append time, records read and appended."""
    begin_ms = min(times.values())
    latencies, read = [], []
    for now_ms, values in batches:
        read.append((now_ms, len(values)))
        told = [times[event_id] for event_id in pacing.event_ids(peer, values)]
        latencies += [(at_ms, now_ms - at_ms) for at_ms in told]
    ranked = {
        at: pacing.percentiles(found, (0.5, 0.99))
        for at, found in sorted(bins(latencies, begin_ms).items())
    }
    appended = bins(((at, 1) for at in times.values()), begin_ms)
    arrived = bins(read, begin_ms)
    last = max([*appended, *arrived])

    def rate(found):
        return [(at * BIN_S, sum(found.get(at, ())) / BIN_S) for at in range(last + 1)]

    return {
        "p50_ms": [(at * BIN_S, round(pair[0])) for at, pair in ranked.items()],
        "p99_ms": [(at * BIN_S, round(pair[1])) for at, pair in ranked.items()],
        "appended_per_s": rate(appended),
        "read_per_s": rate(arrived),
    }


def measure(bench, peer, plan, quiet_s):
    """Run the plan against a peer."""
    cluster, truth = bench.cluster, bench.truth(bench.count)
    run = harness.Run(cluster, peer, bench.folders, TOPICS)
    run.prepare(raw=True)
    meters.wait_quiet([cluster.broker_pid, os.getpid()], quiet_s)
    reader = pacing.Reader(cluster, run.outputs["approved"])
    pacer = None
    try:
        worker = run.start()
        reader.start()
        time.sleep(pacing.JOIN_S)
        pacer = pacing.start_pacer(run, bench.path, plan)
        until = time.time() + 300
        while reader.count < truth["counts"]["approved"] and time.time() < until:
            if not worker.alive:
                raise RuntimeError(worker.said())
            time.sleep(0.1)
        time.sleep(1)
    finally:
        if pacer is not None:
            pacer.wait(60)
        reader.stop()
        run.stop()
    fault = run.check(truth)
    found = curves(peer, reader.batches, pacing.appended(cluster, run.inputs))
    run.clean()
    return found | {"exact": not fault, "faults": fault}


def main():
    reader = argparse.ArgumentParser(description=__doc__)
    reader.add_argument("--flood", type=int, default=300_000, help="records that come at once")
    reader.add_argument("--trickle-s", type=float, default=8.0, help="before and after")
    reader.add_argument("--quiet-s", type=float, default=20.0)
    reader.add_argument("--out", type=Path, default=report.RESULTS / "load-step.json")
    given = reader.parse_args()
    calm = int(TRICKLE * given.trickle_s)
    plan = [(TRICKLE, calm), (FLOOD, given.flood), (TRICKLE, 3 * calm)]
    (peer,) = catalogue.chosen(["milepost-full"])
    with compare.bench(4 * calm + given.flood) as bench:
        found = measure(bench, peer, plan, given.quiet_s)
    print(f"exact: {found['exact']} {found['faults']}")
    print(f"p99 at most {max(value for _, value in found['p99_ms'])} ms")
    document = {"machine": meters.machine(), "trickle": TRICKLE, "flood": given.flood, **found}
    report.keep(given.out, document)


if __name__ == "__main__":
    main()
