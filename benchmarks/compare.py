"""Every peer against every other: same machine, same broker, same input, in turn.

`python -m benchmarks.compare` measures, writes `benchmarks/results/latest.json`, and draws
`docs/performance.md` anew. `--quick` takes fewer records and runs; `--peers a,b` only some.
"""

import argparse
import contextlib
import statistics
import sys
import tempfile
import time
from dataclasses import dataclass
from pathlib import Path

from benchmarks import report
from benchmarks.peers import catalogue, harness, java_peer, meters, pacing, workload
from benchmarks.peers import spec as telling
from benchmarks.peers.cluster import Cluster
from pipeline import native
from pipeline.local import pins
from pipeline.local.artifacts import default_cache_dir
from pipeline.local.stack import LocalStack

RESULTS = Path(__file__).parent / "results"
SHARE_LEAST = 10_000
STORIES_AGO_MS = 2 * workload.DAY_MS
RATE = 2_000
HALF_LEAST, HALF_MOST = 500, 100_000
HALF_S_LEAST = 2 * pacing.WARM_S
"""How long a run at half of a peer's most takes at least, its warm-up included."""
PACED_S = 20.0


@dataclass
class Folders:
    """Where things are kept: downloads for good, the rest for this run."""

    kept: Path
    work: Path


class Bench:
    """A cluster with the input on it.

    Args:
        cluster: set up.
        folders: of this run.
        count: records of the whole input.

    """

    def __init__(self, cluster, folders, count):
        self.cluster = cluster
        self.folders = folders
        self.count = count
        self.path = folders.work / f"input-{count}.bin"
        base_ms = int(time.time() * 1000) - STORIES_AGO_MS
        base_ms -= base_ms % workload.DAY_MS
        self._truths = {count: workload.write(self.path, count, cluster.raw_id, base_ms)}
        cluster.load(workload.read(self.path))
        self._loaded = {count: workload.TOPICS}

    def truth(self, count):
        """What must come out of the first records of the input."""
        if count not in self._truths:
            truth = workload.Truth(telling.spec(self.cluster.raw_id))
            for _, key, value in workload.read(self.path, count):
                truth.take(key, value)
            self._truths[count] = truth.told()
        return self._truths[count]

    def _inputs(self, count):
        """Topics that hold so many of the first records."""
        if count not in self._loaded:
            topics = tuple(f"bench-input-{count}.{name}" for name in telling.PLATFORMS)
            self.cluster.create(topics)
            self.cluster.load(workload.read(self.path, count), topics)
            self._loaded[count] = topics
        return self._loaded[count]

    def drain(self, peer, quiet_s, *, audited=False):
        """One drain of a peer's part of the input."""
        count = self.count
        if peer.share < 1:
            count = min(count, max(SHARE_LEAST, int(count * peer.share)))
        run = harness.Run(self.cluster, peer, self.folders, self._inputs(count))
        run.prepare()
        try:
            return harness.drain(run, self.truth(count), quiet_s, audited=audited)
        finally:
            run.clean()

    def paced(self, peer, rate, seconds, quiet_s):
        """One paced run; Milepost's own topics are emptied for its own path."""
        count = min(self.count, int(rate * seconds))
        if peer.work == "full":
            run = harness.Run(self.cluster, peer, self.folders)
            run.prepare(raw=True)
            self._loaded.pop(self.count, None)
        else:
            name = f"bench-paced-{time.time_ns()}"
            topics = tuple(f"{name}.{platform}" for platform in telling.PLATFORMS)
            run = harness.Run(self.cluster, peer, self.folders, topics)
            run.prepare()
            self.cluster.create(topics)
        try:
            return pacing.paced(run, self.path, self.truth(count), rate, quiet_s)
        finally:
            run.clean()
            if peer.work != "full":
                self.cluster.delete(run.inputs)


def row(peer, drains, even, half):
    """A peer's row of the results.

    Args:
        peer: from the catalogue.
        drains: its drains.
        even: its runs at 2,000 records a second.
        half: its runs at half of what it does at most.

    """
    good = [found for found in drains if found.exact]
    made = {
        "name": peer.name,
        "what": peer.what,
        "work": peer.work,
        "records": drains[0].records if drains else 0,
        "exact": bool(drains) and all(found.exact for found in (*drains, *even, *half)),
        "faults": sorted({found.why for found in (*drains, *even, *half) if found.why}),
        "events_per_s": [round(found.events_per_s) for found in good],
        "cpu_s_per_million": [round(found.cpu_per_million, 2) for found in good],
        "broker_cpu_s_per_million": [round(found.broker_cpu_per_million, 2) for found in good],
        "peak_rss_mib": [round(found.peak_rss_mib) for found in good],
        "foreign_cores": [round(found.foreign_cores, 2) for found in good],
    }
    for prefix, runs in (("", even), ("half_", half)):
        told = [found for found in runs if found.exact and found.latencies_ms]
        ranks = [pacing.percentiles(found.latencies_ms) for found in told]
        for at, name in enumerate(("p50_ms", "p99_ms", "p999_ms")):
            made[prefix + name] = [round(rank[at], 1) for rank in ranks]
        made[f"{prefix}paced_cpu_s"] = [
            round(found.worker_cpu_s / found.wall_s, 3) for found in told
        ]
        made[f"{prefix}paced_broker_cpu_s"] = [
            round(found.broker_cpu_s / found.wall_s, 3) for found in told
        ]
        if prefix:
            made["half_rate"] = [found.rate for found in told]
    return made


