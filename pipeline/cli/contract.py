"""`milepost topics` and `milepost schemas`: the contract, compared with a cluster and a registry.

Renders what `pipeline.contract` and `pipeline.kafka` find. Must never decide anything itself.
"""

from __future__ import annotations

import contextlib
from collections.abc import Iterator
from pathlib import Path
from typing import Annotated

import typer

from pipeline import settings as configuration
from pipeline.cli.surroundings import declared_topics, explained
from pipeline.cli.terminal import FOUND, Json, document, fail
from pipeline.contract import schemas as contract_schemas
from pipeline.contract.names import data_root
from pipeline.kafka import clients
from pipeline.kafka import topics as cluster
from pipeline.kafka.errors import UnreachableError
from pipeline.kafka.registration import RegistrationRefusedError, register
from pipeline.kafka.registry import Registry
from pipeline.local.stack import addresses
from pipeline.settings import Settings

topics = typer.Typer(no_args_is_help=True, help="Topics: what is declared and what a cluster has.")
schemas = typer.Typer(no_args_is_help=True, help="Schemas: check them, register them.")

_File = Annotated[
    Path | None, typer.Option("--file", help="Another topics.yaml than MILEPOST_TOPICS_FILE's.")
]
_Folder = Annotated[
    Path | None, typer.Option("--folder", help="Another folder of schemas than the one that ships.")
]
_Replication = Annotated[
    int | None,
    typer.Option(min=1, max=10, help="Replicas of topics to create, instead of the declared."),
]
_Destructive = Annotated[
    bool, typer.Option("--allow-destructive", help="Also take steps that lose data or safety.")
]


@topics.command("plan")
def topics_plan(
    file: _File = None,
    replication: _Replication = None,
    allow_destructive: _Destructive = False,  # noqa: FBT002  typer's way of a flag
    as_json: Json = False,  # noqa: FBT002
) -> None:
    """Show what lies between the cluster's topics and topics.yaml; changes nothing."""
    with _explained():
        intended = _planned(configuration.load(), file, replication)
        blocked = bool(intended.refusals or (intended.destructive and not allow_destructive))
        if as_json:
            document(intended.document() | {"blocked": blocked})
        else:
            _show(intended)
            if intended.destructive and not allow_destructive:
                note = "Steps marked ! lose data or safety: `apply` needs --allow-destructive."
                typer.echo(note, err=True)
        raise typer.Exit(FOUND if blocked else 0)


@topics.command("apply")
def topics_apply(
    file: _File = None,
    replication: _Replication = None,
    allow_destructive: _Destructive = False,  # noqa: FBT002
    as_json: Json = False,  # noqa: FBT002
) -> None:
    """Create and configure the cluster's topics as topics.yaml declares them."""
    with _explained():
        settings = configuration.load()
        intended = _planned(settings, file, replication)
        bootstrap = _bootstrap(settings)
        client = clients.admin(settings, bootstrap)
        cluster.apply(client, bootstrap, intended, allow_destructive=allow_destructive)
        if as_json:
            document(intended.document())
        else:
            _show(intended)


@schemas.command("check")
def schemas_check(
    folder: _Folder = None,
    file: _File = None,
    as_json: Json = False,  # noqa: FBT002
) -> None:
    """Judge the schemas, alone and against their committed versions; needs no network."""
    with _explained():
        declared = declared_topics(file)
        home = folder or data_root() / "schemas"
        findings = contract_schemas.check(home, declared)
        count = len(list(home.glob("*.avsc")))
        if as_json:
            document({"schemas": count, "findings": [item._asdict() for item in findings]})
        else:
            for line in map(str, findings) if findings else [f"{count} schemas, nothing found."]:
                typer.echo(line)
        raise typer.Exit(FOUND if findings else 0)


@schemas.command("register")
def schemas_register(
    folder: _Folder = None,
    file: _File = None,
    as_json: Json = False,  # noqa: FBT002
) -> None:
    """Give every subject its compatibility mode and its schema, both read back."""
    with _explained():
        settings = configuration.load()
        declared = declared_topics(file)
        home = folder or data_root() / "schemas"
        findings = contract_schemas.check(home, declared)
        if findings:
            fail("\n".join(["Nothing was registered:", *map(str, findings)]), FOUND)
        done = []
        with Registry.of(settings, _registry_url(settings)) as registry:
            for item in register(registry, home, declared):
                done.append(item._asdict())
                if not as_json:
                    news = "registered" if item.new else "was registered"
                    typer.echo(
                        f"{item.subject}: {item.schema} {news} as id {item.schema_id}, {item.mode}"
                    )
        if as_json:
            document({"subjects": done})


def _planned(settings: Settings, file: Path | None, replication: int | None) -> cluster.Plan:
    declared = declared_topics(file)
    bootstrap = _bootstrap(settings)
    client = clients.admin(settings, bootstrap)
    return cluster.plan(declared, cluster.describe(client, bootstrap, declared), replication)


def _addresses(settings: Settings) -> tuple[str | None, str | None]:
    """Kafka's and the registry's, each set or else the running local stack's."""
    running = addresses(settings)
    return (
        settings.bootstrap_servers or (running.bootstrap if running else None),
        settings.registry_url or (running.registry_url if running else None),
    )


def _bootstrap(settings: Settings) -> str:
    found, _ = _addresses(settings)
    if found is None:
        raise UnreachableError(
            "No Kafka is known: start one (`milepost up`) or set MILEPOST_BOOTSTRAP_SERVERS"
        )
    return found


def _registry_url(settings: Settings) -> str:
    _, found = _addresses(settings)
    if found is None:
        raise UnreachableError(
            "No schema registry is known: start one (`milepost up`) or set MILEPOST_REGISTRY_URL"
        )
    return found


@contextlib.contextmanager
def _explained() -> Iterator[None]:
    """Turn what can go wrong into a message and an exit code."""
    with explained():
        try:
            yield
        except (RegistrationRefusedError, cluster.TopicsRefusedError) as error:
            fail(str(error), FOUND)


def _show(intended: cluster.Plan) -> None:
    for line in intended.lines():
        typer.echo(line)
    if not intended.changes and not intended.refusals:
        typer.echo("The cluster has every topic as declared.")
