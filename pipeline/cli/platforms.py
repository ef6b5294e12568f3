"""`milepost platforms`: whom the governor trusts now; stop trusting a platform, trust it again.

Must never decide what that means for a claim: the governor does.
"""

from __future__ import annotations

import difflib
import functools
import getpass
from collections.abc import Iterator, Sequence
from itertools import groupby
from typing import Annotated, Any

import typer

from pipeline.cli.listing import iso, table, terminal_width, wrapped
from pipeline.cli.restoring import restored
from pipeline.cli.surroundings import explained, inspected, surroundings
from pipeline.cli.terminal import FOUND, WRONG_USE, Json, document, fail
from pipeline.cli.times import moment, now_ms
from pipeline.contract import names
from pipeline.contract.bundle import Bundle
from pipeline.governance.reasons import Reason
from pipeline.governance.vocabulary import ControlKind
from pipeline.kafka import bundles, clients
from pipeline.kafka.registry import Registry
from pipeline.operations import platforms as trust
from pipeline.operations import steering
from pipeline.operations.platforms import HeldBack, Trusted, Waiting
from pipeline.operations.proof.evidence import Evidence
from pipeline.operations.steering import Steered
from pipeline.streams.state import PartitionState

commands = typer.Typer(no_args_is_help=True, help="Whom to trust now: status, suspend, release.")
_Name = Annotated[str, typer.Argument(metavar="PLATFORM", help="As in policy/platforms.yaml.")]
_By = Annotated[str | None, typer.Option(help="Who wants it; default: you.")]
_WORDS = {
    Reason.PLATFORM_SUSPENDED.value: "suspended",
    Reason.PLATFORM_BRAKED.value: "braked",
}
_NEWS = {
    ControlKind.SUSPEND: ("is suspended", "was suspended everywhere"),
    ControlKind.RELEASE: ("is trusted again", "was trusted everywhere"),
    ControlKind.WATERMARK: ("has said that it is complete", "had said so already"),
}


@commands.command()
def status(*, as_json: Json = False) -> None:
    """Show who is held back, where, why, since when, and how many claims wait for it.

    Ends with 1 if somebody is held back.
    """
    with explained(), inspected() as evidence:
        partitions = trusted(evidence)
        rows = trust.held_back(evidence, partitions)
        if as_json:
            document(_document(partitions, rows))
        else:
            for line in _told(partitions, rows):
                typer.echo(line)
        raise typer.Exit(FOUND if rows else 0)


@commands.command()
def suspend(
    name: _Name,
    why: Annotated[str, typer.Option(help="Reason, for the record.")],
    by: _By = None,
    *,
    as_json: Json = False,
) -> None:
    """Stop trusting a platform at once, without a deploy.

    What it said stays. What it says from now on is held, with a deadline; its
    deputies stand in as if it were silent. `release` lets its claims be
    judged, in order.
    """
    _steer(ControlKind.SUSPEND, name, by, why, as_json=as_json)


@commands.command()
def release(
    name: _Name,
    why: Annotated[str, typer.Option(help="Reason, for the record.")],
    by: _By = None,
    *,
    as_json: Json = False,
) -> None:
    """Trust a suspended or braked platform again: its claims are judged, in order."""
    _steer(ControlKind.RELEASE, name, by, why, as_json=as_json)


@commands.command()
def watermark(
    name: _Name,
    complete_to: Annotated[
        str, typer.Option("--complete-to", help="ISO 8601: everything until then has been sent.")
    ],
    why: Annotated[str, typer.Option(help="Reason, for the record.")] = "complete",
    by: _By = None,
    *,
    as_json: Json = False,
) -> None:
    """Say up to when a platform has sent everything.

    It tells an owner that was silent from one whose source was down. It never
    moves back, so it can't lie in the future.
    """
    at, now = moment("--complete-to", complete_to), now_ms()
    if trust.too_early(at, now):
        fail(
            f"--complete-to {complete_to}: it lies in the future, and can't be moved back once it"
            f" is said. Give a time that has passed: it is {iso(now)} now",
            WRONG_USE,
        )
    _steer(ControlKind.WATERMARK, name, by, why, complete_to=at, as_json=as_json)


