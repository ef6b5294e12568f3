"""`milepost audit`: the ledger in words.

Must never decide what a record means: `pipeline.operations.trail` tells.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Annotated, Any

import typer

from pipeline.cli.listing import iso, table, terminal_width, wrapped
from pipeline.cli.surroundings import declared_topics, explained, inspected
from pipeline.cli.terminal import FOUND, Json, document, fail
from pipeline.cli.times import END_OF_TIME, moment
from pipeline.governance.vocabulary import Disposition
from pipeline.kafka import clients
from pipeline.operations import trail
from pipeline.operations.dead_letters import Filter, Letter
from pipeline.operations.dead_letters import read as read_letters
from pipeline.operations.proof.evidence import TopicEvidence
from pipeline.operations.trail import Entry, Story, meaning

Record = dict[str, Any]
audit = typer.Typer(no_args_is_help=True, help="What was decided, by whom, and why.")


@audit.command()
def show(
    name: Annotated[str, typer.Argument(help="An entity's key or id, or a source event id.")],
    *,
    as_json: Json = False,
) -> None:
    """Tell the whole story of an entity or event, and why something isn't there.

    Ends with 1 if nothing was ever received about it.
    """
    with explained(), inspected() as evidence:
        story = trail.story(evidence, declared_topics(), name)
        letters = _letters(evidence, story)
        known = bool(story.entries or story.undecided)
        if as_json:
            document(_document(name, story, letters))
        else:
            for line in _told(story, letters):
                typer.echo(line)
        if not known:
            fail("\n".join(_never(name, story)), FOUND)


def _document(name: str, story: Story, letters: Mapping[clients.Position, Letter]) -> Record:
    return {
        "name": name,
        "found": bool(story.entries or story.undecided),
        "entries": [entry.document() for entry in story.entries],
        "approved": story.approved,
        "dead_letters": [letter.document() for letter in letters.values()],
        "undecided": [
            {**item.place._asdict(), "received": item.received_ms} for item in story.undecided
        ],
        "backlog": story.backlog,
        "decided_last": story.read_ms,
        "close": story.close,
    }


def _letters(evidence: TopicEvidence, story: Story) -> dict[clients.Position, Letter]:
    """Dead letters of the story's records, by where they first came in."""
    dead = {
        entry.place
        for entry in story.entries
        if Disposition.DEAD_LETTERED in {entry.fate, entry.verdict["disposition"]}
    }
    if not dead:
        return {}
    found = read_letters(evidence, Filter())
    return {letter.place: letter for letter in found if letter.place in dead}


def _never(name: str, story: Story) -> Iterator[str]:
    yield f"Nothing about {name!r} was ever received: no platform sent it, or under another id."
    if story.close:
        yield f"  Known and similar: {', '.join(story.close)}"
    if story.read_ms:
        yield f"  The last decision is of {iso(story.read_ms)}."
    else:
        yield "  Nothing was decided yet: start a governor (`milepost run governor`)."
    if story.backlog:
        yield f"  {story.backlog} records wait to be decided: is a governor running?"


def _told(story: Story, letters: Mapping[clients.Position, Letter]) -> Iterator[str]:
    width = terminal_width()
    for entity in dict.fromkeys(entry.verdict["entity"] for entry in story.entries):
        approved = [record for record in story.approved if trail.key_of(record) == entity]
        status = approved[-1]["status_after"] if approved else ""
        yield f"{entity or 'no entity'}{f': {status}' if status else ''}"
        for entry in story.entries:
            if entry.verdict["entity"] == entity:
                yield from _entry(entry, letters.get(entry.place), width)
        if approved:
            yield "  Published:"
            yield from (f"    {line}" for line in _revisions(approved, width))
        yield ""
    for item in story.undecided:
        place = item.place
        yield (
            f"{iso(item.received_ms)}  {place.topic}[{place.partition}]@{place.offset}: received,"
            " not decided yet"
        )
    if story.undecided:
        yield "Is a governor running? See `milepost status`."


