"""The order of judgement as a picture: drawn from the kernel's own table, light and dark.

Must never hold a step of its own.
"""

from __future__ import annotations

import textwrap
from collections.abc import Iterator
from typing import Final
from xml.sax.saxutils import escape

from pipeline.governance.flow import STEPS, Step
from pipeline.governance.vocabulary import Disposition

_WIDTH: Final = 1040
_BOX_X, _BOX_WIDTH = 20, 330
_EXIT_X, _LABEL_WIDTH = 420, 110
_LINE, _GAP, _PADDING = 20, 26, 14
_QUESTION_CHARACTERS, _REASON_CHARACTERS = 40, 68
_LABELS: Final = {
    Disposition.APPROVED: ("approved", "good"),
    Disposition.PROVISIONAL: ("provisional", "good"),
    Disposition.CORROBORATED: ("corroborated", "plain"),
    Disposition.OVERRULED: ("overruled", "plain"),
    Disposition.HELD: ("held", "waits"),
    Disposition.DUPLICATE: ("duplicate", "plain"),
    Disposition.STALE: ("stale", "plain"),
    Disposition.IGNORED: ("ignored", "plain"),
    Disposition.REROUTED: ("sent on", "plain"),
    Disposition.DEAD_LETTERED: ("dead letter", "bad"),
}
_STYLE: Final = """
  text { font: 14px system-ui, sans-serif; fill: #1b2430; }
  .stage { font-weight: 600; }
  .reason { font: 13px ui-monospace, monospace; }
  .box { fill: #eef3f9; stroke: #7d93ab; }
  .flow { stroke: #7d93ab; fill: none; stroke-width: 1.5; }
  .head { fill: #7d93ab; }
  .good { fill: #d6f0dd; } .waits { fill: #fdeec6; }
  .bad { fill: #f9d8d6; } .plain { fill: #e4e7eb; }
  @media (prefers-color-scheme: dark) {
    text { fill: #e6edf3; } .box { fill: #1d2733; stroke: #5d738b; }
    .good { fill: #1f4a2c; } .waits { fill: #5a4712; }
    .bad { fill: #5c2522; } .plain { fill: #333b45; }
  }
"""


def drawing() -> str:
    """The picture as an SVG document."""
    parts: list[str] = []
    top = 20
    for number, step in enumerate(STEPS):
        height = _height(step)
        if number:
            parts.append(_arrow(top - _GAP, top))
        parts += _step(step, top, height)
        top += height + _GAP
    size = f'width="{_WIDTH}" height="{top}" viewBox="0 0 {_WIDTH} {top}"'
    title = "The order in which a claim is judged, and how it can leave"
    return "\n".join(
        [
            f'<svg xmlns="http://www.w3.org/2000/svg" {size} role="img">',
            f"<title>{title}</title>",
            f"<style>{_STYLE}</style>",
            *parts,
            "</svg>\n",
        ]
    )


def _questions(step: Step) -> list[str]:
    return textwrap.wrap(step.asks, _QUESTION_CHARACTERS)


def _exits(step: Step) -> list[tuple[Disposition, list[str]]]:
    return [
        (fate, textwrap.wrap("  ".join(reason.value for reason in reasons), _REASON_CHARACTERS))
        for fate, reasons in step.leaves.items()
    ]


def _height(step: Step) -> int:
    right = sum(len(lines) for _, lines in _exits(step)) * (_LINE + 4)
    left = (1 + len(_questions(step))) * _LINE
    return max(left, right) + 2 * _PADDING


def _step(step: Step, top: int, height: int) -> Iterator[str]:
    yield (
        f'<rect class="box" x="{_BOX_X}" y="{top}" width="{_BOX_WIDTH}" height="{height}" rx="8"/>'
    )
    at = top + _PADDING + 12
    yield f'<text class="stage" x="{_BOX_X + 14}" y="{at}">{step.stage.value}</text>'
    for number, line in enumerate(_questions(step), 1):
        yield f'<text x="{_BOX_X + 14}" y="{at + number * _LINE}">{escape(line)}</text>'
    at = top + _PADDING
    for fate, lines in _exits(step):
        label, look = _LABELS[fate]
        middle = at + 10
        yield (
            f'<path class="flow" d="M{_BOX_X + _BOX_WIDTH} {middle}H{_EXIT_X - 8}"/>'
            f'<path class="head" d="M{_EXIT_X - 8} {middle - 4}l8 4l-8 4z"/>'
        )
        yield (
            f'<rect class="{look}" x="{_EXIT_X}" y="{at}" width="{_LABEL_WIDTH}" height="{_LINE}"'
            f' rx="10"/><text x="{_EXIT_X + 12}" y="{at + 15}">{label}</text>'
        )
        for line in lines:
            x = _EXIT_X + _LABEL_WIDTH + 12
            yield f'<text class="reason" x="{x}" y="{at + 15}">{escape(line)}</text>'
            at += _LINE + 4


def _arrow(start: int, end: int) -> str:
    x = _BOX_X + _BOX_WIDTH // 2
    return (
        f'<path class="flow" d="M{x} {start}V{end - 8}"/>'
        f'<path class="head" d="M{x - 4} {end - 8}l4 8l4 -8z"/>'
    )
