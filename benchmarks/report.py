"""`docs/performance.md` and its pictures, drawn from the figures in `benchmarks/results/`.

`python -m benchmarks.report` writes them anew without measuring.
"""

import json
import statistics
from pathlib import Path

from benchmarks import drawing

ROOT = Path(__file__).parents[1]
RESULTS = ROOT / "benchmarks" / "results"
PAGE = ROOT / "docs" / "performance.md"
PICTURES = ROOT / "docs" / "pictures"
STREAMS = "kafka-streams-"
EVERY_100_MS = ("kafka-streams-memory", "kafka-streams-rocksdb")
UNKNOWN = "\N{EN DASH}"
TIMES = "\N{MULTIPLICATION SIGN}"


def keep(path, document):
    """Write figures to a file of results."""
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(json.dumps(document, indent=1) + "\n", "utf-8")


def spread(values, form="{:,.0f}", scale=1.0):
    """Least, median and greatest; nothing measured: a dash."""
    if not values:
        return UNKNOWN
    ordered = [value * scale for value in sorted(values)]
    middle = statistics.median(ordered)
    if len(ordered) == 1:
        return f"**{form.format(middle)}**"
    low, high = (form.format(value) for value in (ordered[0], ordered[-1]))
    return f"{low} / **{form.format(middle)}** / {high}"


def median(found, name):
    """The median of a row's figure; None: there is none."""
    values = found.get(name) if found else None
    return statistics.median(values) if values else None


class Figures:
    """The rows of a comparison by name."""

    def __init__(self, document):
        self.document = document
        self.rows = {found["name"]: found for found in document["rows"]}

    def median(self, name, figure):
        """A peer's median figure; None where it has none or was not exact."""
        found = self.rows.get(name)
        return median(found, figure) if found and found["exact"] else None

    def best(self, figure, pick, names=None):
        """The best figure of Kafka Streams, over its variants."""
        names = names or [name for name in self.rows if name.startswith(STREAMS)]
        known = [value for name in names if (value := self.median(name, figure)) is not None]
        return pick(known) if known else None


def ratio(upper, lower):
    return None if upper is None or not lower else upper / lower


def goals(figures):
    """Each goal of the comparison.

    Yields:
        What it is about, the ratio that was found (None: not measured), its bound, and whether the
        ratio is to be at least (True) or at most that.

    """
    rate = figures.best("events_per_s", max)
    cpu = figures.best("cpu_s_per_million", min)
    for name, what, faster, cheaper in (
        ("milepost-minimal", "minimal step on the lane", 3.0, 0.25),
        ("milepost-full", "full path", 2.0, 0.4),
    ):
        yield f"{what}: events/s", ratio(figures.median(name, "events_per_s"), rate), faster, True
        found = ratio(figures.median(name, "cpu_s_per_million"), cpu)
        yield f"{what}: CPU per event", found, cheaper, False
    found = ratio(figures.median("milepost-full-pure", "events_per_s"), rate)
    yield "full path in pure Python: events/s", found, 1.2, True
    high = figures.best("p99_ms", min, EVERY_100_MS)
    found = ratio(figures.median("milepost-full", "p99_ms"), high)
    yield "full path: p99 at 2,000/s, Kafka Streams committing every 100 ms", found, 0.4, False
    broker = figures.best("paced_broker_cpu_s", min, EVERY_100_MS)
    found = ratio(figures.median("milepost-full", "paced_broker_cpu_s"), broker)
    yield "full path: broker's CPU at 2,000/s, same peer", found, 1.0, False


