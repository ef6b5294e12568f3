"""`milepost dead-letters`: list them, look into one, send them through again, also repaired.

Must never read a topic itself: `pipeline.operations.dead_letters` does.
"""

from __future__ import annotations

import getpass
from collections import Counter
from collections.abc import Iterator
from typing import Annotated

import orjson
import typer

from pipeline.cli import repairing
from pipeline.cli.listing import iso, table, terminal_width, wrapped
from pipeline.cli.surroundings import explained, inspected, surroundings
from pipeline.cli.terminal import FOUND, WRONG_USE, Json, document, fail
from pipeline.cli.times import moment, since_ms
from pipeline.contract import headers, names
from pipeline.governance.reasons import FailureClass, Reason
from pipeline.operations import dead_letters as letters
from pipeline.operations import repairs
from pipeline.operations.dead_letters import Filter, Letter, State
from pipeline.operations.repairs import UnusableEditError
from pipeline.operations.trail import meaning

commands = typer.Typer(no_args_is_help=True, help="Records that could not be governed.")
_Reason = Annotated[str, typer.Option(help="Only this reason.")]
_Platform = Annotated[str, typer.Option(help="Only of this platform.")]
_Key = Annotated[str, typer.Option(help="Only keys that contain this.")]
_Fingerprint = Annotated[str, typer.Option(help="Only of this cause, as `list` names it.")]
_Since = Annotated[str, typer.Option(help="First received since: ISO 8601, or 2h, 7d.")]
_Until = Annotated[str | None, typer.Option(help="First received before; ISO 8601.")]
_EVER = "36500d"
_BYTES_SHOWN = 400
_TURNS = {
    FailureClass.DATA: "Its sender's turn: the record itself is wrong.",
    FailureClass.POLICY: "It waited for something that never came: see what it needed.",
    FailureClass.CONFIG: "Our turn: the policy bundle or a schema lacks something.",
}


@commands.command("list")
def list_(
    reason: _Reason = "",
    platform: _Platform = "",
    key: _Key = "",
    fingerprint: _Fingerprint = "",
    since: _Since = _EVER,
    until: _Until = None,
    limit: Annotated[int, typer.Option(min=1, help="Rows to show.")] = 50,
    *,
    only_open: Annotated[
        bool, typer.Option("--open", help="Only those that nobody has sent through again.")
    ] = False,
    as_json: Json = False,
) -> None:
    """List dead letters, with a count by cause and what became of each since."""
    wanted = _filter(reason, platform, key, fingerprint, since, until)
    with explained(), inspected() as evidence:
        found = list(letters.read(evidence, wanted._replace(open=only_open)))
        if as_json:
            document({"count": len(found), "letters": [item.document() for item in found]})
            return
        for line in _listed(found, limit):
            typer.echo(line)


def _listed(found: list[Letter], limit: int) -> Iterator[str]:
    width = terminal_width()
    states = Counter(item.since.state for item in found)
    told = ", ".join(f"{count} {state}" for state, count in states.most_common())
    noun = "dead letter" if len(found) == 1 else "dead letters"
    yield f"{len(found)} {noun}" + (f": {told}" if told else "")
    if not found:
        return
    causes = Counter((item.reason, item.fingerprint, item.retryable) for item in found)
    yield ""
    yield from table(
        ("count", "reason", "cause", "retry", "meaning"),
        [
            (str(count), name, cause, "yes" if retryable else "no", meaning(name))
            for (name, cause, retryable), count in causes.most_common()
        ],
        cut=(4,),
        width=width,
    )
    newest = sorted(found, key=lambda item: item.dead_ms)[-limit:]
    yield ""
    if len(newest) < len(found):
        yield f"The newest {len(newest)}; --limit shows more:"
    yield from table(
        ("id", "received", "reason", "now", "key", "detail"),
        [
            (
                item.name,
                iso(item.origin.received),
                item.reason,
                _now(item),
                (item.key or b"").decode("utf-8", "replace") or "-",
                item.detail,
            )
            for item in newest
        ],
        below=(4, 5),
        width=width,
    )
    yield ""
    yield "`milepost dead-letters show ID` tells all about one."


def _now(letter: Letter) -> str:
    state = letter.since.state
    if state is State.REPAIRED:
        return letter.since.fate
    if state is State.OPEN and letter.replays:
        return f"failed {letter.replays + 1} times"
    return str(state)


