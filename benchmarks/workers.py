"""One governor worker against two on the same machine: events per second and CPU per event.

`python -m benchmarks.workers`. All workers have joined before the policy comes into force, which
is when they begin to govern; the broker shares the cores with them.
"""

import argparse
import os
import time
from pathlib import Path

from benchmarks import compare, report
from benchmarks.peers import catalogue, harness, meters
from benchmarks.peers.workload import TOPICS

JOIN_S = 12.0


def drain(bench, peer, count, quiet_s):
    """One drain by so many workers."""
    cluster = bench.cluster
    run = harness.Run(cluster, peer, bench.folders, TOPICS)
    run.prepare(publish=False)
    truth = bench.truth(bench.count)
    try:
        meters.wait_quiet([cluster.broker_pid, os.getpid()], quiet_s)
        for number in range(count):
            run.start(str(number))
        time.sleep(JOIN_S)
        cluster.publish()
        found = harness.watch(run, truth)
    finally:
        run.stop()
    found.why = found.why or run.check(truth)
    found.exact = not found.why
    run.clean()
    return found


def main():
    reader = argparse.ArgumentParser(description=__doc__)
    reader.add_argument("--records", type=int, default=1_000_000)
    reader.add_argument("--runs", type=int, default=3)
    reader.add_argument("--workers", default="1,2")
    reader.add_argument("--quiet-s", type=float, default=20.0)
    reader.add_argument("--out", type=Path, default=report.RESULTS / "workers.json")
    given = reader.parse_args()
    (peer,) = catalogue.chosen(["milepost-full"])
    rows = []
    with compare.bench(given.records) as bench:
        for run in range(given.runs):
            for count in map(int, given.workers.split(",")):
                found = drain(bench, peer, count, given.quiet_s)
                print(f"{count} workers, {compare.line(f'run {run + 1}', found)}", flush=True)
                if not found.exact:
                    continue
                rows.append(
                    {
                        "workers": count,
                        "events_per_s": round(found.events_per_s),
                        "us_per_event": round(found.cpu_per_million, 2),
                        "broker_us_per_event": round(found.broker_cpu_per_million, 2),
                        "peak_rss_mib": round(found.peak_rss_mib),
                    }
                )
    report.keep(given.out, {"machine": meters.machine(), "rows": rows})


if __name__ == "__main__":
    main()
