"""`milepost up`, `down`, `status` and `doctor`: the whole of Milepost on this machine.

Renders what happens. Must never know which processes run, or start one of them.
"""

from __future__ import annotations

import contextlib
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from dataclasses import asdict
from pathlib import Path
from typing import Annotated, Self

import typer
from rich.progress import BarColumn, DownloadColumn, Progress, SpinnerColumn, Task
from rich.table import Table
from rich.text import Text

from pipeline import settings as configuration
from pipeline.cli.listing import terminal_width, wrapped
from pipeline.cli.platforms import trusted
from pipeline.cli.stack_plan import plan
from pipeline.cli.terminal import (
    FOUND,
    UNREACHABLE,
    WRONG_USE,
    Json,
    document,
    fail,
    interrupted_by_signals,
    nowhere,
    stderr,
    stdout,
    unusable,
)
from pipeline.kafka.decoding import Decoder
from pipeline.kafka.reading import LogReader
from pipeline.kafka.registry import Registry
from pipeline.local import ending
from pipeline.local.artifacts import Artifacts
from pipeline.local.broker import REPLICAS
from pipeline.local.faults import LocalStackError, StackInUseError
from pipeline.local.holding import Account, Holding
from pipeline.local.ports import HOST, Ports, answers, http_answers
from pipeline.local.progress import Step
from pipeline.local.stack import Addresses, LocalStack, addresses, wipe
from pipeline.local.system import LocalSystem, Plan
from pipeline.operations import doctor as examination
from pipeline.operations import platforms as trust
from pipeline.operations.findings import Patient, Severity
from pipeline.operations.platforms import HeldBack
from pipeline.operations.proof.evidence import TopicEvidence
from pipeline.settings import Settings

commands = typer.Typer(no_args_is_help=True, help="The whole of Milepost on this machine.")


@commands.command()
def up(
    *,
    detach: Annotated[
        bool, typer.Option("--detach", help="Return when everything is ready; it stays up.")
    ] = False,
    traffic: Annotated[bool, typer.Option(help="Keep a trickle of simulated events.")] = True,
    bare: Annotated[bool, typer.Option("--bare", help="Only Kafka and the registry.")] = False,
    brokers: Annotated[
        int,
        typer.Option(
            min=1,
            max=5,
            help="Kafka brokers; fixed at the first start. With three, topics have three replicas"
            " of which two are in sync.",
        ),
    ] = 1,
) -> None:
    """Start Kafka, the registry and Milepost, and keep them running until Ctrl-C."""
    with _explained():
        settings = configuration.load()
        if detach:
            chosen = ["--traffic" if traffic else "--no-traffic", f"--brokers={brokers}"]
            _up_detached(settings, [*chosen, *(["--bare"] if bare else [])])
            return
        with _ending_on_signals():
            _up(settings, traffic=traffic, bare=bare, brokers=brokers)


@commands.command()
def down(
    *,
    wipe_data: Annotated[
        bool, typer.Option("--wipe", help="Also remove all data in the state directory.")
    ] = False,
) -> None:
    """Stop the stack that runs in the state directory."""
    with _explained():
        folder = configuration.load().state_dir
        stopped = ending.end(folder)
        stderr.print(f"Stopped the stack in {folder}" if stopped else f"Nothing runs in {folder}")
        if wipe_data:
            wipe(folder)
            stderr.print(f"Removed all data in {folder}")


@commands.command()
def status(*, as_json: Json = False) -> None:
    """Show what runs in the state directory; ends with 1 if nothing does, 3 if it is ill."""
    with _explained():
        settings = configuration.load()
        folder = settings.state_dir
        account = Holding(folder).read()
        answering = account is not None and account.ready and _answers(account)
        if as_json:
            found = {} if account is None else asdict(account)
            document(
                {"state_dir": str(folder), "running": account is not None}
                | {"answers": answering}
                | found
            )
        elif account is None:
            stderr.print(f"Nothing runs in {folder}: start it with `milepost up`")
        else:
            _print_account(account, settings)
            if not answering:
                stderr.print("Kafka or the registry does not answer (yet)")
    if account is None:
        raise typer.Exit(FOUND)
    raise typer.Exit(0 if answering else UNREACHABLE)


@commands.command()
def doctor(*, as_json: Json = False) -> None:
    """Examine Kafka, the registry and the governor in use: what is wrong, why, what to do.

    Topics and schemas are compared with what is declared; a policy must be in force, a governor at
    work, every input read and no platform held back. Ends with 1 if something is found.
    """
    with _explained():
        settings = configuration.load()
        where = addresses(settings)
        if where is None:
            fail(nowhere(settings), UNREACHABLE)
        patient = Patient(
            settings,
            where.bootstrap,
            where.registry_url,
            held_back=lambda: _held_back(settings, where),
        )
        with stderr.status("Examining"):
            report = examination.examine(patient)
    if as_json:
        document(report.as_data())
    else:
        _print_report(report)
    raise typer.Exit(_verdict(report))


def _held_back(settings: Settings, where: Addresses) -> list[HeldBack]:
    with (
        LogReader(settings, where.bootstrap) as reader,
        Registry.of(settings, where.registry_url) as registry,
    ):
        evidence = TopicEvidence(reader, Decoder(registry))
        return trust.held_back(evidence, trusted(evidence))


