"""The portal's sink: approved milestones and entity status from Kafka into the portal's store.

Effects and positions commit in one database transaction, so a kill anywhere loses and repeats
nothing. An outage of Kafka, registry or database is waited out; the sink never ends for one, and
says so in the store. Must never judge a milestone.
"""

from __future__ import annotations

import contextlib
import threading
import time
from collections.abc import Callable
from typing import Final, NamedTuple

import structlog
from sqlalchemy.exc import SQLAlchemyError

from connectors.applied import FencedError
from connectors.portal import tables
from connectors.portal.intake import PortalIntake
from connectors.portal.writer import StoreWriter
from connectors.sinks.decoding import Decoder
from connectors.sinks.following import follow
from connectors.sinks.outages import OUTAGES, Waits, sentence
from pipeline.kafka.registry import Registry
from pipeline.settings import Settings
from pipeline.telemetry.endpoints import exposed
from pipeline.telemetry.metrics import Metrics
from pipeline.web.stopping import stopped_by_signals

BATCH_RECORDS_MAX: Final = 2_000

_log = structlog.get_logger(__name__)


class Where(NamedTuple):
    """Addresses of what the sink reads from."""

    bootstrap: str
    registry_url: str


class PortalSink:
    """Keeps the portal's store up to date, until told to stop.

    Args:
        settings: group, security, database.
        find: tells the addresses; asked at each attempt to connect, may raise UnreachableError.
        metrics: records are counted there.
        clock_ms: the portal's own clock, ms UTC.

    """

    def __init__(
        self,
        settings: Settings,
        find: Callable[[], Where],
        metrics: Metrics | None = None,
        clock_ms: Callable[[], int] = lambda: time.time_ns() // 1_000_000,
    ) -> None:
        self._settings = settings
        self._find = find
        self._metrics = metrics or Metrics()
        self._clock_ms = clock_ms
        self._url = tables.database_url(settings)
        self._state = "starting"
        self._detail = ""
        self._since_ms = clock_ms()

    def run(self, stop: threading.Event) -> None:
        """Follow the topics until the event is set; outages are waited out."""
        waits = Waits(stop)
        while not stop.is_set():
            try:
                self._follow(stop)
            except (FencedError, tables.StoreError, *OUTAGES) as error:
                blocked = isinstance(error, tables.StoreError)
                self.say("blocked" if blocked else "waiting", sentence(error, "The portal's store"))
                self._write_down()
                waits.wait()
            else:
                self.say("stopped")
                self._write_down()

    def say(self, state: str, detail: str = "") -> None:
        """Note how the sink is: starting, reading, waiting (for an outage), blocked, stopped."""
        if state != self._state:
            level = _log.warning if state in {"waiting", "blocked"} else _log.info
            level("portal sink", state=state, detail=detail)
            self._since_ms = self._clock_ms()
        self._state, self._detail = state, detail

    def tell(self, writer: StoreWriter) -> None:
        """Write down how the sink is, for those who only have the store."""
        writer.tell(self._state, self._detail, self._since_ms)

    def _follow(self, stop: threading.Event) -> None:
        """One attempt: connect and read until something fails or the stop."""
        engine = tables.open_writer(self._url)
        try:
            writer = StoreWriter(engine, self._url, self._clock_ms)
            self.tell(writer)
            where = self._find()
            with Registry.of(self._settings, where.registry_url) as registry:
                follow(
                    PortalIntake(self, writer, Decoder(registry), self._clock_ms, self._metrics),
                    self._settings,
                    where.bootstrap,
                    stop,
                    group=self._settings.portal_group,
                    records_max=BATCH_RECORDS_MAX,
                    **{"enable.partition.eof": True, "reconnect.backoff.ms": 500},
                )
        finally:
            engine.dispose()

    def _write_down(self) -> None:
        with contextlib.suppress(tables.StoreError, SQLAlchemyError, OSError):
            engine = tables.open_writer(self._url)
            try:
                self.tell(StoreWriter(engine, self._url, self._clock_ms))
            finally:
                engine.dispose()


def run_portal_sink(settings: Settings, bootstrap: str, registry_url: str) -> None:
    """Keep the portal's store up to date until SIGINT or SIGTERM; outages are waited out.

    Args:
        settings: group, security, database.
        bootstrap: Kafka bootstrap servers.
        registry_url: the schema registry.

    """
    stop = threading.Event()
    where = Where(bootstrap, registry_url)
    with stopped_by_signals(stop), exposed(settings, "sink-portal") as metrics:
        PortalSink(settings, lambda: where, metrics).run(stop)