@commands.command()
def show(
    name: Annotated[str, typer.Argument(help="Its id, partition:offset, as `list` shows it.")],
    *,
    as_json: Json = False,
) -> None:
    """Show one dead letter in full: why, whose turn it is, and the record as it came."""
    with explained(), inspected() as evidence:
        found = list(letters.read(evidence, Filter(ids=frozenset({name}))))
        if not found:
            fail(f"There is no dead letter {name}: see `milepost dead-letters list`", FOUND)
        if as_json:
            document(found[0].document())
            return
        for line in _shown(found[0]):
            typer.echo(line)


def _shown(letter: Letter) -> Iterator[str]:
    width = terminal_width()
    origin = letter.origin
    yield from wrapped(f"{letter.reason}: {meaning(letter.reason)}.", width=width)
    yield from wrapped(letter.detail, "  ", width)
    if letter.failure in set(_TURNS):
        yield from wrapped(_TURNS[FailureClass(letter.failure)], "  ", width)
    rows = [
        ("from", f"{origin.topic}[{origin.partition}]@{origin.offset}"),
        ("received", iso(origin.received)),
        ("refused", f"{iso(letter.dead_ms)}, step {letter.stage}, bundle {letter.policy}"),
        ("key", (letter.key or b"").decode("utf-8", "replace") or "none"),
        ("platform", letter.platform),
        ("cause", letter.fingerprint),
        ("now", _tale(letter)),
    ]
    if letter.omitted:
        rows.append(("left out", f"{letter.omitted}: it was too large to keep"))
    ours = (*headers.FAMILIES, names.REPLAY_PREFIX)
    rows += [
        ("header", f"{name}: {(value or b'').decode('utf-8', 'backslashreplace')}")
        for name, value in letter.headers
        if not name.startswith(ours)
    ]
    for label, text in rows:
        yield f"  {label:<10} {text}"
    yield from _record(letter)
    if letter.since.state is State.OPEN and not letter.omitted:
        yield ""
        fitting = repairs.fitting_shift(letter)
        if fitting is not None:
            yield "Once you know that only its clock was wrong:"
            yield f"  milepost dead-letters repair --id {letter.name} --shift={fitting}ms"
        again = f"milepost dead-letters replay --id {letter.name} --go --why '…'"
        if letter.retryable:
            yield f"Once its cause is put right: {again}"
        else:
            yield f"Sent through again unchanged it fails again. If you must: {again} --all"


def _tale(letter: Letter) -> str:
    since = letter.since
    if since.state is State.REPAIRED:
        return f"sent through again: {since.fate}, {meaning(since.reason)}"
    if since.state is State.SENT:
        return f"sent through again: {since.fate or 'not decided yet'}"
    if since.state is State.FAILED:
        return "sent through again and refused again: a newer letter is about it"
    times = f", sent through again {letter.replays} times before" if letter.replays else ""
    return f"open{times}"


def _record(letter: Letter) -> Iterator[str]:
    event = letter.event
    if event is not None:
        told = {name: value for name, value in event.items() if value not in (None, [], {}, "")}
        told |= {name: iso(told[name]) for name in ("occurred", "recorded") if name in told}
        yield "  event"
        text = orjson.dumps(told, option=orjson.OPT_INDENT_2, default=str).decode()
        for line in text.splitlines():
            yield f"    {line}"
    elif letter.value is not None:
        begin = letter.value[:_BYTES_SHOWN]
        yield f"  bytes      {len(letter.value)}, beginning:"
        for at in range(0, len(begin), 16):
            part = begin[at : at + 16]
            text = "".join(chr(byte) if 32 <= byte < 127 else "." for byte in part)
            yield f"    {at:04x}  {part.hex(' '):<47}  {text}"


@commands.command()
def replay(
    reason: _Reason = "",
    platform: _Platform = "",
    key: _Key = "",
    fingerprint: _Fingerprint = "",
    since: _Since = _EVER,
    until: _Until = None,
    ids: Annotated[list[str] | None, typer.Option("--id", help="Only these ids.")] = None,
    by: Annotated[str | None, typer.Option(help="Who does it; default: you.")] = None,
    why: Annotated[str, typer.Option(help="Reason, for the record.")] = "",
    *,
    everything: Annotated[
        bool,
        typer.Option(
            "--all", help="Also those that can't succeed unchanged, or were sent through before."
        ),
    ] = False,
    go: Annotated[
        bool, typer.Option("--go", help="Really send them; without it, only count.")
    ] = False,
    as_json: Json = False,
) -> None:
    """Send dead letters through again with their original times; counts only, unless --go.

    Doing it twice is harmless: the kernel takes the second one for a duplicate.
    """
    with explained(), inspected() as evidence:
        settings, where = surroundings()
        if go and not why:
            fail("--why: say why they are sent again, for the record", WRONG_USE)
        named = frozenset(ids or ())
        wanted = _filter(reason, platform, key, fingerprint, since, until)._replace(
            retryable=not everything, open=not everything, ids=named
        )
        chosen = list(letters.read(evidence, wanted))
        _check_ids(named, chosen, everything=everything)
        done = letters.replay(
            settings,
            where.bootstrap,
            chosen,
            by=by or getpass.getuser(),
            why=why,
            dry_run=not go,
        )
        if as_json:
            document({**done._asdict(), "dry_run": not go})
            return
        for line in _replayed(done, go=go):
            typer.echo(line)


