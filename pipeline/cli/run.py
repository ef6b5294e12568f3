"""`milepost run`: the processes that Milepost consists of, one a command.

Looks up what to run and where Kafka is. Must never do the work itself.
"""

from __future__ import annotations

import contextlib
import os
from collections.abc import Callable
from typing import Annotated, Any

import typer

from pipeline import settings as configuration
from pipeline.cli.surroundings import explained, surroundings
from pipeline.cli.terminal import WRONG_USE, fail, stderr
from pipeline.kafka.registry import Registry
from pipeline.lane.supervisor import supervise
from pipeline.streams import governor as governing
from pipeline.streams.observing import GovernorObserver
from pipeline.telemetry import logs
from pipeline.telemetry.endpoints import exposed

commands = typer.Typer(no_args_is_help=True, help="Run one of Milepost's processes.")
_Once = Annotated[bool, typer.Option("--once", help="Take what is there, then end.")]


@commands.command()
def governor(
    *,
    worker: Annotated[
        bool, typer.Option("--worker", hidden=True, help="This process is the worker itself.")
    ] = False,
    slot: Annotated[
        str | None, typer.Option(help="Name of this worker; one per worker of the group.")
    ] = None,
) -> None:
    """Govern: raw events in, approved milestones out. Started again when it leaves on purpose."""
    with explained():
        if slot is not None:
            os.environ["MILEPOST_GOVERNOR_SLOT"] = slot
        if not worker:
            surroundings()  # where nothing is known, no worker needs to be tried
        governing.load()
        if worker:
            _governor_worker()
            return
        raise typer.Exit(supervise(_supervised_worker))


def _supervised_worker() -> int:
    """The worker in a process of its own, with all that its supervisor has loaded."""
    try:
        with explained():
            _governor_worker()
    except typer.Exit as ending:
        return ending.exit_code
    return 0


def _governor_worker() -> None:
    settings, where = surroundings()
    logs.configure(settings, "governor")
    registry = Registry.of(settings, where.registry_url)
    ids, partitions = governing.wait_for_contract(settings, where.bootstrap, registry, _say)
    with exposed(settings, "governor") as metrics:
        observer = GovernorObserver(metrics)
        app = governing.build(
            settings,
            where.bootstrap,
            registry,
            ids=ids,
            partitions=partitions,
            observer=observer,
            measure=observer.measure,
        )
        governing.run_worker(app, settings.log_level)


@commands.command()
def source(
    name: Annotated[str, typer.Argument(help="mailbox or webhook")], *, once: _Once = False
) -> None:
    """Bring partners' events to their raw topics."""
    from connectors.sources.catalogue import SOURCES, Addresses, run_source  # noqa: PLC0415

    if name not in SOURCES:
        fail(f"There is no source {name!r}: choose {' or '.join(SOURCES)}", WRONG_USE)
    with explained():
        settings, where = surroundings()
        logs.configure(settings, f"source-{name}")
        run_source(
            name,
            settings,
            Addresses(where.bootstrap, where.registry_url),
            once=once,
            ready=_announce(f"source {name}"),
        )


@commands.command()
def sink(
    name: Annotated[str, typer.Argument(help="portal or erp")],
    start: Annotated[
        str,
        typer.Option(
            "--from",
            help="A new ERP outbox: beginning, now, or a time; what is older posts nothing.",
        ),
    ] = "beginning",
) -> None:
    """Carry approved milestones to a system."""
    if name not in {"portal", "erp"}:
        fail(f"There is no sink {name!r}: choose portal or erp", WRONG_USE)
    with explained():
        settings, where = surroundings()
        logs.configure(settings, f"sink-{name}")
        if name == "portal":
            from connectors.sinks.portal import run_portal_sink  # noqa: PLC0415

            run_portal_sink(settings, where.bootstrap, where.registry_url)
        else:
            from connectors.sinks.erp import run_erp  # noqa: PLC0415

            run_erp(settings, where.bootstrap, where.registry_url, start=start)


@commands.command()
def portal() -> None:
    """Serve the customer portal, and keep its store up to date."""
    from connectors.portal.run import run_portal  # noqa: PLC0415

    with explained():
        settings, where = surroundings()
        logs.configure(settings, "portal")
        run_portal(settings, where.bootstrap, where.registry_url, ready=_announce("portal"))


@commands.command("simulated-erp")
def simulated_erp(port: Annotated[int, typer.Argument(help="0: a free one")] = 0) -> None:
    """Serve an ERP that counts postings and can be told to fail."""
    from connectors.simulation.erp import run_simulated_erp  # noqa: PLC0415

    with explained():
        settings = configuration.load()
        logs.configure(settings, "simulated-erp")
        run_simulated_erp(settings, port, _announce("simulated ERP"))


def _say(text: str) -> None:
    with contextlib.suppress(OSError):  # a full disk below the log must not end a worker
        stderr.print(text, highlight=False, soft_wrap=True)


def _announce(name: str) -> Callable[..., Any]:
    def ready(address: str) -> None:
        _say(f"{name}: {address}")

    return ready