def _entry(entry: Entry, letter: Letter | None, width: int | None) -> Iterator[str]:
    row = entry.verdict
    who = row["platform"] or entry.topic
    what = f": {entry.what}" if entry.what else ""
    named = row["claim"] or f"{entry.topic}[{entry.partition}]@{entry.offset}"
    yield from wrapped(f"{iso(row['received'])}  {who}{what}  ({named})", "  ", width)
    stated = [] if row["occurred"] is None else [f"stated {iso(row['occurred'])}"]
    stated += [f"rule {row['rule']} of bundle {entry.policy_version}"] if row["rule"] else []
    yield from wrapped("; ".join(stated), "      ", width) if stated else ()
    why = f"{row['disposition']}: {meaning(row['reason'], row['disposition'])}"
    if letter is not None and row["disposition"] == Disposition.DEAD_LETTERED:
        why += f": {letter.detail}"
    if row["deadline"] is not None and entry.fate == Disposition.HELD:
        why += f"; it waits until {iso(row['deadline'])}"
    yield from wrapped(why, "      ", width)
    for moved in entry.transitions:
        why = meaning(moved["reason"], moved["after"])
        then = f"then {moved['after']} ({iso(moved['published'])}): {why}"
        then += f" (rule {moved['rule']})" if moved["rule"] not in {"", row["rule"]} else ""
        yield from wrapped(then, "      ", width)
    if letter is not None:
        yield f"      see `milepost dead-letters show {letter.name}`"


def _revisions(approved: list[Record], width: int | None) -> Iterator[str]:
    rows = [
        (
            str(record["entity_seq"]),
            record["event_type"],
            f"r{record['revision']}",
            record["action"],
            "" if record["assurance"] == "AUTHORITATIVE" else record["assurance"].lower(),
            iso(record["occurred"]),
            record["platform"],
        )
        for record in approved
    ]
    heading = ("seq", "milestone", "rev", "action", "", "occurred", "by")
    yield from table(heading, rows, cut=(1, 6), width=None if width is None else width - 4)


@audit.command("state-at")
def state_at(
    name: Annotated[str, typer.Argument(help="An entity's key or id.")],
    as_of: Annotated[str | None, typer.Option(help="What had happened by then; ISO 8601.")] = None,
    known_at: Annotated[str | None, typer.Option(help="What was published by then.")] = None,
    *,
    as_json: Json = False,
) -> None:
    """Show what stood of an entity at a time, as it was known at a time, and by whose word.

    Ends with 1 if nothing stood.
    """
    happened, known = moment("--as-of", as_of), moment("--known-at", known_at)
    with explained(), inspected() as evidence:
        story = trail.story(evidence, declared_topics(), name)
        state = trail.state_at(story, as_of=happened, known_at=known)
        if as_json:
            document(
                {
                    "name": name,
                    "as_of": None if happened == END_OF_TIME else happened,
                    "known_at": None if known == END_OF_TIME else known,
                    "entities": [item._asdict() for item in state],
                }
            )
        else:
            for item in state:
                typer.echo(f"{item.key}: {item.status or 'without status'}")
                for line in _standing(item.standing):
                    typer.echo(f"  {line}")
        if not state:
            reason = "had nothing that stood then" if story.entries else "is not known"
            fail(f"Nothing stood: {name!r} {reason}", FOUND)


def _standing(standing: list[Record]) -> Iterator[str]:
    width = terminal_width()
    rows = [
        (
            record["event_type"],
            iso(record["occurred"]),
            record["platform"],
            "" if record["assurance"] == "AUTHORITATIVE" else record["assurance"].lower(),
            f"r{record['revision']}",
            f"{record['rule'] or '-'} ({record['policy_version']})",
        )
        for record in standing
    ]
    heading = ("milestone", "occurred", "by", "", "rev", "rule (bundle)")
    yield from table(heading, rows, cut=(0, 5), width=None if width is None else width - 2)
