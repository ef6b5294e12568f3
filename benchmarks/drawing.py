"""Small pictures of measurements as SVG, light and dark: bars with their spread, and lines."""

import statistics
from xml.sax.saxutils import escape

STYLE = """
  text { font: 13px system-ui, sans-serif; fill: #1b2430; }
  .head { font-weight: 600; font-size: 15px; }
  .small { font-size: 12px; fill: #52606d; }
  .grid { stroke: #d5dbe3; } .axis { stroke: #7d93ab; }
  .spread { stroke: #1b2430; stroke-width: 1.5; fill: none; }
  .ours { fill: #2f855a; } .peer { fill: #7d93ab; } .limit { fill: #d9a441; }
  .a { stroke: #2f855a; } .b { stroke: #c05621; } .a, .b { stroke-width: 1.8; fill: none; }
  .fill-a { fill: #2f855a; } .fill-b { fill: #c05621; }
  @media (prefers-color-scheme: dark) {
    text { fill: #e6edf3; } .small { fill: #9fb0c0; } .grid { stroke: #2b3745; }
    .spread { stroke: #e6edf3; } .ours { fill: #4caf7d; } .peer { fill: #5d738b; }
  }
"""
LABEL, WIDTH, ROW, HEAD, AFTER = 230, 1000, 26, 46, 110


def svg(width, height, title, parts):
    """A picture."""
    size = f'width="{width}" height="{height}" viewBox="0 0 {width} {height}"'
    return "\n".join(
        [
            f'<svg xmlns="http://www.w3.org/2000/svg" {size} role="img">',
            f"<title>{escape(title)}</title>",
            f"<style>{STYLE}</style>",
            *parts,
            "</svg>\n",
        ]
    )


def number(value):
    """A figure as a person reads it."""
    if value >= 10_000:
        return f"{value / 1000:,.0f} k"
    if value >= 100:
        return f"{value:,.0f}"
    return f"{value:,.1f}"


def bars(title, rows, top=0):
    """A panel of bars.

    Args:
        title: with the unit.
        rows: label, kind (ours, peer, limit) and all measured values.
        top: where the panel begins.

    Returns:
        Its parts, and where it ends.

    """
    parts = [f'<text class="head" x="16" y="{top + 26}">{escape(title)}</text>']
    most = max((max(values) for _, _, values in rows), default=1)
    scale = (WIDTH - LABEL - AFTER) / most
    at = top + HEAD
    for label, kind, values in rows:
        ordered = sorted(values)
        middle = statistics.median(ordered)
        right, y = LABEL + middle * scale, at + ROW / 2
        parts.append(
            f'<text x="{LABEL - 10}" y="{y + 4}" text-anchor="end">{escape(label)}</text>'
            f'<rect class="{kind}" x="{LABEL}" y="{at + 4}" width="{middle * scale:.1f}"'
            f' height="{ROW - 8}" rx="3"/>'
        )
        low, high = LABEL + ordered[0] * scale, LABEL + ordered[-1] * scale
        if len(ordered) > 1:
            parts.append(
                f'<path class="spread" d="M{low:.1f} {y}H{high:.1f}'
                f'M{low:.1f} {y - 4}v8M{high:.1f} {y - 4}v8"/>'
            )
        parts.append(f'<text x="{max(right, high) + 8:.1f}" y="{y + 4}">{number(middle)}</text>')
        at += ROW
    return parts, at + 10


def panels(title, *content):
    """Several panels of bars under each other."""
    parts, at = [], 0
    for head, rows in content:
        if not rows:
            continue
        made, at = bars(head, rows, at)
        parts += made
    return svg(WIDTH, at + 6, title, parts)


def lines(title, unit, series, marks=(), height=300):
    """Curves over seconds.

    Args:
        title: of the picture.
        unit: of the values.
        series: label, class (a, b) and points (seconds, value).
        marks: (second, text) of moments to point out.
        height: of the picture.

    """
    left, right, top, bottom = 70, WIDTH - 20, 50, height - 40
    longest = max((x for _, _, points in series for x, _ in points), default=1) or 1
    most = max((y for _, _, points in series for _, y in points), default=1) or 1

    def place(x, y):
        return left + x / longest * (right - left), bottom - y / most * (bottom - top)

    parts = [f'<text class="head" x="16" y="26">{escape(title)}</text>']
    for part in range(5):
        _, y = place(0, most * part / 4)
        parts.append(
            f'<path class="grid" d="M{left} {y:.1f}H{right}"/><text class="small" x="{left - 8}"'
            f' y="{y + 4:.1f}" text-anchor="end">{number(most * part / 4)}</text>'
        )
    for part in range(0, int(longest) + 1, max(1, round(longest / 10))):
        x, _ = place(part, 0)
        anchored = f'x="{x:.1f}" y="{bottom + 18}" text-anchor="middle"'
        parts.append(f'<text class="small" {anchored}>{part} s</text>')
    for second, text in marks:
        x, _ = place(second, 0)
        parts.append(
            f'<path class="axis" stroke-dasharray="4 4" d="M{x:.1f} {top}V{bottom}"/>'
            f'<text class="small" x="{x + 5:.1f}" y="{top + 12}">{escape(text)}</text>'
        )
    for at, (label, look, points) in enumerate(series):
        path = "L".join(f"{x:.1f} {y:.1f}" for x, y in (place(*point) for point in points))
        parts.append(f'<path class="{look}" d="M{path}"/>')
        x = right - 210 * (len(series) - at)
        parts.append(
            f'<rect class="fill-{look}" x="{x}" y="17" width="10" height="10"/>'
            f'<text x="{x + 16}" y="26">{escape(label)} ({escape(unit)})</text>'
        )
    return svg(WIDTH, height, title, parts)