def _up(settings: Settings, *, traffic: bool, bare: bool, brokers: int) -> None:
    external = None
    if settings.bootstrap_servers and settings.registry_url:
        external = Addresses(settings.bootstrap_servers, settings.registry_url)

    def planner(where: Addresses, ports: Ports) -> Plan:
        if bare:
            return Plan()
        replicas = REPLICAS if external is None and brokers >= REPLICAS else 1
        return plan(where, ports, settings, traffic=traffic, replicas=replicas)

    with _Shown() as shown:
        stack = LocalStack(
            settings.state_dir,
            cache_dir=settings.cache_dir,
            brokers=brokers,
            report=shown,
            external=external,
        )
        system = LocalSystem(stack, planner, report=shown)
        system.start()
        try:
            shown.done()
            account = Holding(settings.state_dir).read()
            if account is not None:
                _print_account(account, settings)
                stderr.print("Everything is up. Ctrl-C ends it.")
            system.watch(threading.Event())
        finally:
            shown(Step("Stopping"))
            system.stop()


def _up_detached(settings: Settings, options: list[str]) -> None:
    folder = settings.state_dir.absolute()
    if Holding(folder).read() is not None:
        raise StackInUseError(f"A stack runs in {folder} already: see `milepost status`")
    with _Shown() as shown:
        if settings.bootstrap_servers is None:
            Artifacts(settings.cache_dir, report=shown).ensure()
        shown(Step("Starting"))
        log_path = folder / "logs" / "up.log"
        log_path.parent.mkdir(parents=True, exist_ok=True)
        with log_path.open("wb") as log:
            process = subprocess.Popen(
                [sys.executable, "-m", "pipeline.cli.local", "up", *options],
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=subprocess.STDOUT,
                start_new_session=True,
            )
        account = _wait_complete(process, folder)
    if account is None:
        sys.stderr.write(log_path.read_text("utf-8", "replace"))
        raise typer.Exit(process.returncode or UNREACHABLE)
    _print_account(account, settings)
    stderr.print("Everything is up. `milepost down` ends it.")


def _wait_complete(process: subprocess.Popen[bytes], folder: Path) -> Account | None:
    while process.poll() is None:
        account = Holding(folder).read()
        if account is not None and account.complete:
            return account
        time.sleep(0.1)
    return None


@contextlib.contextmanager
def _ending_on_signals() -> Iterator[None]:
    """End in order on SIGTERM and when the terminal goes, as on Ctrl-C."""
    try:
        with interrupted_by_signals():
            yield
    except KeyboardInterrupt:
        stderr.print("Stopped.")


@contextlib.contextmanager
def _explained() -> Iterator[None]:
    try:
        yield
    except (configuration.SettingsError, StackInUseError) as error:
        fail(str(error), WRONG_USE)
    except LocalStackError as error:
        fail(str(error), UNREACHABLE)
    except OSError as error:
        fail(unusable(error), WRONG_USE)


class _Amount(DownloadColumn):
    """How many bytes of how many, for what is counted in bytes."""

    def render(self, task: Task) -> Text:
        """Render nothing for a step without a length."""
        return Text() if task.total is None else super().render(task)


class _Shown:
    """Progress on standard error: a line for each step, and below it a bar while it lasts."""

    def __init__(self) -> None:
        self._progress = Progress(
            SpinnerColumn(),
            BarColumn(),
            _Amount(),
            console=stderr,
            transient=True,
            disable=not stderr.is_terminal,
        )
        self._task = self._progress.add_task("", visible=False)
        self._what = ""

    def __enter__(self) -> Self:
        self._progress.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._progress.stop()

    def __call__(self, step: Step) -> None:
        if step.what != self._what:
            self._what = step.what
            self._progress.console.print(step.what, style="dim", markup=False, highlight=False)
            self._progress.remove_task(self._task)
            self._task = self._progress.add_task("", total=step.total or None)
        self._progress.update(self._task, completed=step.done)

    def done(self) -> None:
        """Stop drawing: what follows is for reading."""
        self._progress.stop()


def _answers(account: Account) -> bool:
    kafka = all(
        answers(int(address.rpartition(":")[2]))
        for address in account.bootstrap.split(",")
        if address.startswith(f"{HOST}:")
    )
    return kafka and http_answers(f"{account.registry_url}/subjects")


def _print_account(account: Account, settings: Settings) -> None:
    stdout.print(_table(account))
    if any(part.name == "mailbox" for part in account.parts):
        folder = (settings.mailbox_dir or settings.state_dir / "mailbox").absolute()
        typer.echo(f"Files for the mailbox go into {folder}")


def _table(account: Account) -> Table:
    table = Table(box=None, pad_edge=False)
    metered = any(part.metrics_url for part in account.parts)
    for heading in ("what", "where", "process", *(["metrics"] if metered else [])):
        table.add_column(heading, overflow="fold")
    table.add_row("bootstrap", account.bootstrap)
    if not any(part.url == account.registry_url for part in account.parts):
        table.add_row("registry", account.registry_url)
    for part in account.parts:
        metrics = [part.metrics_url or ""] if metered else []
        table.add_row(part.name, part.url or "", str(part.pid or "not running"), *metrics)
    return table


def _print_report(report: examination.Report) -> None:
    for line in report.checked:
        stdout.print(f"[green]✓[/green] {line}", highlight=False)
    for finding in report.findings:
        colour = "yellow" if finding.severity is Severity.WARNING else "red"
        stdout.print(f"[{colour}]✗ {finding.severity}[/{colour}]", end=" ")
        stdout.print(finding.what, markup=False, highlight=False, soft_wrap=True)
        for text in (f"why: {finding.why}", f"do: {finding.remedy}"):
            for line in wrapped(text, "    ", terminal_width()):
                typer.echo(line)


def _verdict(report: examination.Report) -> int:
    if report.unreachable:
        return UNREACHABLE
    return FOUND if report.findings else 0


if __name__ == "__main__":
    commands()