def own_goals():
    """Each goal that Milepost is held to alone.

    Yields:
        What it is about, the figure that was found (None: not measured), the most that is wanted,
        and its unit.

    """
    for name, counts, text in (
        ("entities", {100_000, 1_000_000, 5_000_000}, "100 thousand to 5 million entities"),
        ("partitions", {4, 64}, "4 to 64 partitions"),
    ):
        rows = kept(name)["rows"]
        cost = by(rows, name, "us_per_event")
        found = 100 * flat(cost) if counts <= cost.keys() else None
        yield f"CPU per event flat from {text}", found, 20, "%"
    rows = kept("restart")["rows"]
    memory, took = by(rows, "entities", "rss_mib"), by(rows, "entities", "first_decision_s")
    yield "memory of a worker beside its entities", memory.get(0), 300, "MiB"
    yield "restart with a million entities to the first decision", took.get(1_000_000), 10, "s"
    told = kept("pauses")
    for what, most in (("killed", 2_000), ("drained", 1_000)):
        yield (
            f"longest pause of a partition, worker {what}",
            max(told[what], default=None),
            most,
            "ms",
        )


def kept(name):
    """Figures of another measurement; empty where there are none."""
    path = RESULTS / f"{name}.json"
    empty = {"rows": [], "killed": [], "drained": []}
    return json.loads(path.read_text("utf-8")) if path.exists() else empty


def own_goal_table():
    lines = ["| goal | wanted | found | |", "|---|--:|--:|---|"]
    for what, value, most, unit in own_goals():
        told = UNKNOWN if value is None else f"{value:,.0f} {unit}"
        lines.append(
            f"| {what} | ≤ {most:,} {unit} | {told} | {verdict(value, most, least=False)} |"
        )
    return lines


def verdict(found, bound, least):
    """How far a goal is."""
    if found is None:
        return "not measured"
    if (found >= bound) if least else (found <= bound):
        return "reached"
    missing = bound / found if least else found / bound
    return f"missed by a factor of {missing:.2f}"


def goal_table(found):
    lines = ["| goal (ratio to the better Kafka Streams variant) | wanted | found | |",
             "|---|--:|--:|---|"]  # fmt: skip
    for what, value, bound, least in found:
        wanted = f"{'≥' if least else '≤'} {bound:g} {TIMES}"
        told = UNKNOWN if value is None else f"{value:.2f} {TIMES}"
        lines.append(f"| {what} | {wanted} | {told} | {verdict(value, bound, least)} |")
    return lines


def main_table(figures):
    """The comparison: what, how fast, at which cost."""
    lines = [
        "| | events/s | CPU s per million | broker CPU s per million | peak RSS MiB | exact |",
        "|---|--:|--:|--:|--:|---|",
    ]
    limit = figures.median("limit", "events_per_s")
    for found in figures.document["rows"]:
        part = ratio(median(found, "events_per_s"), limit)
        share = "" if part is None or found["name"] == "limit" else f" ({part:.0%} of the limit)"
        count = len(found["events_per_s"])
        exact = f"{count} of {count}" if found["exact"] else f"**no**: {'; '.join(found['faults'])}"
        lines.append(
            f"| {found['what']} | {spread(found['events_per_s'])}{share}"
            f" | {spread(found['cpu_s_per_million'], '{:.1f}')}"
            f" | {spread(found['broker_cpu_s_per_million'], '{:.1f}')}"
            f" | {spread(found['peak_rss_mib'])} | {exact} |"
        )
    for name, why in figures.document["not_run"].items():
        lines.append(f"| {name} | not run: {why} | | | | |")
    return lines


