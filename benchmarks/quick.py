"""What moved since the ratios that are committed: CPU per event against the loop by hand.

`python -m benchmarks.quick`, less than three minutes. Every round measures the hand-written loop
and what is ours in turn, so that a slower or busier machine moves both; ratios are of the medians.
`--commit` writes the ratios that were found as the ones to compare with.
"""

import argparse
import json
import statistics
import sys
from pathlib import Path

from benchmarks import compare, report
from benchmarks.peers import catalogue

PEER = "by-hand"
OURS = ("milepost-full", "milepost-full-pure", "milepost-minimal", "milepost-minimal-pure")
COMMITTED = report.RESULTS / "ratios.json"
NOTICED = 0.15
"""Less than this may be chance."""
FIGURES = {
    "cpu_per_million": "CPU per event",
    "peak_rss_mib": "peak memory",
}


def measured(records, rounds, quiet_s):
    """Runs of each program."""
    found = {name: [] for name in (PEER, *OURS)}
    with compare.bench(records) as bench:
        for number in range(rounds):
            for peer in catalogue.chosen(found)[:: -1 if number % 2 else 1]:
                try:
                    run = bench.drain(peer, quiet_s)
                except catalogue.NotRunError as error:
                    print(f"{peer.name}: not run: {error}")
                    continue
                print(compare.line(f"round {number + 1}", run), flush=True)
                if not run.exact:
                    raise SystemExit(1)
                found[peer.name].append(run)
    return found


def ratios(found):
    """Ours against the loop by hand, by program and figure."""

    def middle(name, figure):
        return statistics.median(getattr(run, figure) for run in found[name])

    return {
        name: {figure: round(middle(name, figure) / middle(PEER, figure), 3) for figure in FIGURES}
        for name in OURS
        if found.get(name)
    }


def moved(before, now):
    """What changed beyond chance, and what it is now, in sentences."""
    for name, figures in now.items():
        for figure, value in figures.items():
            was = before.get(name, {}).get(figure)
            what = f"{name}: {FIGURES[figure]} is {value:.2f} of the loop by hand's"
            if was is None:
                yield f"{what}; nothing is committed to compare with"
            elif abs(value / was - 1) < NOTICED:
                yield f"{what}, as before ({was:.2f})"
            else:
                better = "better" if value < was else "WORSE"
                yield f"{what}, {better} by {abs(value / was - 1):.0%} (was {was:.2f})"


def main():
    reader = argparse.ArgumentParser(description=__doc__)
    reader.add_argument("--records", type=int, default=40_000)
    reader.add_argument("--rounds", type=int, default=2)
    reader.add_argument("--quiet-s", type=float, default=0.0)
    reader.add_argument("--commit", action="store_true")
    reader.add_argument("--against", type=Path, default=COMMITTED)
    given = reader.parse_args()
    if not (given.commit or given.against.exists()):
        print(f"{given.against} is missing: --commit writes it", file=sys.stderr)
        sys.exit(2)
    now = ratios(measured(given.records, given.rounds, given.quiet_s))
    before = json.loads(given.against.read_text("utf-8")) if given.against.exists() else {}
    told = list(moved(before, now))
    print("\n".join(told))
    if given.commit:
        report.keep(given.against, now)
    sys.exit(1 if any("WORSE" in line for line in told) else 0)


if __name__ == "__main__":
    main()
