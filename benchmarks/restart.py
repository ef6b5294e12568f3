"""A worker with a million entities of state starts: how long until it decides, and its memory.

`python -m benchmarks.restart --entities 0,1000000`. The state lies in the changelog of a real
broker, records lie in the raw topics; time goes from starting the process to the first approved
record that a reader of committed records can have.
"""

import argparse
import os
import time
from pathlib import Path

from confluent_kafka import Producer

from benchmarks import ballast, compare, report
from benchmarks.peers import catalogue, harness, meters
from pipeline.contract import names

LIMIT_S = 120.0
FULL = 400_000


def write_changelog(cluster, kept, count):
    """Put the state of so many entities into the changelog."""
    producer = Producer(
        {
            "bootstrap.servers": cluster.bootstrap,
            "linger.ms": 20,
            "queue.buffering.max.messages": 500_000,
            "queue.buffering.max.kbytes": 512_000,
        }
    )

    def put(number, key, value):
        while len(producer) > FULL:
            producer.poll(0.05)
        producer.produce(names.CHANGELOG, value, key, number)

    for number, key in kept.keys(count):
        put(number, key, kept.value)
    for number, value in kept.own_records():
        put(number, ballast.PARTITION_KEY, value)
    if producer.flush(120):
        raise RuntimeError("the changelog could not be written")


def once(bench, peer, count):
    """One start with so many entities; its figures."""
    cluster = bench.cluster
    run = harness.Run(cluster, peer, bench.folders)
    run.prepare()
    try:
        kept = ballast.Ballast(int(time.time() * 1000), cluster.raw_id, cluster.partitions)
        write_changelog(cluster, kept, count)
        meters.wait_quiet([cluster.broker_pid, os.getpid()], 20)
        began = time.time()
        worker = run.start()
        while not sum(cluster.ends([names.APPROVED]).values()):
            if not worker.alive or time.time() - began > LIMIT_S:
                raise RuntimeError(f"no decision within {LIMIT_S} s: {worker.said()}")
            time.sleep(0.02)
        took = time.time() - began
        truth = bench.truth(bench.count)
        drained = harness.watch(run, truth)
        rss, peak = meters.rss_mib(worker.pid), meters.peak_rss_mib(worker.pid)
        run.stop()
        fault = run.check(truth)
        if fault:
            raise RuntimeError(f"not exact: {fault}")
        return {
            "entities": count,
            "first_decision_s": round(took, 2),
            "rss_mib": round(rss),
            "peak_rss_mib": round(peak),
            "us_per_event": round(drained.cpu_per_million, 2),
            "state_bytes": len(kept.value),
        }
    finally:
        run.stop()
        run.clean()


def main():
    reader = argparse.ArgumentParser(description=__doc__)
    reader.add_argument("--entities", default="0,1000000")
    reader.add_argument("--records", type=int, default=50_000, help="records that lie ready")
    reader.add_argument("--runs", type=int, default=3)
    reader.add_argument("--out", type=Path, default=report.RESULTS / "restart.json")
    given = reader.parse_args()
    (peer,) = catalogue.chosen(["milepost-full"])
    rows = []
    with compare.bench(given.records) as bench:
        for run in range(given.runs):
            for count in map(int, given.entities.split(",")):
                rows.append(once(bench, peer, count))
                print(f"run {run + 1}: {rows[-1]}", flush=True)
    report.keep(given.out, {"machine": meters.machine(), "rows": rows})


if __name__ == "__main__":
    main()
