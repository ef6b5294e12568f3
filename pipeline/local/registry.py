"""The schema registry of the local stack: Apicurio with its data in a file.

Must never know which schemas it holds.
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from pipeline.local.java import java
from pipeline.local.ports import HOST, http_answers
from pipeline.local.processes import Command
from pipeline.local.server import Server

API = "/apis/ccompat/v7"
"""The API that Confluent's clients speak."""


class Registry(Server):
    """A registry whose data lives in `folder`.

    Args:
        folder: its own folder, kept between starts.
        logs: folder for its output.
        port: loopback port to serve on.
        jar: the jar that starts it.
        hold: file descriptors that stay open until it has ended.

    """

    def __init__(
        self, folder: Path, logs: Path, port: int, *, jar: Path, hold: Sequence[int] = ()
    ) -> None:
        super().__init__("registry", ports=(port,), ready_within_s=90.0, hold=hold)
        self.url: str = f"http://{HOST}:{port}{API}"
        self._folder = folder
        self._logs = logs
        self._port = port
        self._jar = jar

    def command(self) -> Command:
        """Prepare its folder and tell how it is started."""
        self._folder.mkdir(parents=True, exist_ok=True)
        options = (
            *("-Xms64m", "-Xmx256m", "-XX:+UseSerialGC", "-XX:TieredStopAtLevel=1"),
            "-Djava.util.logging.manager=org.jboss.logmanager.LogManager",
        )
        return Command(
            name=self.name,
            argv=[*java(self._folder, options, [self._jar]), "io.quarkus.runner.GeneratedMain"],
            cwd=self._folder,
            log=self._logs / f"{self.name}.log",
            env={
                "QUARKUS_HTTP_HOST": HOST,
                "QUARKUS_HTTP_PORT": str(self._port),
                # Relative to its folder: the path may hold what such a URL may not.
                "REGISTRY_DATASOURCE_URL": "jdbc:h2:file:./data",
                "REGISTRY_AUTH_ENABLED": "false",
            },
        )

    def serves(self) -> bool:
        """Tell whether the API answers."""
        return http_answers(f"{self.url}/subjects")
