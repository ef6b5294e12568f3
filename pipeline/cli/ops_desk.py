"""`milepost ops-desk`: a person states a milestone, or takes a statement back, under the policy.

Must never judge what is stated: the governor does.
"""

from __future__ import annotations

import re
import uuid
from datetime import datetime
from typing import Annotated, Final, NamedTuple

import typer

from connectors.sources.event_model import Moment
from pipeline.cli.send import govern
from pipeline.cli.surroundings import explained, inspected, surroundings
from pipeline.cli.terminal import FOUND, WRONG_USE, Json, fail
from pipeline.cli.times import now_ms
from pipeline.governance.vocabulary import Precision
from pipeline.kafka import bundles
from pipeline.operations import ops_desk
from pipeline.operations.ops_desk import Said, UnstatableError

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
    reason are in the record.
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
        govern(evidence, bundle, [event], what="the statement", as_json=as_json)
        if not as_json and not retract:
            again = f"milepost ops-desk state {key} --retract {event_id} --by '…' --why '…'"
            typer.echo(f"To take it back: {again}")


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
