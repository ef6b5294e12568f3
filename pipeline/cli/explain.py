"""`milepost explain`: what a word of Milepost's means, whose turn it is, what to do.

Must never hold a meaning: governance has them, `pipeline.operations.remedies` what to do.
"""

from __future__ import annotations

import difflib
import re
from collections.abc import Iterator
from typing import Annotated, Any, Final

import typer
import yaml

from pipeline.cli.listing import table, terminal_width, wrapped
from pipeline.cli.terminal import WRONG_USE, Json, document, fail
from pipeline.contract.names import data_root
from pipeline.governance.alerts import ALERTS, AlertKind
from pipeline.governance.decisions import ACTIONS as RESULTS
from pipeline.governance.flow import STEPS
from pipeline.governance.reasons import MEANINGS, Reason
from pipeline.governance.vocabulary import ACTIONS, FATES
from pipeline.operations import remedies

commands = typer.Typer(no_args_is_help=True)
_SHOWN = 3
_REASONS: Final = list(dict.fromkeys([*map(str, Reason), *map(str, AlertKind)]))
_FATES: Final = {fate.value: fate for fate in FATES}
_ACTIONS: Final = {action.value: action for action in ACTIONS}


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
    known = {name.casefold(): name for name in (*_REASONS, *_FATES, *_ACTIONS)}
    name = None if word is None else known.get(word.casefold())
    if word is not None and name is None:
        close = difflib.get_close_matches(word.casefold(), known, 3)
        found = " or ".join(known[item] for item in close)
        hint = f"; did you mean {found}?" if found else "."
        nothing = f"{word!r} is no reason, alert, disposition or action{hint}"
        fail(f"{nothing} `milepost explain` lists them", WRONG_USE)
    if as_json:
        document(_document(name) if name else _documents())
        return
    for line in _told(name) if name else _listed():
        typer.echo(line)


def _documents() -> dict[str, Any]:
    kinds = {"reasons": _REASONS, "dispositions": _FATES, "actions": _ACTIONS}
    return {kind: [_document(name) for name in listed] for kind, listed in kinds.items()}


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
    if word in _FATES:
        found["disposition"] = _fate(word)
    if word in _ACTIONS:
        found["action"] = _action(word)
    return found


def _fate(word: str) -> dict[str, Any]:
    results = [given for (_, after), given in RESULTS.items() if after == word]
    published = {action for given in results for action in given if action is not None}
    return {
        "meaning": FATES[_FATES[word]],
        "leaves": [{"step": stage, "reasons": reasons} for stage, reasons in _leaves(word)],
        "publishes": sorted(published),
    }


def _action(word: str) -> dict[str, Any]:
    ways = [way for way, given in RESULTS.items() if word in given]
    published_by = [{"before": before or "read", "after": after} for before, after in ways]
    return {"meaning": ACTIONS[_ACTIONS[word]], "published_by": published_by}


def _leaves(fate: str) -> Iterator[tuple[str, list[str]]]:
    """At which steps of judgement a claim can leave with a fate, and for which reasons."""
    for step in STEPS:
        reasons = [
            reason.value for f, given in step.leaves.items() if f == fate for reason in given
        ]
        if reasons:
            yield step.stage.value, reasons


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
    yield "Dispositions, and what becomes of them"
    rows = [(name, FATES[fate]) for name, fate in _FATES.items()]
    yield from table(("disposition", "meaning"), rows, below=(1,), width=width)
    yield ""
    yield "Actions"
    rows = [(name, ACTIONS[action]) for name, action in _ACTIONS.items()]
    yield from table(("action", "meaning"), rows, below=(1,), width=width)
    yield ""
    yield "`milepost explain WORD` tells whose turn it is and what to do."
