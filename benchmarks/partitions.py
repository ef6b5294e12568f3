"""CPU per event and events per second of a governor worker with few partitions and with many.

`python -m benchmarks.partitions --partitions 4,16,64`. Each count has a cluster of its own.
"""

import argparse
from pathlib import Path

from benchmarks import compare, report
from benchmarks.peers import catalogue, meters


def main():
    reader = argparse.ArgumentParser(description=__doc__)
    reader.add_argument("--partitions", default="4,16,64")
    reader.add_argument("--records", type=int, default=300_000)
    reader.add_argument("--runs", type=int, default=3)
    reader.add_argument("--quiet-s", type=float, default=20.0)
    reader.add_argument("--out", type=Path, default=report.RESULTS / "partitions.json")
    given = reader.parse_args()
    (peer,) = catalogue.chosen(["milepost-full"])
    rows = []
    for count in map(int, given.partitions.split(",")):
        with compare.bench(given.records, count) as bench:
            for run in range(given.runs):
                found = bench.drain(peer, given.quiet_s)
                print(f"{count} partitions, {compare.line(f'run {run + 1}', found)}", flush=True)
                if not found.exact:
                    continue
                rows.append(
                    {
                        "partitions": count,
                        "events_per_s": round(found.events_per_s),
                        "us_per_event": round(found.cpu_per_million, 2),
                    }
                )
    report.keep(given.out, {"machine": meters.machine(), "rows": rows})


if __name__ == "__main__":
    main()
