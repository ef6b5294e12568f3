"""`milepost policy`: check a bundle, show who owns what, publish, see what is in force.

The other commands are beside it: compare, explain, go back, decide the past again. Must never hold
a rule of governance.
"""

from __future__ import annotations

import getpass
from collections.abc import Iterator
from itertools import groupby
from pathlib import Path
from typing import Annotated, Any

import typer

from pipeline import settings as configuration
from pipeline.cli.listing import iso, table, terminal_width, wrapped
from pipeline.cli.policy_activate import activate
from pipeline.cli.policy_diff import diff
from pipeline.cli.policy_explain import explain
from pipeline.cli.policy_redecide import redecide
from pipeline.cli.surroundings import declared_topics, explained, surroundings
from pipeline.cli.terminal import FOUND, WRONG_USE, Json, document, fail
from pipeline.contract import policy_lint
from pipeline.contract.bundle import LoadedBundle, Rule, load_files
from pipeline.contract.policy_words import span
from pipeline.kafka import bundles
from pipeline.kafka.decoding import Decoder
from pipeline.kafka.reading import LogReader
from pipeline.kafka.registry import Registry
from pipeline.operations import policy_status
from pipeline.operations.policy_status import PartitionPolicy

commands = typer.Typer(no_args_is_help=True, help="Who may say what: check, explain, publish.")
_Folder = Annotated[Path | None, typer.Argument(help="Another bundle than MILEPOST_POLICY_DIR's.")]
_Option = Annotated[Path | None, typer.Option("--folder", help="The same as FOLDER.")]


@commands.command()
def check(folder: _Folder = None, option: _Option = None, *, as_json: Json = False) -> None:
    """Judge a bundle offline: one owner for everything, no unknown names, no overlaps."""
    with explained():
        loaded = _load(folder, option)
        findings = policy_lint.lint(loaded, declared_topics())
        if as_json:
            document(
                {
                    "version": loaded.bundle.version,
                    "digest": loaded.bundle.digest(),
                    "findings": [finding._asdict() for finding in findings],
                }
            )
        else:
            for finding in findings:
                typer.echo(str(finding))
            if not findings:
                bundle = loaded.bundle
                combinations = (
                    len(bundle.heading.tenants)
                    * len(bundle.event_types)
                    * len(bundle.heading.regions)
                )
                typer.echo(
                    f"Bundle {bundle.version}: {combinations} combinations of tenant, event type"
                    " and region, each with exactly one owner. Nothing found."
                )
        raise typer.Exit(FOUND if findings else 0)


@commands.command("table")
def table_(
    folder: _Folder = None,
    option: _Option = None,
    tenant: Annotated[str | None, typer.Option(help="Only this tenant.")] = None,
    *,
    as_json: Json = False,
) -> None:
    """Show who owns what, where and since when."""
    with explained():
        bundle = _load(folder, option).bundle
        rows = [
            {
                "tenant": name,
                "event_type": event_type,
                "regions": "any" if rule.regions == "any" else ", ".join(rule.regions),
                "owner": rule.owner,
                "deputies": _deputies(rule),
                "since": rule.from_.date().isoformat(),
                "until": "" if rule.until is None else rule.until.date().isoformat(),
                "rule": rule.rule,
            }
            for rule in bundle.rules
            for name in (bundle.heading.tenants if rule.tenants == "any" else rule.tenants)
            for event_type in rule.event_types
            if tenant in {None, name}
        ]
        if as_json:
            document({"version": bundle.version, "rows": rows})
            return
        typer.echo(f"Who owns which milestone, bundle {bundle.version}")
        width = terminal_width()
        for (name, _), group in groupby(rows, key=lambda row: (row["tenant"], row["rule"])):
            same = list(group)
            first = same[0]
            where = "everywhere" if first["regions"] == "any" else f"in {first['regions']}"
            until = f" until {first['until']}" if first["until"] else ""
            typer.echo("")
            typer.echo(f"{first['rule']}: {name} {where}, since {first['since']}{until}")
            typer.echo(f"  owner       {first['owner']}")
            if first["deputies"]:
                for line in wrapped(f"deputies    {first['deputies']}", "  ", width):
                    typer.echo(line)
            listed = ", ".join(row["event_type"] for row in same)
            for line in wrapped(listed, "    ", width):
                typer.echo(line)