def latency_table(figures):
    """Latencies at 2,000/s and at half of each one's most."""
    runs = max(len(found["p50_ms"]) for found in figures.document["rows"])
    head = f"p50 / p99 / p99.9 ms at 2,000/s, medians of {runs}"
    lines = [
        f"| | {head} | cores: worker / broker | at half of its most | p50 / p99 / p99.9 ms there |",
        "|---|--:|--:|--:|--:|",
    ]
    for found in figures.document["rows"]:
        if not found["p50_ms"]:
            continue
        even, half = (
            " / ".join(
                f"{middle:.0f}" if (middle := median(found, prefix + name)) is not None else UNKNOWN
                for name in ("p50_ms", "p99_ms", "p999_ms")
            )
            for prefix in ("", "half_")
        )
        rate = f"{median(found, 'half_rate'):,.0f}/s" if found["half_rate"] else UNKNOWN
        cores = f"{median(found, 'paced_cpu_s'):.2f} / {median(found, 'paced_broker_cpu_s'):.2f}"
        lines.append(f"| {found['what']} | {even} | {cores} | {rate} | {half} |")
    most = max(
        (max(found["half_rate"], default=0) for found in figures.document["rows"]), default=0
    )
    capped = [
        found["what"]
        for found in figures.document["rows"]
        if found["half_rate"] and median(found, "events_per_s") / 2 > 1.1 * most
    ]
    if capped:
        told = (
            f"Half of its most would be more than {most:,.0f}/s, for which the input is too short"
        )
        lines += ["", f"{told}, with: {'; '.join(capped)}."]
    return lines


def picture(figures):
    """Bars of events per second, of CPU and of latency."""

    def rows(figure):
        for found in figures.document["rows"]:
            name = found["name"]
            kind = "limit" if name == "limit" else "ours" if name.startswith("milepost") else "peer"
            if found[figure]:
                yield name, kind, found[figure]

    return drawing.panels(
        "Events per second, CPU and latency of each peer",
        ("Events per second, one worker (more is better)", list(rows("events_per_s"))),
        (
            "CPU seconds per million events, worker (less is better)",
            list(rows("cpu_s_per_million")),
        ),
        ("p99 in ms at 2,000 events per second (less is better)", list(rows("p99_ms"))),
    )


HEAD = """\
# Performance

Written by `{command}` on {measured}; `python -m benchmarks.report` draws it anew from
[`benchmarks/results/`](../benchmarks/results/latest.json). Measured on {cpu}, {cores} cores,
{memory} GiB, {system}, Python {python}. Milepost's hot path: {kernel}.
Versions: {versions}.

All peers run in turn on one machine, with one broker beside them, over the same {records} records
of the same four raw topics. Figures are least / **median** / greatest of the runs. Absolute ones
are this machine's; compare ratios.

**Peers do the minimal step only**: decode and validate, drop repeats, look up the owner, map to an
approved record with the milestone before, keep state. **Milepost's full path does all of its
work**: policy with deputies, dialects, occurrences, ledger with hash chain, status, state, headers.
So its ratios are on the safe side. The minimal step on Milepost's lane is the same work as the
peers'.

A result counts only if it was exact. The peers' outputs are read back and compared byte for byte
with a reference. Of the full path, every record's disposition, the tiling of the ledger, what each
approved record says and each entity's gapless sequence are held against the same reference, and
its last drain passes `milepost verify`. How it is done:
[`benchmarks/README.md`](../benchmarks/README.md).
"""


def page(document, extra=()):
    """The whole page."""
    figures, machine = Figures(document), document["machine"]
    versions = ", ".join(f"{name} {told}" for name, told in document["versions"].items())
    lines = [
        HEAD.format(
            command=command(document),
            measured=document["measured"],
            cpu=machine["cpu"],
            cores=machine["cores"],
            memory=machine["memory_gib"],
            system=machine["system"],
            python=machine["python"],
            versions=versions,
            kernel=document["kernel"],
            records=f"{document['records']:,}",
        ),
        "![Events per second, CPU and latency](pictures/performance.svg)",
        "",
        "## Throughput and cost",
        "",
        *main_table(figures),
        "",
        *shares(document),
        *others(document),
        "## Latency",
        "",
        "From a raw record's append until a reader of committed records has what was approved.",
        "",
        *latency_table(figures),
        "",
        "## Goals",
        "",
        *goal_table(goals(figures)),
        "",
        *own_goal_table(),
        "",
        *elsewhere(machine),
    ]
    for part in extra:
        lines += part
    return "\n".join(lines).rstrip() + "\n"