def _steer(
    kind: ControlKind,
    name: str,
    by: str | None,
    why: str,
    *,
    complete_to: int | None = None,
    as_json: bool,
) -> None:
    if not why.strip():
        fail("--why: say why, for the record", WRONG_USE)
    with explained(), inspected() as evidence:
        settings, where = surroundings()
        bundle = bundles.in_force(settings, where.bootstrap)
        if bundle is None:
            fail("No policy bundle is in force: run `milepost policy publish`", FOUND)
        _check_known(bundle, name)
        if kind is ControlKind.WATERMARK and not trust.asks_for_watermarks(bundle, name):
            typer.echo(
                f"Bundle {bundle.version} does not ask how far {name} is complete, so this decides"
                f" nothing yet: set `watermarks: true` in its row of platforms.yaml, and publish",
                err=True,
            )
        who = by or getpass.getuser()
        records = trust.changes(kind, name, trusted(evidence), who, why, complete_to)
        with Registry.of(settings, where.registry_url) as registry:
            schema_id = registry.id_for(names.subject(names.CONTROL), "control")
        producer = clients.producer(settings, where.bootstrap)
        done = steering.steer(
            evidence, records, schema_id, functools.partial(clients.deliver, producer)
        )
        if as_json:
            document({"platform": name, "written": [item.document() for item in done]})
        elif done:
            numbers = ", ".join(str(item.partition) for item in done)
            typer.echo(f"{name} {_NEWS[kind][0]}: partitions {numbers}.")
        else:
            typer.echo(f"{name} {_NEWS[kind][1]}: nothing was written.")
        _check_applied(done)


def _check_known(bundle: Bundle, name: str) -> None:
    known = [row.name for row in bundle.platforms]
    if name in known:
        return
    close = difflib.get_close_matches(name, known, 1)
    hint = f"did you mean {close[0]}? " if close else ""
    fail(
        f"{name!r} is no platform of bundle {bundle.version}: {hint}Known are {', '.join(known)}",
        WRONG_USE,
    )


def _check_applied(done: Sequence[Steered]) -> None:
    if any(item.entry is None for item in done):
        fail(steering.NOT_SHOWN, FOUND)
    ignored = [str(item.partition) for item in done if not item.applied]
    if ignored:
        fail(
            f"Partitions {', '.join(ignored)} ignored it: their bundle does not know the platform;"
            " see `milepost policy status`",
            FOUND,
        )


def trusted(evidence: Evidence) -> list[Trusted]:
    """What each partition's state says of the platforms.

    Raises:
        UnreachableError: Kafka is away.
        ValueError: a newer Milepost wrote it.

    """
    return [_of(state) for state in restored(evidence)]


def _of(state: PartitionState) -> Trusted:
    """What a partition's state says of the platforms."""
    deadlines: dict[str, list[int]] = {}
    for key in state.waiting("platform_"):
        for held in state.open(key).held:
            if held.reason in trust.UNSEEN:
                deadlines.setdefault(held.claim.body["platform"], []).append(held.deadline)
    return Trusted(
        state.partition,
        state.policy_version or "",
        state.trust.held_back,
        dict(state.time.complete),
        {name: Waiting(len(times), min(times)) for name, times in deadlines.items()},
    )


def _document(partitions: Sequence[Trusted], rows: Sequence[HeldBack]) -> dict[str, Any]:
    return {
        "held_back": [row._asdict() for row in rows],
        "partitions": [
            {
                "partition": item.partition,
                "policy_version": item.policy_version,
                "complete_to": item.complete_to,
                "waiting": {name: kept._asdict() for name, kept in item.waiting.items()},
            }
            for item in partitions
        ],
    }


def _told(partitions: Sequence[Trusted], rows: Sequence[HeldBack]) -> Iterator[str]:
    width = terminal_width()
    if not any(item.policy_version for item in partitions):
        yield "No partition is governed yet: run `milepost policy publish` and a governor."
        return
    for name, group in groupby(rows, key=lambda row: row.platform):
        yield from _held(name, list(group), width)
        yield ""
    if rows:
        yield "`milepost platforms release PLATFORM --why '…'` has what waits judged."
    else:
        yield f"Every platform is trusted, on all {len(partitions)} partitions."
    complete: dict[str, int] = {}
    for item in partitions:
        for name, at in item.complete_to.items():
            complete[name] = min(at, complete.get(name, at))
    for name, at in sorted(complete.items()):
        yield f"{name} is complete up to {iso(at)}."


def _held(name: str, rows: list[HeldBack], width: int | None) -> Iterator[str]:
    words = sorted({_WORDS.get(row.reason, row.reason) for row in rows})
    claims = sum(row.claims for row in rows)
    waits = f"{claims} claim waits" if claims == 1 else f"{claims} claims wait"
    yield f"{name}: {' and '.join(words)}, {waits}"
    for by, why in sorted({(row.by, row.why) for row in rows if row.by}):
        yield from wrapped(f"by {by}: {why}", "  ", width)
    cells = [
        (
            str(row.partition),
            _WORDS.get(row.reason, row.reason),
            iso(row.since_ms) or "not known",
            str(row.claims),
            iso(row.first_deadline_ms) or "-",
        )
        for row in rows
    ]
    heading = ("partition", "why", "since", "held", "first ends")
    for line in table(heading, cells, width=None if width is None else width - 2):
        yield f"  {line}"
