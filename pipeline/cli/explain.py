"""`milepost explain`: what a reason or an alert means, whose turn it is, what to do.

Must never hold a meaning: governance has them, `pipeline.operations.remedies` what to do.
"""

from __future__ import annotations

import difflib
import re
from collections.abc import Iterator
from typing import Annotated, Any

import typer
import yaml

from pipeline.cli.listing import table, terminal_width, wrapped
from pipeline.cli.terminal import WRONG_USE, Json, document, fail
from pipeline.contract.names import data_root
from pipeline.governance.alerts import ALERTS, AlertKind
from pipeline.governance.flow import STEPS
from pipeline.governance.reasons import MEANINGS, Reason
from pipeline.operations import remedies

commands = typer.Typer(no_args_is_help=True)
_SHOWN = 3


@commands.command()
def explain(
    word: Annotated[
        str | None, typer.Argument(metavar="REASON", help="A reason or an alert; none: list them.")
    ] = None,
    *,
    as_json: Json = False,
) -> None:
    """Tell what a reason or an alert means, whose turn it is, and what to do; needs no Kafka."""
    known = list(dict.fromkeys([*map(str, Reason), *map(str, AlertKind)]))
    if word is not None and word not in known:
        close = difflib.get_close_matches(word, known, 3)
        hint = f"; did you mean {' or '.join(close)}?" if close else ""
        fail(f"{word!r} is no reason and no alert{hint} `milepost explain` lists them", WRONG_USE)
    if as_json:
        document(_document(word) if word else {"reasons": [_document(name) for name in known]})
        return
    for line in _told(word) if word else _listed():
        typer.echo(line)


def _document(word: str) -> dict[str, Any]:
    found: dict[str, Any] = {"name": word, "scenarios": list(_scenarios(word))}
    if word in set(Reason):
        reason = Reason(word)
        meaning, remedy = MEANINGS[reason], remedies.remedy(reason)
        found["reason"] = {
            "meaning": meaning.text,
            "class": meaning.failure,
            "retryable": meaning.retryable if meaning.failure else None,
            **remedy._asdict(),
            "steps": [{"step": stage, "fate": fate} for stage, fate in _steps(reason)],
        }
    if word in set(AlertKind):
        alert = ALERTS[AlertKind(word)]
        found["alert"] = alert._asdict()
    return found


def _steps(reason: Reason) -> Iterator[tuple[str, str]]:
    """Where in the order of judgement a claim leaves with this reason, and as what."""
    for step in STEPS:
        for fate, reasons in step.leaves.items():
            if reason in reasons:
                yield step.stage.value, fate.value


def _told(word: str) -> Iterator[str]:
    width = terminal_width() or 80
    found = _document(word)
    reason, alert = found.get("reason"), found.get("alert")
    rows: list[tuple[str, str]] = []
    if reason is not None:
        yield from wrapped(f"{word}: {reason['meaning']}.", width=width)
        rows += [("found at", f"{row['step']}: {row['fate']}") for row in reason["steps"]]
        rows += [("turn of", reason["turn"]), ("to do", reason["todo"])]
        if reason["class"]:
            again = "can help" if reason["retryable"] else "changes nothing"
            rows.append(("dead letter", f"class {reason['class']}; sending it again {again}"))
        rows.append(("begin with", reason["command"]))
    if alert is not None:
        if reason is not None:
            yield from _rows(rows, width)
            yield ""
            rows = []
        yield from wrapped(f"{word}, an alert: {alert['summary']}.", width=width)
        rows += [("severity", alert["severity"].value)]
        rows += [("to do", alert["remedy"])] if alert["remedy"] else []
    rows += [("shown by", f"{row['file']}: {row['variant']}") for row in found["scenarios"]]
    yield from _rows(rows, width)


def _rows(rows: list[tuple[str, str]], width: int) -> Iterator[str]:
    for label, text in rows:
        first, *rest = wrapped(text, " " * 15, width)
        yield f"  {label:<12} {first.lstrip()}"
        yield from rest


def _scenarios(word: str) -> Iterator[dict[str, str]]:
    """Variants of scenario files that show it; none where only the wheel is installed."""
    whole = re.compile(rf"\b{re.escape(word)}\b")
    count = 0
    for path in sorted((data_root() / "tests" / "scenarios").glob("*.yaml")):
        text = path.read_text("utf-8")
        if count >= _SHOWN or not whole.search(text):
            continue
        for variant in yaml.safe_load(text)["variants"]:
            if whole.search(str(variant)):
                yield {"file": f"tests/scenarios/{path.name}", "variant": variant["name"]}
                count += 1
                break


def _listed() -> Iterator[str]:
    width = terminal_width() or 80
    yield "Reasons"
    rows = [(reason.value, MEANINGS[reason].text) for reason in Reason]
    yield from table(("reason", "meaning"), rows, below=(1,), width=width)
    yield ""
    yield "Alerts"
    rows = [(kind.value, ALERTS[kind].summary) for kind in AlertKind]
    yield from table(("alert", "meaning"), rows, below=(1,), width=width)
    yield ""
    yield "`milepost explain REASON` tells whose turn it is and what to do."