commands.command("diff")(diff)
commands.command("explain")(explain)
commands.command("redecide")(redecide)


@commands.command()
def publish(
    folder: _Folder = None,
    option: _Option = None,
    by: Annotated[str | None, typer.Option(help="Who publishes; default: you.")] = None,
    why: Annotated[str, typer.Option(help="Reason, for the record.")] = "published",
    *,
    unless_in_force: Annotated[
        bool,
        typer.Option(
            "--unless-in-force", help="Only where no bundle is in force yet, whichever it is."
        ),
    ] = False,
    as_json: Json = False,
) -> None:
    """Publish a checked bundle and put it in force on every partition."""
    with explained():
        settings, where = surroundings()
        loaded = _load(folder, option)
        findings = policy_lint.lint(loaded, declared_topics())
        if findings:
            fail("Not published:\n" + "\n".join(map(str, findings)), FOUND)
        with Registry.of(settings, where.registry_url) as registry:
            done = bundles.publish(
                settings,
                where.bootstrap,
                registry,
                loaded.bundle,
                by=by or getpass.getuser(),
                why=why,
                unless_in_force=unless_in_force,
            )
        if as_json:
            document({"version": loaded.bundle.version, "activated": done})
        elif unless_in_force and not done:
            told = bundles.activations(settings, where.bootstrap)
            kept = ", ".join(sorted({item.version for item in told}))
            typer.echo(
                f"Nothing published: bundle {kept} stays in force. To put {loaded.bundle.version}"
                " in its place, run `milepost policy publish`."
            )
        else:
            news = f"activated on partitions {done}" if done else "was in force everywhere"
            typer.echo(f"Bundle {loaded.bundle.version} {news}.")


commands.command("activate")(activate)


@commands.command()
def status(*, as_json: Json = False) -> None:
    """Show which bundle each partition is told to use, and which its ledger shows."""
    with explained():
        settings, where = surroundings()
        with (
            LogReader(settings, where.bootstrap) as reader,
            Registry.of(settings, where.registry_url) as registry,
        ):
            rows = policy_status.status(reader, Decoder(registry))
        waiting = [row for row in rows if row.activated != row.in_force]
        if as_json:
            document({"partitions": [row._asdict() for row in rows], "settled": not waiting})
        else:
            cells = [
                (
                    str(row.partition),
                    row.activated or "-",
                    row.in_force or "-",
                    iso(row.written_ms) if row.activated else "-",
                    row.by or "-",
                )
                for row in rows
            ]
            heading = ("partition", "activated", "in force", "activated at", "by")
            for line in table(heading, cells, cut=(1, 2, 4), width=terminal_width()):
                typer.echo(line)
            for line in _unsettled(rows):
                typer.echo(line)
        raise typer.Exit(FOUND if waiting else 0)


def _unsettled(rows: list[PartitionPolicy]) -> Iterator[str]:
    if not rows:
        yield "There are no topics: run `milepost topics apply`."
    elif not any(row.activated for row in rows):
        yield "No bundle is in force: run `milepost policy publish`."
    elif any(row.activated != row.in_force for row in rows):
        yield "Not settled: is a governor running, and does it say what it waits for?"


def _load(folder: Path | None, option: Path | None) -> LoadedBundle:
    if folder is not None and option not in {None, folder}:
        fail(f"Say one folder: {folder} or {option}", WRONG_USE)
    return load_files(folder or option or configuration.load().policy_dir)


def _deputies(rule: Rule) -> str:
    def named(deputy: Any) -> str:
        who = deputy.platform or f"any {deputy.role}"
        return f"{who} after {span(deputy.after)}"

    return "; ".join(named(deputy) for deputy in rule.deputies)
