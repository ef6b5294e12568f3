"""The outcome of a run as one HTML file: no scripts, nothing loaded from elsewhere.

Light and dark, for a wide screen and for a phone. Must never change a figure.
"""

from __future__ import annotations

import re
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, Final

from jinja2 import Environment, FileSystemLoader, StrictUndefined

import pipeline.web
from connectors.simulation.explain import Contested
from connectors.simulation.outcome import Outcome
from connectors.simulation.summary import COMPARED, remainder
from connectors.simulation.world import HOUR_MS, MINUTE_MS
from pipeline.governance.reasons import MEANINGS, Reason

_FOLDER: Final = Path(__file__).parent
_MARGIN: Final = 0.06
"""Share of a time line's width that is left free at both ends."""
_AGREES: Final = "agrees"
_GOOD: Final = frozenset({"approved", "corroborated"})
_BAD: Final = frozenset({"dead_lettered"})
_LATER: Final = frozenset({"held", "provisional", "rerouted"})


def write_report(path: Path, result: Outcome) -> None:
    """Write the report, making its folder.

    Raises:
        OSError: it can't be written there.

    """
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(render(result), "utf-8")


def render(result: Outcome) -> str:
    """The report's HTML."""
    environment = Environment(
        loader=FileSystemLoader(_FOLDER / "templates"),
        autoescape=True,
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    environment.filters["number"] = lambda value: f"{value:,}".replace(",", "\N{THIN SPACE}")
    return environment.get_template("report.html").render(
        result=result,
        style=_style(),
        made=datetime.now(UTC).strftime("%d %B %Y, %H:%M UTC"),
        compared=[_compared(result, *row) for row in COMPARED],
        remainder=remainder(result),
        dispositions=_dispositions(result),
        histogram=_histogram(result),
        contested=[_line(item) for item in result.contested],
        total_s=round(sum(result.seconds.values())),
        as_expected=sum(row.as_expected for row in result.faults),
        touched=sum(row.statements for row in result.faults),
    )


def _style() -> str:
    """The style sheet that all pages of Milepost share, then the report's own."""
    shared = Path(pipeline.web.__file__).parent / "static" / "foundation.css"
    own = _FOLDER / "templates" / "report.css"
    text = shared.read_text("utf-8") + own.read_text("utf-8")
    return re.sub(r"/\*.*?\*/", "", text, flags=re.DOTALL)


def _compared(result: Outcome, name: str, called: str, meaning: str) -> dict[str, Any]:
    before, after = getattr(result.before, name), getattr(result.after, name)
    return {
        "called": called,
        "meaning": meaning,
        "before": before,
        "after": after,
        "share": _percent(after, max(before, after)),
    }


def _dispositions(result: Outcome) -> list[dict[str, Any]]:
    """Dispositions with their reasons, each as wide as its share of the most frequent."""
    grouped: dict[str, list[tuple[str, int]]] = {}
    for name, reason, count in result.dispositions:
        grouped.setdefault(name, []).append((reason, count))
    totals = {name: sum(count for _, count in rows) for name, rows in grouped.items()}
    most = max(totals.values(), default=1)
    return [
        {
            "name": name.replace("_", " "),
            "kind": _kind(name),
            "count": totals[name],
            "share": max(0.4, _percent(totals[name], most)),
            "reasons": [
                {"reason": reason, "meaning": MEANINGS[Reason(reason)].text, "count": count}
                for reason, count in grouped[name]
            ],
        }
        for name in sorted(grouped, key=lambda name: -totals[name])
    ]


def _kind(name: str) -> str:
    if name in _GOOD:
        return "good"
    if name in _BAD:
        return "bad"
    return "later" if name in _LATER else "quiet"


def _histogram(result: Outcome) -> list[dict[str, Any]]:
    most = max((count for _, count in result.latency_histogram), default=1)
    rows = []
    for position, (bound, count) in enumerate(result.latency_histogram):
        last = position == len(result.latency_histogram) - 1
        label = "more" if last else f"≤ {bound} ms" if bound < 1000 else f"≤ {bound // 1000} s"
        rows.append({"label": label, "count": count, "share": _percent(count, most)})
    return rows


def _line(item: Contested) -> dict[str, Any]:
    """A contested shipment with a time line: who said when, and when it truly was."""
    moments = [item.truth_ms, *(said.occurred_ms for said in item.said)]
    first, last = min(moments), max(moments)
    span = max(last - first, 30 * MINUTE_MS)

    def place(moment_ms: int) -> float:
        return round(100 * (_MARGIN + (1 - 2 * _MARGIN) * (moment_ms - first) / span), 2)

    return {
        "shipment": item.shipment,
        "about": item.about,
        "sentence": item.sentence,
        "before": item.before,
        "after": item.after,
        "label": item.label,
        "truth": {"at": place(item.truth_ms), "time": _time(item.truth_ms)},
        "said": [
            {
                "platform": said.platform,
                "status": said.native_status,
                "meaning": said.meaning,
                "kind": "won" if said.stands else "agreed" if said.agrees else "lost",
                "words": said.stood or ("stands" if said.stands else _AGREES * said.agrees),
                "at": place(said.occurred_ms),
                "time": _time(said.occurred_ms),
            }
            for said in item.said
        ],
        "span": f"{span / HOUR_MS:.1f} hours",
    }


def _time(moment_ms: int) -> str:
    return datetime.fromtimestamp(moment_ms / 1000, UTC).strftime("%a %H:%M")


def _percent(part: float, whole: float) -> float:
    return round(100 * part / whole, 2) if whole else 0.0
