"""Kafka and the schema registry on this machine, started, found, stopped and wiped.

Must never know topics, schemas or the product's own processes: those are `components.py`'s.
"""

from __future__ import annotations

import base64
import contextlib
import json
import os
import shutil
import time
import uuid
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from types import TracebackType
from typing import Self

from pipeline.local.broker import Broker, Node
from pipeline.local.faults import StackInUseError, StartError
from pipeline.local.holding import Account, Holding, Part, held
from pipeline.local.ports import Ports
from pipeline.local.progress import Report, Step, silent
from pipeline.local.registry import Registry
from pipeline.local.server import Server
from pipeline.settings import Settings

TRIES = 3
"""Starts with fresh ports before giving up."""


@dataclass(frozen=True, slots=True)
class Addresses:
    """Where a Kafka and its registry are."""

    bootstrap: str
    registry_url: str


class LocalStack:
    """One Kafka cluster and one registry, with durable data below `state_dir`.

    Use as a context manager, or call `start` and `stop`. Everything ends with this process, even
    when it is killed with -9.

    Args:
        state_dir: folder of its own for data, logs and locks.
        cache_dir: where artifacts are kept; None: the user's cache folder.
        brokers: number of brokers, fixed when the folder is first used.
        report: told what is being done.
        external: a Kafka and a registry that run elsewhere: then none are started here, and the
            folder is only held.

    """

    def __init__(
        self,
        state_dir: Path,
        *,
        cache_dir: Path | None = None,
        brokers: int = 1,
        report: Report = silent,
        external: Addresses | None = None,
    ) -> None:
        self.state_dir = state_dir.absolute()
        self.brokers: Sequence[Broker] = ()
        self.registry: Registry | None = None
        self._report = report
        # What it downloads with is slow to import, and most look for a running stack only
        from pipeline.local.artifacts import Artifacts  # noqa: PLC0415

        self._artifacts = Artifacts(cache_dir, report=report)
        self._count = brokers
        self._external = external
        self._holding = Holding(state_dir)
        self._lock: int | None = None
        self._ports: Ports | None = None
        self._started_ms = 0

    def __enter__(self) -> Self:
        self.start()
        return self

    def __exit__(
        self,
        _kind: type[BaseException] | None,
        _error: BaseException | None,
        _trace: TracebackType | None,
    ) -> None:
        self.stop()

    @property
    def bootstrap(self) -> str:
        """Kafka bootstrap servers."""
        if self._external is not None:
            return self._external.bootstrap
        return ",".join(broker.address for broker in self.brokers)

    @property
    def registry_url(self) -> str:
        """Base URL of the registry's Confluent-compatible API."""
        if self._external is not None:
            return self._external.registry_url
        return "" if self.registry is None else self.registry.url

    @property
    def addresses(self) -> Addresses:
        """Where both are."""
        return Addresses(self.bootstrap, self.registry_url)

    @property
    def hold(self) -> tuple[int, ...]:
        """File descriptors that further processes of a started stack keep open: its lock."""
        return () if self._lock is None else (self._lock,)

    @property
    def ports(self) -> Ports:
        """Where further processes of a started stack get their ports."""
        if self._ports is None:
            raise StartError(f"The stack in {self.state_dir} was not started")
        return self._ports

    @property
    def parts(self) -> list[Server]:
        """The stack's own processes."""
        return [*self.brokers, *([] if self.registry is None else [self.registry])]

    def start(self) -> None:
        """Start both and wait until they serve.

        Raises:
            ArtifactError: something is missing that could not be downloaded.
            StackInUseError: another stack runs in this folder, or it holds another kind of stack.
            StartError: a process did not become ready; nothing is left running.

        """
        if self._external is None:
            self._artifacts.ensure()
        self._lock = self._holding.take()
        try:
            self._ports = Ports(self.state_dir / "ports.json")
            if self._external is None:
                self._start_all(self._ports, self._cluster_id())
            self._started_ms = time.time_ns() // 1_000_000
            self.tell()
        except BaseException:
            self.stop()
            raise

    def stop(self) -> None:
        """End both in order, and let go of the folder. Does nothing if nothing runs."""
        self._stop_parts()
        self._holding.release()
        self._lock = None

    def tell(self, more: Sequence[Server] = (), *, complete: bool = True) -> None:
        """Write the state file, with the parts `more` beside the stack's own.

        Args:
            more: further processes that run on the stack.
            complete: whether everything that was asked for is ready.

        """
        parts = [
            Part(part.name, part.pid, part.url, part.metrics_url) for part in (*self.parts, *more)
        ]
        account = Account(
            pid=os.getpid(),
            ready=True,
            complete=complete,
            bootstrap=self.bootstrap,
            registry_url=self.registry_url,
            started_ms=self._started_ms,
            parts=tuple(parts),
        )
        self._holding.tell(account)

    def _start_all(self, ports: Ports, cluster_id: str) -> None:
        choose = ports.choose
        for attempt in range(TRIES):
            self._report(Step("Starting Kafka and the schema registry"))
            self._lay_out(choose, cluster_id)
            try:
                self._run_parts()
            except StartError:
                taken = any(part.port_was_taken() for part in self.parts)
                self._stop_parts()
                if not taken or attempt == TRIES - 1:
                    raise
                choose = ports.fresh
                continue
            return

    def _lay_out(self, choose: Callable[[str], int], cluster_id: str) -> None:
        numbers = range(1, self._count + 1)
        nodes = [Node(n, choose(f"kafka-{n}"), choose(f"controller-{n}")) for n in numbers]
        logs = self.state_dir / "logs"
        self.brokers = tuple(
            Broker(
                self.state_dir / f"kafka-{node.id}",
                logs,
                node,
                nodes,
                cluster_id=cluster_id,
                class_path=self._artifacts.class_path(),
                hold=self.hold,
            )
            for node in nodes
        )
        self.registry = Registry(
            self.state_dir / "registry",
            logs,
            choose("registry"),
            jar=self._artifacts.registry_jar(),
            hold=self.hold,
        )

    def _run_parts(self) -> None:
        for part in reversed(self.parts):
            part.start()
        for part in self.parts:
            part.wait_ready()

    def _stop_parts(self) -> None:
        for part in self.parts:
            part.ask_to_end()
        for part in self.parts:
            part.stop()

    def _cluster_id(self) -> str:
        path = self.state_dir / "cluster.json"
        with contextlib.suppress(OSError, ValueError, KeyError):
            cluster = json.loads(path.read_text("utf-8"))
            if cluster["brokers"] != self._count:
                raise StackInUseError(
                    f"{self.state_dir} holds a cluster of {cluster['brokers']} brokers, not "
                    f"{self._count}: remove it with `milepost down --wipe`, or set "
                    "MILEPOST_STATE_DIR to another folder"
                )
            return str(cluster["id"])
        new = base64.urlsafe_b64encode(b"M" + uuid.uuid4().bytes[1:]).decode().rstrip("=")
        temporary = path.with_suffix(".new")
        temporary.write_text(json.dumps({"id": new, "brokers": self._count}), "utf-8")
        temporary.replace(path)
        return new


def find_running(state_dir: Path) -> Addresses | None:
    """Give the addresses of the stack that runs in `state_dir` and is ready, if there is one."""
    account = Holding(state_dir).read()
    if account is None or not account.ready:
        return None
    return Addresses(account.bootstrap, account.registry_url)


def addresses(settings: Settings) -> Addresses | None:
    """Choose the Kafka and registry to use: those that are set, else the running local stack.

    Returns:
        None if there is neither; the caller may start a stack of its own.

    """
    running = find_running(settings.state_dir)
    bootstrap = settings.bootstrap_servers or (running.bootstrap if running else None)
    registry = settings.registry_url or (running.registry_url if running else None)
    if bootstrap is None or registry is None:
        return None
    return Addresses(bootstrap, registry)


def wipe(state_dir: Path) -> None:
    """Remove everything below a state directory in which nothing runs.

    Raises:
        StackInUseError: a stack runs there, or the folder surely holds other things.

    """
    if not state_dir.exists():
        return
    with held(state_dir):
        for path in state_dir.iterdir():
            if path.is_dir() and not path.is_symlink():
                shutil.rmtree(path)
            elif path.suffix != ".lock":
                path.unlink(missing_ok=True)
