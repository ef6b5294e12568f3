"""What a person sees while the demo runs, drawn from one snapshot. Must never read Kafka."""

from __future__ import annotations

from collections import Counter
from typing import Final, NamedTuple

from rich.console import Group, RenderableType
from rich.progress_bar import ProgressBar
from rich.table import Table
from rich.text import Text

COLOURS: Final = {
    "approved": "green",
    "corroborated": "cyan",
    "provisional": "yellow",
    "held": "yellow",
    "overruled": "magenta",
    "duplicate": "blue",
    "stale": "blue",
    "rerouted": "blue",
    "ignored": "bright_black",
    "dead_lettered": "red",
}
_WIDTH: Final = 36


class Snapshot(NamedTuple):
    """How far a run is."""

    stage: str
    elapsed_s: float
    sent: int
    total: int
    judged: int
    approved: int
    waiting: int
    dispositions: Counter[str]
    p50_ms: int | None
    p99_ms: int | None
    behind_portal: int
    behind_erp: int
    """Approved records not looked at yet, and postings on their way."""
    booked: int

    def left(self) -> str:
        """What is left to do."""
        if not self.waiting + self.behind_portal + self.behind_erp:
            return "no claim waits, portal and ERP are up to date"
        return (
            f"{self.waiting} claims wait, the portal is {self.behind_portal} records behind,"
            f" the ERP {self.behind_erp}"
        )

    def line(self) -> str:
        """The same in one line, for a log."""
        return (
            f"{self.elapsed_s:5.1f} s  {self.stage}: {self.sent:,} of {self.total:,} events sent,"
            f" {self.judged:,} judged, {self.approved:,} approved, {self.waiting} waiting,"
            f" {self.booked:,} booked"
        )


def draw(snapshot: Snapshot) -> RenderableType:
    """The view: progress, then dispositions, then what consumers have."""
    head = Text.assemble(
        (f"{snapshot.stage} ", "bold"), (f"{snapshot.elapsed_s:.0f} s", "bright_black")
    )
    progress = Table.grid(padding=(0, 2))
    of = f" of {snapshot.total:,}"
    for name, done, words in (
        ("events sent", snapshot.sent, f"{snapshot.sent:,}{of}"),
        ("events judged", snapshot.judged, f"{snapshot.judged:,}"),
    ):
        bar = ProgressBar(total=max(1, snapshot.total), completed=done, width=_WIDTH)
        progress.add_row(name, bar, words)
    counts = Table.grid(padding=(0, 2))
    most = max(snapshot.dispositions.values(), default=1)
    for name, count in snapshot.dispositions.most_common():
        colour = COLOURS.get(name, "white")
        length = max(1, round(count / most * _WIDTH))
        counts.add_row(Text(name, colour), Text("━" * length, colour), f"{count:,}")
    told = Table.grid(padding=(0, 2))
    told.add_row("approved revisions", f"{snapshot.approved:,}")
    told.add_row("claims waiting", f"{snapshot.waiting:,}")
    told.add_row("raw → approved", _latency(snapshot))
    told.add_row("portal", _behind(snapshot.behind_portal))
    told.add_row("ERP", f"{snapshot.booked:,} postings, {_behind(snapshot.behind_erp)}")
    return Group(head, progress, Text(), counts, Text(), told)


def _latency(snapshot: Snapshot) -> str:
    if snapshot.p50_ms is None:
        return "none yet"
    return f"{snapshot.p50_ms:,} ms in the middle, {snapshot.p99_ms:,} ms for 99 %"


def _behind(count: int) -> str:
    return "up to date" if not count else f"{count:,} to go"
