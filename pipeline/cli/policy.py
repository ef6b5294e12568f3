"""`milepost policy`: check a bundle, show who owns what, explain one claim, publish, see what is
in force. Must never hold a rule of governance.
"""

from __future__ import annotations

import getpass
from datetime import UTC, datetime
from itertools import groupby
from pathlib import Path
from typing import Annotated, Any

import typer
from rich.table import Table

from pipeline import settings as configuration
from pipeline.cli.events import read_events
from pipeline.cli.terminal import (
    FOUND,
    Json,
    document,
    explained,
    fail,
    stdout,
    surroundings,
)
from pipeline.contract import policy_lint
from pipeline.contract import topics as contract_topics
from pipeline.contract.bundle import LoadedBundle, Rule, load_files
from pipeline.kafka import bundles
from pipeline.kafka.registry import Registry
from pipeline.operations import policy_status
from pipeline.testing import explaining

commands = typer.Typer(no_args_is_help=True, help="Who may say what: check, explain, publish.")
_Folder = Annotated[
    Path | None, typer.Option("--folder", help="Another bundle than MILEPOST_POLICY_DIR's.")
]


@commands.command()
def check(folder: _Folder = None, *, as_json: Json = False) -> None:
    """Judge a bundle offline: one owner for everything, no unknown names, no overlaps."""
    with explained():
        loaded = _load(folder)
        findings = policy_lint.lint(loaded, contract_topics.load())
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


@commands.command()
def table(
    folder: _Folder = None,
    tenant: Annotated[str | None, typer.Option(help="Only this tenant.")] = None,
    *,
    as_json: Json = False,
) -> None:
    """Show who owns what, where and since when."""
    with explained():
        bundle = _load(folder).bundle
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
        shown = Table(title=f"Who owns which milestone, bundle {bundle.version}", show_lines=True)
        for column in ("tenant", "regions", "owner", "event types", "deputies", "since"):
            shown.add_column(column, overflow="fold")
        for (name, _), group in groupby(rows, key=lambda row: (row["tenant"], row["rule"])):
            same = list(group)
            first = same[0]
            shown.add_row(
                name,
                first["regions"],
                first["owner"],
                ", ".join(row["event_type"] for row in same),
                first["deputies"] or "none",
                first["since"] + (f" until {first['until']}" if first["until"] else ""),
            )
        stdout.print(shown)


@commands.command()
def explain(
    file: Annotated[Path, typer.Argument(help="JSON: one raw event, or a list in order.")],
    folder: _Folder = None,
    *,
    as_json: Json = False,
) -> None:
    """Take a claim through every step of the policy, offline."""
    with explained():
        steps = explaining.explain(_load(folder).bundle, read_events(file))
        if as_json:
            document({"events": [step.document() for step in steps]})
            return
        for step in steps:
            typer.echo(step.text())


@commands.command()
def publish(
    folder: _Folder = None,
    by: Annotated[str | None, typer.Option(help="Who publishes; default: you.")] = None,
    why: Annotated[str, typer.Option(help="Reason, for the record.")] = "published",
    *,
    as_json: Json = False,
) -> None:
    """Publish a checked bundle and put it in force on every partition."""
    with explained():
        settings, where = surroundings()
        loaded = _load(folder)
        findings = policy_lint.lint(loaded, contract_topics.load())
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
            )
        if as_json:
            document({"version": loaded.bundle.version, "activated": done})
        else:
            news = f"activated on partitions {done}" if done else "was in force everywhere"
            typer.echo(f"Bundle {loaded.bundle.version} {news}.")


@commands.command()
def status(*, as_json: Json = False) -> None:
    """Show which bundle each partition is told to use, and which its ledger shows."""
    with explained():
        settings, where = surroundings()
        rows = policy_status.status(settings, where.bootstrap)
        waiting = [row for row in rows if row.activated != row.in_force]
        if as_json:
            document({"partitions": [row._asdict() for row in rows], "settled": not waiting})
        else:
            shown = Table(title="Policy by partition")
            for column in ("partition", "activated", "in force", "since", "by"):
                shown.add_column(column)
            for row in rows:
                since = datetime.fromtimestamp(row.written_ms / 1000, UTC).isoformat(
                    timespec="seconds"
                )
                shown.add_row(
                    str(row.partition), row.activated or "-", row.in_force or "-", since, row.by
                )
            stdout.print(shown)
        raise typer.Exit(FOUND if waiting else 0)


def _load(folder: Path | None) -> LoadedBundle:
    return load_files(folder or configuration.load().policy_dir)


def _deputies(rule: Rule) -> str:
    def named(deputy: Any) -> str:
        who = deputy.platform or f"any {deputy.role}"
        return f"{who} after {deputy.after}"

    return "; ".join(named(deputy) for deputy in rule.deputies)