class Comparison:
    """All runs of all peers, written down after each round."""

    def __init__(self, bench, peers, given):
        self._bench = bench
        self._given = given
        self.peers = peers
        self.not_run = {}
        self._drains = {peer.name: [] for peer in peers}
        self._even = {peer.name: [] for peer in peers}
        self._half = {peer.name: [] for peer in peers}

    def rounds(self):
        """Drains, then paced runs; every round in the opposite order of the one before."""
        given = self._given
        self._round("drain", given.runs, self._drains, self.peers, self._drain)
        paced = [peer for peer in self.peers if peer.paced]
        self._round("paced", given.paced, self._even, paced, self._pace)
        self._round("half", given.half, self._half, paced, self._halve)

    def _round(self, what, count, found, peers, measure):
        for number in range(count):
            for peer in peers if number % 2 == 0 else reversed(peers):
                if peer.name in self.not_run:
                    continue
                try:
                    measured = measure(peer, last=number == count - 1)
                except catalogue.NotRunError as error:
                    self.not_run[peer.name] = str(error)
                    harness.say(f"{peer.name}: not run: {error}")
                    continue
                if measured is not None:
                    found[peer.name].append(measured)
                    harness.say(line(f"{what} {number + 1}", measured))
            self.write()

    def _drain(self, peer, *, last):
        audited = last and not self._given.no_verify
        return self._bench.drain(peer, self._given.quiet_s, audited=audited)

    def _pace(self, peer, **_):
        return self._bench.paced(peer, RATE, self._given.paced_s, self._given.quiet_s)

    def _halve(self, peer, **_):
        rates = [found.events_per_s for found in self._drains[peer.name] if found.exact]
        if not rates:
            return None
        rate = round(max(HALF_LEAST, min(HALF_MOST, statistics.median(rates) / 2)), -2)
        rate = int(min(rate, self._bench.count / HALF_S_LEAST))
        seconds = min(self._given.paced_s, self._bench.count / rate)
        return self._bench.paced(peer, rate, seconds, self._given.quiet_s)

    def document(self):
        """Everything as `latest.json` has it."""
        rows = [
            row(peer, self._drains[peer.name], self._even[peer.name], self._half[peer.name])
            for peer in self.peers
            if self._drains[peer.name] or self._even[peer.name]
        ]
        packages = ("confluent-kafka", "fastavro", "faust-streaming", "milepost")
        return {
            "machine": meters.machine(),
            "versions": meters.versions(*packages)
            | {
                "kafka": pins.load().kafka_version,
                "kafka-streams": java_peer.KAFKA_STREAMS,
                "quixstreams": catalogue.QUIX,
            },
            "kernel": native.FORM,
            "measured": time.strftime("%Y-%m-%d", time.gmtime()),
            "records": self._bench.count,
            "rate": RATE,
            "rows": rows,
            "not_run": self.not_run,
        }

    def write(self):
        report.keep(self._given.out, self.document())


def line(what, found):
    """One run in a line."""
    parts = [f"{what}, {found.peer}:"]
    if found.wall_s and found.rate is None:
        parts.append(
            f"{found.events_per_s:,.0f}/s, {found.cpu_per_million:.1f} s of CPU per million,"
            f" broker {found.broker_cpu_per_million:.1f}, {found.peak_rss_mib or 0:.0f} MiB,"
            f" {found.foreign_cores:.2f} cores of others,"
        )
    elif found.latencies_ms:
        middle, high, highest = pacing.percentiles(found.latencies_ms)
        parts.append(
            f"{found.rate:,}/s: p50 {middle:.0f}, p99 {high:.0f}, p99.9 {highest:.0f} ms,"
            f" worker {found.worker_cpu_s / found.wall_s:.2f}"
            f" and broker {found.broker_cpu_s / found.wall_s:.2f} cores,"
        )
    parts.append("exact" if found.exact else f"NOT EXACT: {found.why}")
    return " ".join(parts)


def options():
    """What can be said on the command line."""
    reader = argparse.ArgumentParser(description=__doc__)
    reader.add_argument("--records", type=int, default=1_000_000)
    reader.add_argument("--runs", type=int, default=5, help="drains of each peer")
    reader.add_argument("--paced", type=int, default=3, help="runs of each at 2,000 a second")
    reader.add_argument("--half", type=int, default=1, help="runs of each at half of its most")
    reader.add_argument("--paced-s", type=float, default=PACED_S, help="length of a paced run")
    reader.add_argument("--quiet-s", type=float, default=40.0, help="wait for a quiet machine")
    reader.add_argument("--peers", default="", help="only these, comma-separated")
    reader.add_argument("--out", type=Path, default=RESULTS / "latest.json")
    reader.add_argument("--quick", action="store_true", help="300,000 records, one run of each")
    reader.add_argument("--no-verify", action="store_true", help="no `milepost verify` at the end")
    reader.add_argument("--no-report", action="store_true", help="leave docs/performance.md alone")
    given = reader.parse_args()
    if given.quick:
        given.records, given.runs, given.paced, given.half = 300_000, 1, 1, 0
    return given


@contextlib.contextmanager
def bench(records, partitions=4):
    """A cluster of its own with the input on it."""
    kept = default_cache_dir() / "benchmarks"
    kept.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(prefix="milepost-bench-") as folder:
        folders = Folders(kept, Path(folder))
        with LocalStack(folders.work / "stack") as stack:
            cluster = Cluster(stack, partitions)
            cluster.set_up()
            yield Bench(cluster, folders, records)


def main():
    given = options()
    peers = catalogue.chosen([name for name in given.peers.split(",") if name])
    harness.say(f"Milepost's hot path runs {native.FORM}")
    with bench(given.records) as made:
        comparison = Comparison(made, peers, given)
        comparison.rounds()
    if not given.no_report:
        report.write(given.out)
    wrong = [found for found in comparison.document()["rows"] if not found["exact"]]
    sys.exit(1 if wrong else 0)


if __name__ == "__main__":
    main()