def command(document):
    """How the figures of a document are measured again."""
    rows = document["rows"]
    runs, paced, half = (
        max(len(found[figure]) for found in rows)
        for figure in ("events_per_s", "p50_ms", "half_rate")
    )
    return (
        f"python -m benchmarks.compare --records {document['records']} --runs {runs}"
        f" --paced {paced} --half {half}"
    )


def elsewhere(machine):
    """Which of the other figures are of another machine."""
    names = ("entities", "partitions", "restart", "pauses", "workers", "load-step")
    found = {name: kept(name).get("machine", machine) for name in names}
    others = {name: told["system"] for name, told in found.items() if told != machine}
    if not others:
        return []
    told = ", ".join(f"{name} {system}" for name, system in others.items())
    return [
        f"Not measured in this run, and on another machine: {told}. Compare within a table.",
        "",
    ]


def shares(document):
    """Which peers had fewer records, as all of them would take too long."""
    fewer = [row for row in document["rows"] if row["records"] < document["records"]]
    if not fewer:
        return []
    told = ", ".join(f"{row['what']} {row['records']:,}" for row in fewer)
    return [f"The slow ones got the first part of the input only: {told} records.", ""]


def by(rows, key, figure):
    """Medians of a figure, by what was varied."""
    found = {}
    for row in rows:
        found.setdefault(row[key], []).append(row[figure])
    return {value: statistics.median(values) for value, values in sorted(found.items())}


def flat(found):
    """How much the greatest is above the least of these figures."""
    return max(found.values()) / min(found.values()) - 1


def entities(told):
    """Cost and memory by entities in state."""
    cost = by(told["rows"], "entities", "us_per_event")
    memory = by(told["rows"], "entities", "bytes_per_entity")
    size = told["rows"][0]["state_bytes"]
    yield "## Many entities"
    yield ""
    yield f"The topology alone; each entity has one milestone, {size} bytes in the changelog."
    yield ""
    yield "| entities in state | CPU per event, \N{MICRO SIGN}s | memory per entity, bytes |"
    yield "|--:|--:|--:|"
    for count, value in cost.items():
        yield f"| {count:,} | {value:.1f} | {memory[count]:,.0f} |"
    yield ""
    whole = told["whole"]
    yield (
        f"A shipment whose story is whole, with ten milestones, takes"
        f" {whole['bytes_per_shipment']:,} bytes of memory, {whole['state_bytes']:,} of them its"
        " state in the changelog."
    )
    yield ""
    yield f"From least to greatest {flat(cost):.0%} (wanted: within 20 %)."


def partitions(told):
    """Cost by partitions."""
    rows = told["rows"]
    cost, rate = by(rows, "partitions", "us_per_event"), by(rows, "partitions", "events_per_s")
    yield "## Many partitions"
    yield ""
    yield "| partitions | CPU per event, \N{MICRO SIGN}s | events/s |"
    yield "|--:|--:|--:|"
    for count, value in cost.items():
        yield f"| {count} | {value:.1f} | {rate[count]:,.0f} |"
    yield ""
    yield f"From least to greatest {flat(cost):.0%} (wanted: within 20 %)."


def restart(told):
    """Restarts by entities in state."""
    rows = told["rows"]
    took, memory = by(rows, "entities", "first_decision_s"), by(rows, "entities", "rss_mib")
    yield "## Restart"
    yield ""
    yield "From starting the process to the first decision that can be read; memory of the worker."
    yield ""
    yield "| entities in state | first decision, s | RSS MiB |"
    yield "|--:|--:|--:|"
    for count, value in took.items():
        yield f"| {count:,} | {value:.1f} | {memory[count]:,.0f} |"
    counts = [count for count in memory if count]
    if counts and 0 in memory:
        each = (memory[counts[-1]] - memory[0]) / counts[-1] * 2**20
        yield ""
        yield (
            f"{memory[0]:,.0f} MiB and {each:,.0f} bytes per entity"
            f" ({rows[0]['state_bytes']} of them its state); wanted: the first decision within"
            " 10 s, and 300 MiB beside the entities' own bytes."
        )


