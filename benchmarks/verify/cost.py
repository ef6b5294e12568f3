"""What `milepost verify` costs over a long ledger and over one a tenth as long.

`python -m benchmarks.verify.cost --events 300000 [--deep]`: records per second, CPU, and the peak
memory of a process that does nothing else. Topics are files: no broker's or consumer's memory is
counted. Nothing is asserted.
"""

import argparse
import json
import resource
import subprocess
import sys
import tempfile
import time
from pathlib import Path

from benchmarks.verify import filed_topics
from pipeline.contract import topics
from pipeline.operations.verify import Audit, verify
from pipeline.testing.replaying.replay import KernelReplay

MIB = 1_024


def audit(folder, *, deep):
    """One audit in this process."""
    evidence, declared = filed_topics.FiledTopics(folder), topics.load()
    policies = {policy.version: policy for policy in filed_topics.policies()}
    replay = KernelReplay(lambda name: policies.get(name.version)) if deep else None
    before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    begin, cpu = time.monotonic(), time.process_time()
    report = verify(evidence, declared, Audit(folder / "spill", replay=replay))
    seconds, cpu = time.monotonic() - begin, time.process_time() - cpu
    return {
        "records": report.records,
        "clean": report.clean,
        "records_per_s": round(report.records / seconds),
        "cpu_s_per_million": round(cpu * 1_000_000 / report.records, 1),
        "rss_before_mib": before // MIB,
        "rss_peak_mib": resource.getrusage(resource.RUSAGE_SELF).ru_maxrss // MIB,
    }


def measured(folder, *, deep):
    """The same in a process of its own."""
    command = [sys.executable, "-m", "benchmarks.verify.cost", "--folder", str(folder)]
    command += ["--deep"] if deep else []
    return json.loads(subprocess.run(command, check=True, capture_output=True).stdout)


def main():
    parser = argparse.ArgumentParser()
    parser.add_argument("--events", type=int, default=300_000)
    parser.add_argument("--deep", action="store_true")
    parser.add_argument("--folder", type=Path)
    given = parser.parse_args()
    if given.folder is not None:
        print(json.dumps(audit(given.folder, deep=given.deep)))
        return
    with tempfile.TemporaryDirectory() as name:
        for events in (given.events // 10, given.events):
            folder = Path(name) / str(events)
            subprocess.run([sys.executable, "-c", WRITE, str(folder), str(events)], check=True)
            print(events, json.dumps(measured(folder, deep=given.deep)))


WRITE = """import sys, pathlib; from benchmarks.verify import filed_topics
filed_topics.write(pathlib.Path(sys.argv[1]), int(sys.argv[2]))"""


if __name__ == "__main__":
    main()
