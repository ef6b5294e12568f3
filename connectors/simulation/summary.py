"""The outcome of a run as a person reads it in a terminal. Must never change a figure."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Final

from rich.console import Console, Group, RenderableType
from rich.padding import Padding
from rich.table import Table
from rich.text import Text

from connectors.simulation.explain import Contested
from connectors.simulation.live import COLOURS
from connectors.simulation.outcome import Outcome

COMPARED: Final = (
    ("contradictions", "Contradictions", "milestones shown over 30 min off what happened"),
    ("premature_shipped", 'Premature "Shipped"', "before the carrier had the goods"),
    ("premature_delivered", 'Premature "Delivered"', "before the last goods were delivered"),
    ("backwards", "Status going backwards", "a status fell and nobody said why"),
    ("double_postings", "Double ERP postings", "one business effect booked again"),
)
"""What is compared: name in `Measures`, what it is called, what that means."""


def remainder(result: Outcome) -> str:
    """Why the governed side is not all zeros; empty if it is."""
    if not result.after.contradictions:
        return ""
    erred = result.owners_errors
    owners = (
        "owner erred and never corrected itself"
        if erred == 1
        else ("owners erred and never corrected themselves")
    )
    return f"{erred} {owners}: governance decides who may say it, not whether it is true."


def print_outcome(
    console: Console,
    result: Outcome,
    report: Path,
    addresses: Mapping[str, str],
    state_dir: Path,
) -> None:
    """Tell a run.

    Args:
        console: where to.
        result: what to tell.
        report: where the HTML report was written.
        addresses: what is still up, by name; empty if nothing is.
        state_dir: of the demo's stack, for commands that look into it.

    """
    console.print()
    console.print(_compared(result))
    if remainder(result):
        console.print(Text(remainder(result), "bright_black"))
    console.print()
    console.print(_dispositions(result))
    console.print(Padding(_told(result), (0, 0, 1, 0)))
    console.print(Text("Contested shipments, one of each kind", style="bold"))
    for item in result.contested:
        console.print(Text.assemble((item.shipment, "bold cyan"), f" ({item.about})"))
        console.print(Padding(_contest(item), (0, 0, 0, 2)))
    console.print()
    for promise in result.promises:
        mark = ("✓ ", "green") if promise.kept else ("✗ ", "bold red")
        console.print(Text.assemble(mark, promise.name, (f": {promise.detail}", "bright_black")))
    console.print()
    _next(console, result, report, addresses, state_dir)


def _compared(result: Outcome) -> Table:
    table = Table(
        title=f"{result.events:,} events of {result.shipments:,} shipments, before and after",
        title_justify="left",
        title_style="bold",
    )
    table.add_column("what customers and accountants were told")
    table.add_column("old portal, first event wins", justify="right", max_width=17)
    table.add_column("governed", justify="right")
    for name, called, meaning in COMPARED:
        words = Text.assemble(called, (f": {meaning}", "bright_black"))
        before, after = getattr(result.before, name), getattr(result.after, name)
        colour = "green" if after < before or not after else "red"
        table.add_row(words, Text(f"{before:,}", "red"), Text(f"{after:,}", colour))
    return table


def _dispositions(result: Outcome) -> Table:
    table = Table(
        title="Every event has one disposition and a reason",
        title_justify="left",
        title_style="bold",
    )
    table.add_column("disposition")
    table.add_column("reason")
    table.add_column("events", justify="right")
    for name, reason, count in result.dispositions:
        table.add_row(Text(name, COLOURS.get(name, "white")), reason, f"{count:,}")
    return table


def _told(result: Outcome) -> Table:
    latency = result.latency_ms
    rows = (
        ("raw → approved", f"p50 {latency['p50']} ms, p99 {latency['p99']} ms"),
        ("deputies stood in", f"{result.provisional} milestones, marked provisional"),
        ("put right by their owner", f"{result.after.put_right} milestones"),
        ("taken back by their owner", f"{result.taken_back} milestones"),
        (
            "followed in the ERP",
            f"{result.adjustments} adjustments, {result.reversals} reversals of earlier postings",
        ),
        ("known by a number only", f"{result.bound} events, sent on to the shipment it names"),
        ("real X12 214 files", f"{result.samples} approved milestones"),
        ("final outcomes", f"{result.fingerprint} (seed {result.seed} gives the same again)"),
    )
    table = Table.grid(padding=(0, 2))
    for name, words in rows:
        table.add_row(Text(name, "bright_black"), words)
    return table


def _contest(item: Contested) -> RenderableType:
    table = Table.grid(padding=(0, 2))
    table.add_row(Text("old portal", "bright_black"), Text(item.before))
    table.add_row(Text("governed", "bright_black"), Text(item.after, "green"))
    return Group(Text(item.sentence), table)


def _next(
    console: Console,
    result: Outcome,
    report: Path,
    addresses: Mapping[str, str],
    state_dir: Path,
) -> None:
    console.print(Text("Next", style="bold"))
    console.print(f"  open          {report.absolute().as_uri()}", soft_wrap=True, highlight=False)
    for name, url in addresses.items():
        console.print(f"  {name:<13} {url}", soft_wrap=True, highlight=False)
    asked = result.contested[0].shipment if result.contested else "SHIPMENT"
    tries = (
        [
            f"export MILEPOST_STATE_DIR={state_dir}",
            f"milepost audit show {asked}",
            "milepost dead-letters list",
        ]
        if addresses
        else ["make up", f"make demo ARGS='--keep --seed {result.seed}'"]
    )
    for command in tries:
        console.print(f"  try           {command}", soft_wrap=True, highlight=False)