def pauses(told):
    """Pauses of a partition."""
    yield "## Pauses"
    yield ""
    yield "Two workers; how much longer a partition is silent than its traffic makes it."
    yield ""
    yield "| what happens | pause in ms | wanted |"
    yield "|---|--:|--:|"
    wanted = {"killed": "< 2,000", "drained": "< 1,000", "joined": UNKNOWN}
    texts = {
        "killed": "a worker is killed, its supervisor starts another",
        "drained": "a worker is drained, the other takes over",
        "joined": "a worker joins",
    }
    for what, text in texts.items():
        yield f"| {text} | {spread(told[what])} | {wanted[what]} |"


def workers(told):
    """One worker and several."""
    rows = told["rows"]
    rate, cost = by(rows, "workers", "events_per_s"), by(rows, "workers", "us_per_event")
    broker = by(rows, "workers", "broker_us_per_event")
    cores = told["machine"]["cores"]
    yield "## Two workers"
    yield ""
    yield f"On {cores} cores, which the broker shares."
    yield ""
    yield "| workers | events/s | CPU per event, \N{MICRO SIGN}s | broker's, \N{MICRO SIGN}s |"
    yield "|--:|--:|--:|--:|"
    for count, value in rate.items():
        yield f"| {count} | {value:,.0f} | {cost[count]:.1f} | {broker[count]:.1f} |"
    yield ""
    most = 1e6 / min(cost.values())
    yield (
        f"*Projected, not measured:* a worker with a core of its own does {most:,.0f} events/s at"
        f" most, and a broker needs {min(broker.values()):.1f} \N{MICRO SIGN}s of CPU for each;"
        " partitions share nothing, so workers add up until there is one for every partition."
    )


def load_step(told):
    """The load step's pictures."""
    yield "## A load step"
    yield ""
    yield (
        f"{told['trickle']} records a second, then {told['flood']:,} at once, then the trickle"
        " again; transactions grow and shrink with the load."
    )
    yield ""
    for name, text in (("latency", "Latency"), ("rate", "Records appended and read")):
        yield f"![{text}](pictures/load-step-{name}.svg)"


PARTS = {
    "entities": entities,
    "partitions": partitions,
    "restart": restart,
    "pauses": pauses,
    "workers": workers,
    "load-step": load_step,
}
"""Further sections, by the file that holds their figures."""


def further():
    """Sections of what was measured besides, and their pictures."""
    for name, part in PARTS.items():
        path = RESULTS / f"{name}.json"
        if not path.exists():
            continue
        told = json.loads(path.read_text("utf-8"))
        if name == "load-step":
            for picture_name, drawn in load_pictures(told).items():
                (PICTURES / picture_name).write_text(drawn, "utf-8")
        yield [*part(told), ""]


def load_pictures(found):
    """The two pictures of a load step."""
    latency = drawing.lines(
        "Latency through a load step, by when a record was appended",
        "ms",
        [("p50", "a", found["p50_ms"]), ("p99", "b", found["p99_ms"])],
    )
    rate = drawing.lines(
        "Records appended and approved records read",
        "per s",
        [("read", "a", found["read_per_s"]), ("appended", "b", found["appended_per_s"])],
    )
    return {"load-step-latency.svg": latency, "load-step-rate.svg": rate}


def others(document):
    """What else this machine did meanwhile."""
    cores = [value for row in document["rows"] for value in row["foreign_cores"]]
    if not cores:
        return []
    usual, most = statistics.median(cores), max(cores)
    return [f"Other programs used {usual:.2f} cores during a drain, {most:.2f} at most.", ""]


def write(results=RESULTS / "latest.json"):
    """Write page and pictures."""
    document = json.loads(results.read_text("utf-8"))
    PICTURES.mkdir(exist_ok=True)
    (PICTURES / "performance.svg").write_text(picture(Figures(document)), "utf-8")
    PAGE.write_text(page(document, further()), "utf-8")


if __name__ == "__main__":
    write()
