"""`milepost dead-letters`: list them, look into one, send them through again.

Must never read a topic itself: `pipeline.operations.dead_letters` does.
"""

from __future__ import annotations

import getpass
from collections import Counter
from typing import Annotated

import typer
from rich.table import Table

from pipeline.cli.terminal import (
    FOUND,
    WRONG_USE,
    Json,
    document,
    explained,
    fail,
    stdout,
    surroundings,
)
from pipeline.cli.trail import iso, moment, since_ms
from pipeline.governance.reasons import MEANINGS, Reason
from pipeline.operations import dead_letters as letters
from pipeline.operations.dead_letters import Filter

commands = typer.Typer(no_args_is_help=True, help="Records that could not be governed.")
_Reason = Annotated[str, typer.Option(help="Only this reason.")]
_Platform = Annotated[str, typer.Option(help="Only of this platform.")]
_Key = Annotated[str, typer.Option(help="Only keys that contain this.")]
_Fingerprint = Annotated[str, typer.Option(help="Only of this cause, as `list` names it.")]
_Since = Annotated[str, typer.Option(help="First received since: ISO 8601, or 2h, 7d.")]
_Until = Annotated[str | None, typer.Option(help="First received before; ISO 8601.")]


@commands.command("list")
def list_(
    reason: _Reason = "",
    platform: _Platform = "",
    key: _Key = "",
    fingerprint: _Fingerprint = "",
    since: _Since = "36500d",
    until: _Until = None,
    limit: Annotated[int, typer.Option(min=1, help="Rows to show.")] = 50,
    *,
    as_json: Json = False,
) -> None:
    """List dead letters, with a count by cause."""
    with explained():
        settings, where = surroundings()
        wanted = _filter(reason, platform, key, fingerprint, since, until)
        found = list(letters.read(settings, where.bootstrap, wanted))
        if as_json:
            document({"count": len(found), "letters": [item.document() for item in found]})
            return
        causes = Counter((item.reason, item.fingerprint) for item in found)
        shown = Table(title=f"{len(found)} dead letters by cause")
        for column in ("count", "reason", "cause", "what it means"):
            shown.add_column(column, overflow="fold")
        for (name, cause), count in causes.most_common():
            shown.add_row(str(count), name, cause, MEANINGS[Reason(name)].text)
        stdout.print(shown)
        rows = Table(title=f"The newest {min(limit, len(found))}")
        for column in ("id", "received", "reason", "platform", "key", "detail", "retry"):
            rows.add_column(column, overflow="fold")
        for item in sorted(found, key=lambda item: item.dead_ms)[-limit:]:
            rows.add_row(
                item.name,
                iso(item.origin.received),
                item.reason,
                item.platform or "?",
                (item.key or b"").decode("utf-8", "replace"),
                item.detail,
                "yes" if item.retryable else "no",
            )
        stdout.print(rows)


@commands.command()
def show(
    name: Annotated[str, typer.Argument(help="Its id, partition:offset, as `list` shows it.")],
    *,
    as_json: Json = False,
) -> None:
    """Show one dead letter in full."""
    with explained():
        settings, where = surroundings()
        found = list(letters.read(settings, where.bootstrap, Filter(ids=frozenset({name}))))
        if not found:
            fail(f"There is no dead letter {name}: see `milepost dead-letters list`", FOUND)
        content = found[0].document()
        if as_json:
            document(content)
            return
        for field, value in content.items():
            typer.echo(f"{field:<12} {value}")


@commands.command()
def replay(
    reason: _Reason = "",
    platform: _Platform = "",
    key: _Key = "",
    fingerprint: _Fingerprint = "",
    since: _Since = "36500d",
    until: _Until = None,
    name: Annotated[list[str] | None, typer.Option("--id", help="Only these ids.")] = None,
    by: Annotated[str | None, typer.Option(help="Who does it; default: you.")] = None,
    why: Annotated[str, typer.Option(help="Reason, for the record.")] = "",
    *,
    everything: Annotated[
        bool, typer.Option("--all", help="Also those that can't succeed unchanged.")
    ] = False,
    go: Annotated[
        bool, typer.Option("--go", help="Really send them; without it, only count.")
    ] = False,
    as_json: Json = False,
) -> None:
    """Send dead letters through again with their original times; counts only, unless --go.

    Doing it twice is harmless: the kernel takes the second one for a duplicate.
    """
    with explained():
        settings, where = surroundings()
        if go and not why:
            fail("--why: say why they are sent again, for the record", WRONG_USE)
        wanted = _filter(reason, platform, key, fingerprint, since, until)._replace(
            retryable=not everything, ids=frozenset(name or ())
        )
        done = letters.replay(
            settings,
            where.bootstrap,
            letters.read(settings, where.bootstrap, wanted),
            by=by or getpass.getuser(),
            why=why,
            dry_run=not go,
        )
        if as_json:
            document({"sent": go, **done._asdict()})
            return
        verb = "sent through again" if go else "would be sent through again; add --go to do it"
        typer.echo(f"{done.sent} dead letters {verb}.")
        for cause, count in sorted(done.by_reason.items()):
            typer.echo(f"  {cause:<28} {count:>7}")


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
