"""The schema registry of the local stack: Apicurio with its data in a file.

Must never know which schemas it holds.
"""

from __future__ import annotations

from pathlib import Path

import httpx

from pipeline.local.faults import StartError
from pipeline.local.java import java
from pipeline.local.ports import HOST
from pipeline.local.processes import Command, Process

START_S = 90.0
API = "/apis/ccompat/v7"
"""The API that Confluent's clients speak."""


class Registry:
    """A registry whose data lives in `folder`.

    Args:
        folder: its own folder, kept between starts.
        logs: folder for its output.
        port: loopback port to serve on.
        jar: the jar that starts it.
        hold: file descriptors that stay open until it has ended.

    """

    name = "registry"

    def __init__(
        self, folder: Path, logs: Path, port: int, *, jar: Path, hold: tuple[int, ...] = ()
    ) -> None:
        self.url = f"http://{HOST}:{port}{API}"
        self._folder = folder
        self._logs = logs
        self._port = port
        self._jar = jar
        self._hold = hold
        self._process: Process | None = None

    @property
    def pid(self) -> int | None:
        """Process id while it runs."""
        running = self._process is not None and self._process.exit_code() is None
        return self._process.pid if running and self._process is not None else None

    def start(self) -> None:
        """Start it without waiting until it is ready."""
        self._folder.mkdir(parents=True, exist_ok=True)
        options = (
            *("-Xms64m", "-Xmx256m", "-XX:+UseSerialGC", "-XX:TieredStopAtLevel=1"),
            "-Djava.util.logging.manager=org.jboss.logmanager.LogManager",
        )
        command = Command(
            name=self.name,
            argv=[*java(self._folder, options, [self._jar]), "io.quarkus.runner.GeneratedMain"],
            cwd=self._folder,
            log=self._logs / f"{self.name}.log",
            env={
                "QUARKUS_HTTP_HOST": HOST,
                "QUARKUS_HTTP_PORT": str(self._port),
                # Relative to its folder: the path may hold what a URL may not.
                "REGISTRY_DATASOURCE_URL": "jdbc:h2:file:./data",
                "QUARKUS_LOG_CONSOLE_COLOR": "false",
            },
        )
        self._process = Process(command, hold=self._hold)

    def wait_ready(self, within_s: float = START_S) -> None:
        """Wait until it answers.

        Raises:
            StartError: it ended before, or took too long.

        """
        if self._process is None:
            raise StartError(f"{self.name} was not started")
        self._process.wait_until(self._serves, within_s)

    def port_was_taken(self) -> bool:
        """Tell whether the last start failed because another program had its port."""
        if self._process is None or self._process.exit_code() is None:
            return False
        return "already bound" in self._process.output()

    def ask_to_end(self) -> None:
        """Let its orderly end begin."""
        if self._process is not None:
            self._process.ask_to_end()

    def stop(self) -> None:
        """End it in order and wait."""
        if self._process is not None:
            self._process.stop()

    def kill(self) -> None:
        """End it like a crash."""
        if self._process is not None:
            self._process.kill()

    def _serves(self) -> bool:
        try:
            # The environment may name a proxy; loopback must not go there.
            with httpx.Client(trust_env=False, timeout=2) as client:
                return client.get(f"{self.url}/subjects").status_code == httpx.codes.OK
        except httpx.TransportError:
            return False