@commands.command()
def repair(
    reason: _Reason = "",
    platform: _Platform = "",
    key: _Key = "",
    fingerprint: _Fingerprint = "",
    since: _Since = _EVER,
    until: _Until = None,
    ids: Annotated[list[str] | None, typer.Option("--id", help="Only these ids.")] = None,
    shift: Annotated[str, typer.Option(help="Shift occurred and recorded, e.g. --shift=-2h.")] = "",
    values: Annotated[
        list[str] | None,
        typer.Option("--set", help="field=value, e.g. native_status=D1, stop.location=DAL1."),
    ] = None,
    by: Annotated[str | None, typer.Option(help="Who repairs; default: you.")] = None,
    why: Annotated[str, typer.Option(help="Reason, for the record.")] = "",
    *,
    everything: Annotated[
        bool, typer.Option("--all", help="Also those that were sent through before.")
    ] = False,
    go: Annotated[
        bool, typer.Option("--go", help="Really send them; without it, only show the edit.")
    ] = False,
    as_json: Json = False,
) -> None:
    """Edit dead letters and send them through again; shows the edit only, unless --go.

    Event id, place and time of receipt stay; the header milepost.repaired-by
    names who did it. Ends with 1 if no edit of those that are meant can be
    sent.
    """
    if go and not why:
        fail("--why: say why they are edited, for the record", WRONG_USE)
    try:
        wanted = repairs.edit(repairs.shift(shift) if shift else 0, values or ())
    except UnusableEditError as error:
        fail(str(error), WRONG_USE)
    with explained(), inspected() as evidence:
        named = frozenset(ids or ())
        asked = _filter(reason, platform, key, fingerprint, since, until)
        asked = asked._replace(open=not everything, ids=named)
        chosen = list({item.place: item for item in letters.read(evidence, asked)}.values())
        _check_ids(named, chosen, everything=everything)
        found = [repairs.repaired(letter, wanted, evidence.decode) for letter in chosen]
        sent = [item for item in found if item.event is not None and item.changes]
        identity = repairing.send(sent, by or getpass.getuser(), why) if go and sent else ""
        if as_json:
            rows = [item.document() for item in found]
            document({"id": identity, "sent": len(sent), "repairs": rows, "dry_run": not go})
        else:
            for line in repairing.told(found, len(sent), identity):
                typer.echo(line)
        if found and not sent:
            raise typer.Exit(FOUND)


def _check_ids(named: frozenset[str], chosen: list[Letter], *, everything: bool) -> None:
    missing = named - {letter.name for letter in chosen}
    if missing:
        hint = (
            "" if everything else "; if they were sent through before or can't succeed, add --all"
        )
        fail(f"Not among them: {', '.join(sorted(missing))}{hint}", FOUND)


def _replayed(done: letters.Replay, *, go: bool) -> Iterator[str]:
    noun = "dead letter" if done.sent == 1 else "dead letters"
    verb = "sent through again" if go else "would be sent through again"
    yield f"{done.sent} {noun} {verb}."
    for cause, count in sorted(done.by_reason.items()):
        yield f"  {cause:<28} {count:>7}"
    if done.left_out:
        yield f"{done.left_out} left out: too large to have been kept with their bytes."
    if not go and done.sent:
        yield "Nothing was sent. Add --go and --why to do it."
    elif go and done.sent:
        yield f"Replay {done.id}. `milepost dead-letters list` tells what becomes of them."


def _filter(
    reason: str, platform: str, key: str, fingerprint: str, since: str, until: str | None
) -> Filter:
    if reason and reason not in set(Reason):
        fail(f"--reason: {reason!r} is no reason; see docs/reference/reasons.md", WRONG_USE)
    return Filter(
        reason=reason,
        platform=platform,
        key=key,
        fingerprint=fingerprint,
        since_ms=since_ms(since),
        until_ms=moment("--until", until),
    )
