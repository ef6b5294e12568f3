"""CPU per record of `govern`: this version against an earlier one, and hard cases against plain.

`python -m benchmarks.kernel.cost --runs 7`. Runs alternate, each in a fresh process; ratios are of
the fastest runs, as others only add what else the machine does. Nothing is asserted.
"""

import argparse
import json
import os
import statistics
import subprocess
import sys
import tempfile
from pathlib import Path

ROOT = Path(__file__).parents[2]
SPINE = "f5aae3e"
"""The first version that decided: plain cases only."""


def measured(tree, kind, shipments):
    """What one run of a tree says of itself."""
    program = [sys.executable, str(ROOT / "benchmarks/kernel/one_run.py"), str(tree), kind]
    told = subprocess.run([*program, str(shipments)], check=True, capture_output=True, text=True)
    return json.loads(told.stdout)


def main():
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--runs", type=int, default=7)
    parser.add_argument("--shipments", type=int, default=1_000)
    parser.add_argument("--against", default=SPINE, help="the earlier version")
    given = parser.parse_args()
    print(f"load before: {os.getloadavg()[0]:.1f} on {os.cpu_count()} CPUs")
    with tempfile.TemporaryDirectory() as folder:
        earlier = Path(folder) / "earlier"
        git = ["git", "-C", str(ROOT), "worktree"]
        subprocess.run([*git, "add", "--detach", str(earlier), given.against], check=True)
        try:
            found = compared(earlier, given.runs, given.shipments)
        finally:
            subprocess.run([*git, "remove", "--force", str(earlier)], check=True)
    report(found)


def compared(earlier, runs, shipments):
    """Each case's runs, in turn."""
    cases = {
        "earlier, plain": (earlier, "plain"),
        "now, plain": (ROOT, "plain"),
        "now, a fifth hard": (ROOT, "hard"),
    }
    found = {name: [] for name in cases}
    for _ in range(runs):
        for name, (tree, kind) in cases.items():
            found[name].append(measured(tree, kind, shipments))
    return found


def report(found):
    least = {}
    for name, runs in found.items():
        took = [run["microseconds"] for run in runs]
        least[name] = min(took)
        last = runs[-1]
        print(
            f"{name:18} {min(took):7.1f} us least, {statistics.median(took):7.1f} us median"
            f" per record; {last['records']} records, {last['approved']} approved,"
            f" {last['shipment_bytes']} bytes of state per shipment"
        )
    print(f"now / earlier, plain: {least['now, plain'] / least['earlier, plain']:.2f}")
    print(f"hard / plain, now: {least['now, a fifth hard'] / least['now, plain']:.2f}")


if __name__ == "__main__":
    main()
