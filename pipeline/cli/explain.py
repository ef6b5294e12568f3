"""`milepost explain`: what a word of Milepost's means, whose turn it is, what to do.

Must never hold a meaning: `known_words` gathers them.
"""

from __future__ import annotations

import difflib
from collections.abc import Iterator
from typing import Annotated

import typer

from pipeline.cli.known_words import (
    BY_ACTION,
    BY_FATE,
    REASONS_AND_ALERTS,
    describe,
    documents,
)
from pipeline.cli.listing import table, terminal_width, wrapped
from pipeline.cli.terminal import WRONG_USE, Json, document, fail
from pipeline.governance.alerts import ALERTS, AlertKind
from pipeline.governance.reasons import MEANINGS, Reason
from pipeline.governance.vocabulary import ACTIONS, FATES

commands = typer.Typer(no_args_is_help=True)


@commands.command()
def explain(
    word: Annotated[
        str | None,
        typer.Argument(
            metavar="WORD", help="A reason, alert, disposition or action; none: list them."
        ),
    ] = None,
    *,
    as_json: Json = False,
) -> None:
    """Tell what a reason, alert, disposition or action means, and what to do; needs no Kafka."""
    known = {name.casefold(): name for name in (*REASONS_AND_ALERTS, *BY_FATE, *BY_ACTION)}
    name = None if word is None else known.get(word.casefold())
    if word is not None and name is None:
        close = difflib.get_close_matches(word.casefold(), known, 3)
        found = " or ".join(known[item] for item in close)
        hint = f"; did you mean {found}?" if found else "."
        nothing = f"{word!r} is no reason, alert, disposition or action{hint}"
        fail(f"{nothing} `milepost explain` lists them", WRONG_USE)
    if as_json:
        document(describe(name) if name else documents())
        return
    for line in _told(name) if name else _listed():
        typer.echo(line)


def _told(word: str) -> Iterator[str]:
    width = terminal_width() or 80
    found = describe(word)
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
    if "disposition" in found:
        fate = found["disposition"]
        yield from wrapped(f"{word}, a disposition: {fate['meaning']}.", width=width)
        rows += [("found at", f"{r['step']}: {', '.join(r['reasons'])}") for r in fate["leaves"]]
        rows.append(("may publish", " or ".join(fate["publishes"]) or "nothing"))
    if "action" in found:
        action = found["action"]
        yield from wrapped(f"{word}, an action: {action['meaning']}.", width=width)
        ways = [f"{row['before']} → {row['after']}" for row in action["published_by"]]
        rows.append(("published by", ", ".join(ways)))
    rows += [("shown by", f"{row['file']}: {row['variant']}") for row in found["scenarios"]]
    yield from _rows(rows, width)


def _rows(rows: list[tuple[str, str]], width: int) -> Iterator[str]:
    for label, text in rows:
        first, *rest = wrapped(text, " " * 15, width)
        yield f"  {label:<12} {first.lstrip()}"
        yield from rest


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
    yield "Dispositions, and what becomes of them"
    rows = [(name, FATES[fate]) for name, fate in BY_FATE.items()]
    yield from table(("disposition", "meaning"), rows, below=(1,), width=width)
    yield ""
    yield "Actions"
    rows = [(name, ACTIONS[action]) for name, action in BY_ACTION.items()]
    yield from table(("action", "meaning"), rows, below=(1,), width=width)
    yield ""
    yield "`milepost explain WORD` tells whose turn it is and what to do."
