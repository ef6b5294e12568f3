"""`milepost claims`: what became of a platform's own claims, by reason, to be pasted into a ticket.

Must never decide what a claim means: `pipeline.operations.trail` tells.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Annotated, Final

import typer

from pipeline.cli.listing import iso, wrapped
from pipeline.cli.surroundings import explained, inspected, surroundings
from pipeline.cli.terminal import WRONG_USE, Json, document, fail
from pipeline.cli.times import since_ms
from pipeline.governance.reasons import Reason
from pipeline.governance.vocabulary import Change, Disposition
from pipeline.kafka import bundles, clients
from pipeline.operations import remedies, trail
from pipeline.operations.dead_letters import Filter, Letter
from pipeline.operations.dead_letters import read as read_letters
from pipeline.operations.proof.evidence import Evidence
from pipeline.operations.remedies import NOBODY
from pipeline.operations.trail import Entry, meaning

commands = typer.Typer(no_args_is_help=True)
WIDTH: Final = 80
"""A ticket's: the text is for pasting, whatever the terminal."""
_WORDS: Final = {
    Disposition.DEAD_LETTERED: "could not be governed",
    Disposition.HELD: "waiting",
    Disposition.OVERRULED: "overruled",
    Disposition.STALE: "came too late",
    Disposition.DUPLICATE: "repeated",
    Change.RETRACTED: "taken back",
    Change.CORRECTED: "replaced by a correction",
    Disposition.IGNORED: "no milestone",
    Disposition.PROVISIONAL: "standing provisionally",
    Disposition.CORROBORATED: "in agreement with what stands",
    Change.CONFIRMED: "confirmed by the owner",
    Disposition.APPROVED: "approved",
}
"""What became of claims, in the order in which somebody has to do something."""


@commands.command()
def claims(
    platform: Annotated[str, typer.Option(help="Whose claims.")],
    since: Annotated[
        str, typer.Option(help="ISO 8601, or a span back from now such as 2h or 7d.")
    ] = "24h",
    limit: Annotated[int, typer.Option(min=1, help="Newest events to show of each reason.")] = 5,
    *,
    as_json: Json = False,
) -> None:
    """List a platform's own claims by what became of them, with what to fix.

    The text has 80 columns and is for pasting into a ticket.
    """
    start_ms = since_ms(since)
    with explained(), inspected() as evidence:
        found = trail.claims(evidence, platform, start_ms)
        if not found:
            _known(platform)
        groups = grouped(found)
        if as_json:
            document(
                {
                    "platform": platform,
                    "claims": [entry.document() for entry in found],
                    "reasons": [_group(*name, entries) for name, entries in groups.items()],
                }
            )
            return
        letters = _letters(evidence, platform, found)
        for line in told(platform, start_ms, groups, letters, limit):
            typer.echo(line)


def _known(platform: str) -> None:
    """Refuse a platform that the bundle in force doesn't know."""
    settings, where = surroundings()
    bundle = bundles.in_force(settings, where.bootstrap)
    if bundle is not None and bundle.platform(platform) is None:
        known = ", ".join(row.name for row in bundle.platforms)
        fail(
            f"No platform {platform!r} in bundle {bundle.version}; it has {known}",
            WRONG_USE,
        )


def grouped(found: list[Entry]) -> dict[tuple[str, str], list[Entry]]:
    """Claims by fate and reason: what asks for something first, then the most frequent."""
    groups: dict[tuple[str, str], list[Entry]] = {}
    for entry in found:
        groups.setdefault((entry.fate, entry.reason), []).append(entry)
    order = {str(fate): place for place, fate in enumerate(_WORDS)}

    def turn(item: tuple[tuple[str, str], list[Entry]]) -> tuple[int, int, str]:
        (fate, reason), entries = item
        return order.get(fate, len(order)), -len(entries), reason

    return dict(sorted(groups.items(), key=turn))


def _group(fate: str, reason: str, entries: list[Entry]) -> dict[str, object]:
    known = remedies.remedy(Reason(reason))._asdict() if reason in set(Reason) else {}
    return {
        "fate": fate,
        "reason": reason,
        "meaning": meaning(reason, fate),
        "count": len(entries),
        **known,
    }


def _letters(
    evidence: Evidence, platform: str, found: list[Entry]
) -> Mapping[clients.Position, Letter]:
    """Dead letters of the claims, by where they first came in."""
    dead = {entry.place for entry in found if entry.fate == Disposition.DEAD_LETTERED}
    if not dead:
        return {}
    letters = read_letters(evidence, Filter(platform=platform))
    return {letter.place: letter for letter in letters if letter.place in dead}


def told(
    platform: str,
    since: int,
    groups: Mapping[tuple[str, str], list[Entry]],
    letters: Mapping[clients.Position, Letter],
    limit: int,
) -> Iterator[str]:
    """The whole text, line by line.

    Args:
        platform: whose claims.
        since: from when on, ms UTC.
        groups: as `grouped` makes them.
        letters: of those that could not be governed, by where their records came in.
        limit: events to show of each reason.

    """
    count = sum(map(len, groups.values()))
    noun = "claim" if count == 1 else "claims"
    yield f"{count} {noun} of {platform} since {iso(since)}"
    if not groups:
        yield "None were received since then: see its name in policy/platforms.yaml, and --since."
        return
    for (fate, reason), entries in groups.items():
        yield ""
        yield f"{len(entries)} {_WORDS.get(fate, fate)} ({fate}, {reason})"  # type: ignore[call-overload]
        yield from wrapped(f"{meaning(reason, fate)}.", "  ", WIDTH)
        if reason in set(Reason):
            remedy = remedies.remedy(Reason(reason))
            if remedy.turn != NOBODY:
                yield from wrapped(f"Turn of {remedy.turn}: {remedy.todo}.", "  ", WIDTH)
        newest = entries[-limit:]
        for entry in newest:
            yield from _event(entry, letters.get(entry.place))
        if len(newest) < len(entries):
            yield f"    and {len(entries) - len(newest)} before; --limit shows more"
    yield ""
    yield "`milepost explain REASON` tells more, `milepost audit show EVENT` all of one."


def _event(entry: Entry, letter: Letter | None) -> Iterator[str]:
    row = entry.verdict
    named = row["claim"] or f"{entry.topic}[{entry.partition}]@{entry.offset}"
    about = " ".join(part for part in (entry.event_type, row["entity"]) if part)
    text = f"{iso(row['received'])}  {named}" + (f"  {about}" if about else "")
    first, *rest = wrapped(text, "        ", WIDTH)
    yield f"    {first.lstrip()}"
    yield from rest
    if letter is not None:
        yield from wrapped(f"{letter.detail} (letter {letter.name})", "        ", WIDTH)
    elif row["deadline"] is not None and entry.fate == Disposition.HELD:
        yield f"        until {iso(row['deadline'])}"
