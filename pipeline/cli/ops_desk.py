"""`milepost ops-desk`: a person states a milestone, or takes a statement back, under the policy.

Must never judge what is stated: the governor does.
"""

from __future__ import annotations

import re
import shlex
import uuid
from datetime import datetime
from typing import Annotated, Final, NamedTuple

import typer

from connectors.addressing import Addressing, UnaddressableError
from connectors.sources.event_model import Moment
from pipeline.cli import terminal
from pipeline.cli.desk_answers import Answer, answer
from pipeline.cli.listing import terminal_width, wrapped
from pipeline.cli.send import Record, check_decided, judged, shown
from pipeline.cli.surroundings import explained, inspected, surroundings
from pipeline.cli.terminal import FOUND, WRONG_USE, Json, fail
from pipeline.cli.times import now_ms
from pipeline.contract.bundle import Bundle
from pipeline.governance.vocabulary import Disposition, Precision
from pipeline.kafka import bundles
from pipeline.operations import dead_letters, ops_desk
from pipeline.operations.dead_letters import Filter
from pipeline.operations.ops_desk import Said, UnstatableError
from pipeline.operations.proof.evidence import TopicEvidence
from pipeline.operations.trail import Entry

commands = typer.Typer(no_args_is_help=True, help="What a person states, by telephone or e-mail.")
_TODAY: Final = re.compile(r"\d{1,2}:\d{2}(:\d{2})?(Z|[+-]\d{2}:\d{2})")


@commands.command()
def state(
    key: Annotated[str, typer.Argument(help="acme/shipment/S-1001, order/4711 or S-1001.")],
    event_type: Annotated[
        str, typer.Argument(help="What happened, e.g. delivered; none with --retract.")
    ] = "",
    by: Annotated[str, typer.Option(help="Who states it: a person's name.")] = "",
    why: Annotated[str, typer.Option(help="How it is known, e.g. 'the driver phoned'.")] = "",
    at: Annotated[
        str, typer.Option(help="When, with its offset: 2026-11-25T10:05+01:00, or 10:05+01:00.")
    ] = "",
    stop: Annotated[str, typer.Option(help="Where: a site's code, or the stop's number.")] = "",
    document: Annotated[str, typer.Option(help="Number of the document it is about.")] = "",
    retract: Annotated[
        str, typer.Option(metavar="EVENT_ID", help="Take back a statement of the desk.")
    ] = "",
    platform: Annotated[str, typer.Option(help="Which desk, if several serve the tenant.")] = "",
    *,
    estimate: Annotated[bool, typer.Option("--estimate", help="It is expected, not done.")] = False,
    as_json: Json = False,
) -> None:
    """State a milestone for a person, and show how it was judged.

    Policy decides what it is worth: by default the desk is the last deputy,
    so its word waits for the owner's, then stands provisionally. Name and
    reason are in the record. Ends with 1 if it was refused.
    """
    if not by.strip() or not why.strip():
        fail("Say who states it and how it is known: --by and --why", WRONG_USE)
    if bool(event_type) == bool(retract):
        fail("Give what happened, e.g. delivered, or --retract EVENT_ID, not both", WRONG_USE)
    moment = _moment(at)
    said = Said(
        key,
        event_type,
        retract,
        moment.utc_ms,
        moment.precision,
        moment.offset_minutes,
        stop,
        document,
        estimate,
        by,
        why,
    )
    with explained(), inspected() as evidence:
        settings, where = surroundings()
        bundle = bundles.in_force(settings, where.bootstrap)
        if bundle is None:
            fail("No policy bundle is in force: run `milepost policy publish`", FOUND)
        event_id = f"desk-{uuid.uuid4().hex[:12]}"
        try:
            event = ops_desk.statement(bundle, said, event_id, now_ms(), platform)
        except UnstatableError as error:
            fail(str(error), WRONG_USE)
        _check_said(evidence, bundle, event)
        (entry,) = judged(evidence, bundle, [event], what="the statement")
        told = None if entry is None else _answer(evidence, bundle, entry, retracts=bool(retract))
        if as_json:
            terminal.document({"events": [_document(entry, told)]})
        else:
            desk = f" --platform {platform}" if platform else ""
            again = f"milepost ops-desk state {shlex.quote(key)}{desk} --retract {event_id}"
            _show(event, entry, told, again)
        check_decided([entry])
        raise typer.Exit(FOUND if told is not None and told.refused else 0)


def _check_said(evidence: TopicEvidence, bundle: Bundle, event: Record) -> None:
    """Refuse to take back what was not said."""
    if event["retracts"] is None:
        return
    try:
        key = Addressing(bundle).address(event).key
    except UnaddressableError as error:
        fail(f"The statement: {error}", WRONG_USE)
    why = ops_desk.not_to_be_taken_back(evidence, event, key.decode())
    if why:
        fail(f"Nothing was sent: {why}", FOUND)


def _answer(evidence: TopicEvidence, bundle: Bundle, entry: Entry, *, retracts: bool) -> Answer:
    key, waits = entry.verdict["entity"], entry.fate == Disposition.HELD
    known = ops_desk.known(evidence, key) if key and waits else None
    return answer(entry, bundle, known, _detail(evidence, entry), retracts=retracts)


def _detail(evidence: TopicEvidence, entry: Entry) -> str:
    """What the dead letter of a statement says; empty: there is none."""
    if entry.fate != Disposition.DEAD_LETTERED:
        return ""
    found = dead_letters.read(evidence, Filter(since_ms=entry.verdict["received"]))
    return next((letter.detail for letter in found if letter.place == entry.place), "")


def _document(entry: Entry | None, told: Answer | None) -> Record | None:
    if entry is None or told is None:
        return None
    return entry.document() | {"meaning": told.meaning, "notes": told.notes}


def _show(event: Record, entry: Entry | None, told: Answer | None, again: str) -> None:
    typer.echo(shown(event, entry, "" if told is None else told.meaning))
    if entry is None or told is None:
        return
    for note in told.notes:
        for line in wrapped(note, "  ", terminal_width()):
            typer.echo(line)
    if told.can_be_taken_back:
        typer.echo(f"To take it back: {again} --by '…' --why '…'")


class _When(NamedTuple):
    utc_ms: int
    precision: Precision
    offset_minutes: int | None


def _moment(text: str) -> _When:
    """When it happened, as a person says it; nothing: now."""
    if not text:
        return _When(now_ms() // 60_000 * 60_000, Precision.MINUTE, None)
    whole = text
    if _TODAY.fullmatch(text):
        clock = text if text[1:2].isdecimal() else f"0{text}"
        zone = datetime.fromisoformat(f"2000-01-01T{clock}").tzinfo
        whole = f"{datetime.now(zone).date().isoformat()}T{clock}"
    try:
        found = Moment(whole)
    except ValueError as error:
        fail(f"--at {text!r}: {error}", WRONG_USE)
    return _When(found.utc_ms, found.precision, found.offset_minutes)
