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

from pipeline.local.artifacts import Artifacts
from pipeline.local.broker import Broker, Node
from pipeline.local.faults import StackInUseError, StartError
from pipeline.local.holding import Account, Holding, Part, held
from pipeline.local.ports import Ports
from pipeline.local.progress import Report, Step, silent
from pipeline.local.registry import Registry
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

    """

    def __init__(
        self,
        state_dir: Path,
        *,
        cache_dir: Path | None = None,
        brokers: int = 1,
        report: Report = silent,
    ) -> None:
        self.state_dir = state_dir.absolute()
        self._report = report
        self._artifacts = Artifacts(cache_dir, report=report)
        self._count = brokers
        self._holding = Holding(state_dir)
        self._started_ms = 0
        self.brokers: Sequence[Broker] = ()
        self.registry: Registry | None = None

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
        return ",".join(broker.address for broker in self.brokers)

    @property
    def registry_url(self) -> str:
        """Base URL of the registry's Confluent-compatible API."""
        return self.registry.url if self.registry else ""

    @property
    def addresses(self) -> Addresses:
        """Where both are."""
        return Addresses(self.bootstrap, self.registry_url)

    def start(self) -> None:
        """Start both and wait until they serve.

        Raises:
            ArtifactError: something is missing that could not be downloaded.
            StackInUseError: another stack runs in this folder, or it holds another kind of stack.
            StartError: a process did not become ready; nothing is left running.

        """
        self._artifacts.ensure()
        lock = self._holding.take()
        try:
            cluster_id = self._cluster_id()
            ports = Ports(self.state_dir / "ports.json")
            self._start_all(ports, cluster_id, lock)
            self._started_ms = time.time_ns() // 1_000_000
            self.tell()
        except BaseException:
            self.stop()
            raise

    def stop(self) -> None:
        """End both in order, and let go of the folder. Does nothing if nothing runs."""
        self._stop_parts()
        self._holding.release()

    def tell(self, parts: Sequence[Part] = ()) -> None:
        """Write the state file, with `parts` beside the stack's own processes."""
        mine = [Part(one.name, one.pid) for one in self._parts() if one.pid is not None]
        account = Account(
            pid=os.getpid(),
            ready=True,
            bootstrap=self.bootstrap,
            registry_url=self.registry_url,
            started_ms=self._started_ms,
            parts=(*mine, *parts),
        )
        self._holding.tell(account)

    def _start_all(self, ports: Ports, cluster_id: str, lock: int) -> None:
        choose = ports.choose
        for attempt in range(TRIES):
            self._report(Step("Starting Kafka and the schema registry"))
            self._lay_out(choose, cluster_id, lock)
            try:
                self._run_parts()
            except StartError:
                taken = any(part.port_was_taken() for part in self._parts())
                self._stop_parts()
                if not taken or attempt == TRIES - 1:
                    raise
                choose = ports.fresh
                continue
            return

    def _lay_out(self, choose: Callable[[str], int], cluster_id: str, lock: int) -> None:
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
                hold=(lock,),
            )
            for node in nodes
        )
        self.registry = Registry(
            self.state_dir / "registry",
            logs,
            choose("registry"),
            jar=self._artifacts.registry_jar(),
            hold=(lock,),
        )

    def _parts(self) -> list[Broker | Registry]:
        return [*self.brokers, *([self.registry] if self.registry else [])]

    def _run_parts(self) -> None:
        for part in reversed(self._parts()):
            part.start()
        for part in self._parts():
            part.wait_ready()

    def _stop_parts(self) -> None:
        for part in self._parts():
            part.ask_to_end()
        for part in self._parts():
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
