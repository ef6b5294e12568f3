"""The ERP sink: approved milestones from Kafka become postings, booked by HTTP.

Positions and outbox entries commit in one database transaction; a courier sends the entries. So a
kill anywhere loses nothing and repeats at most a call, under the same key. An outage of Kafka, the
registry, the database or the ERP is waited out. Must never judge a milestone.
"""

from __future__ import annotations

import contextlib
import random
import threading
import time
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from datetime import datetime
from functools import partial
from typing import Final

import httpx
import structlog
from confluent_kafka import KafkaError, KafkaException
from sqlalchemy import Engine
from sqlalchemy.exc import SQLAlchemyError

from connectors.applied import FencedError, upsert
from connectors.protocols import ConfigurationError
from connectors.sinks.courier import Courier, ErpClient
from connectors.sinks.database import database_url, open_outbox
from connectors.sinks.decoding import Decoder
from connectors.sinks.engines import reading_only
from connectors.sinks.erp_intake import ErpIntake, epochs_in_force
from connectors.sinks.following import follow
from connectors.sinks.outages import OUTAGES, Waits, sentence
from connectors.sinks.outbox import Outbox
from connectors.sinks.outbox_tables import SINK
from connectors.sinks.postings import load_postings
from pipeline.contract.names import data_root
from pipeline.kafka.registry import Registry
from pipeline.settings import Settings
from pipeline.telemetry.endpoints import exposed
from pipeline.telemetry.metrics import MetricName, Metrics
from pipeline.web.stopping import stopped_by_signals

BEGINNING: Final = "beginning"
NOW: Final = "now"
BATCH_RECORDS_MAX: Final = 500

_log = structlog.get_logger(__name__)


def cut_over_ms(start: str, now_ms: int) -> int:
    """From when on a new sink books.

    Args:
        start: `beginning`, `now`, or a time with its zone, e.g. `2026-11-01T00:00:00Z`.
        now_ms: the time, ms UTC.

    Raises:
        ConfigurationError: it is none of these.

    """
    if start == BEGINNING:
        return 0
    if start == NOW:
        return now_ms
    try:
        moment = datetime.fromisoformat(start)
    except ValueError:
        moment = None
    if moment is None or moment.tzinfo is None:
        raise ConfigurationError(
            f"{start!r} is no start for the ERP sink: give beginning, now, or a time with its zone "
            "such as 2026-11-01T00:00:00Z"
        )
    return round(moment.timestamp() * 1_000)


def run_erp(
    settings: Settings,
    bootstrap: str,
    registry_url: str,
    *,
    start: str = BEGINNING,
    stop: threading.Event | None = None,
    ready: Callable[[str], None] | None = None,
) -> None:
    """Run the ERP sink until the event is set or, in the main thread, SIGINT or SIGTERM arrives.

    Args:
        settings: the ERP's address and token, group, database, policy folder, metrics.
        bootstrap: bootstrap servers.
        registry_url: the schema registry.
        start: see `cut_over_ms`; only the first start with an outbox counts.
        stop: ends it; calls under way are settled first.
        ready: told the ERP's address once the outbox is open and the courier runs.

    Raises:
        ConfigurationError: a setting is missing or wrong.
        InvalidFileError: the posting rules can't be used.
        OutboxError: the outbox belongs to another cluster or version.

    """
    stop = stop or threading.Event()
    with stopped_by_signals(stop), exposed(settings, "sink-erp") as metrics:
        ErpSink(settings, bootstrap, registry_url, start=start, metrics=metrics).run(stop, ready)


class ErpSink:
    """Takes approved milestones into the outbox, with a courier beside it.

    Args:
        settings: as for `run_erp`.
        bootstrap: bootstrap servers.
        registry_url: the schema registry.
        start: where a new outbox begins to book.
        metrics: records, entries and calls are counted there.
        clock_ms: the sink's own clock, ms UTC.
        transport: replaces the network to the ERP in tests.

    """

    def __init__(
        self,
        settings: Settings,
        bootstrap: str,
        registry_url: str,
        *,
        start: str = BEGINNING,
        metrics: Metrics | None = None,
        clock_ms: Callable[[], int] = lambda: time.time_ns() // 1_000_000,
        transport: httpx.BaseTransport | None = None,
    ) -> None:
        self._settings = settings
        self._bootstrap = bootstrap
        self._registry_url = registry_url
        self._metrics = metrics or Metrics()
        self._clock_ms = clock_ms
        self._cut_over_ms = cut_over_ms(start, clock_ms())
        self._transport = transport
        self._rules = load_postings(settings.policy_dir or data_root() / "policy")
        self._address = _address(settings)
        self._told = ("", "", 0)

    def run(self, stop: threading.Event, ready: Callable[[str], None] | None = None) -> None:
        """Follow the topic until the event is set; outages are waited out.

        Raises:
            OutboxError: the outbox belongs to another cluster or version.

        """
        waits = Waits(stop)
        engine = None
        while engine is None and not stop.is_set():
            try:
                engine = open_outbox(database_url(self._settings))
            except (SQLAlchemyError, OSError) as error:
                self._say(None, "waiting", outage(error))
                waits.wait()
        if engine is None:
            return
        outbox = Outbox(self._rules, self._clock_ms)
        with self._courier(engine, outbox, stop) as courier:
            if ready is not None:
                ready(self._address)
            while not stop.is_set():
                try:
                    with Registry.of(self._settings, self._registry_url) as registry:
                        self._follow(engine, outbox, Decoder(registry), courier, stop)
                except (FencedError, *OUTAGES) as error:
                    self._say(engine, "waiting", outage(error))
                    waits.wait()
        engine.dispose()

    @contextlib.contextmanager
    def _courier(self, engine: Engine, outbox: Outbox, stop: threading.Event) -> Iterator[Courier]:
        """A courier in a thread of its own; if it fails, everything stops."""
        failures: list[BaseException] = []
        token = self._settings.erp_token
        headers = {"user-agent": "milepost-erp-sink"}
        if token is not None:
            headers["authorization"] = f"Bearer {token.get_secret_value()}"
        size = sum(endpoint.in_flight for endpoint in self._rules.endpoints.values())
        with (
            httpx.Client(
                base_url=self._address, headers=headers, transport=self._transport
            ) as http,
            ThreadPoolExecutor(size, thread_name_prefix="erp-call") as pool,
        ):
            erp = ErpClient(http, self._clock_ms, self._metrics)
            courier = Courier(engine, outbox, erp, pool, epochs_in_force, random.Random())  # noqa: S311  jitter

            def run() -> None:
                try:
                    courier.run(stop)
                except BaseException as error:  # noqa: BLE001  raised again by the main thread
                    failures.append(error)
                    stop.set()

            thread = threading.Thread(target=run, name="erp-courier")
            thread.start()
            try:
                yield courier
            finally:
                stop.set()
                courier.wake()
                thread.join()
        if failures:
            raise failures[0]

    def _follow(
        self,
        engine: Engine,
        outbox: Outbox,
        decoder: Decoder,
        courier: Courier,
        stop: threading.Event,
    ) -> None:
        """One consumer, from its first question to its end."""
        group = self._settings.erp_group
        tell = partial(self._tell, engine, outbox)
        follow(
            ErpIntake(engine, outbox, decoder, courier, self._metrics, self._cut_over_ms, tell),
            self._settings,
            self._bootstrap,
            stop,
            group=group,
            records_max=BATCH_RECORDS_MAX,
            # A worker that was killed is back at once, without waiting for its session to end
            **{"group.instance.id": f"{group}-{self._settings.erp_slot}"},
        )

    def _tell(self, engine: Engine, outbox: Outbox) -> None:
        """Say that all is well, and how many entries are open."""
        self._say(engine, "reading")
        with reading_only(engine).begin() as connection:
            counts = outbox.open_entries(connection)
        for state, number in counts.items():
            name: MetricName = "milepost_outbox_entries"
            self._metrics.set(name, number, sink="erp", state=state.value)

    def _say(self, engine: Engine | None, state: str, detail: str = "") -> None:
        """Note how the reading side is, for those who only have the outbox."""
        now = self._clock_ms()
        if (state, detail) != self._told[:2]:
            log = _log.info if state == "reading" else _log.warning
            log("erp sink", state=state, detail=detail)
            self._told = (state, detail, now)
        if engine is None:
            return
        values = {"state": state, "detail": detail, "since_ms": self._told[2], "heard_ms": now}
        # The database may be what is away
        with contextlib.suppress(SQLAlchemyError), engine.begin() as connection:
            new = upsert(connection.dialect, SINK).values(id=1, **values)
            connection.execute(new.on_conflict_do_update(index_elements=["id"], set_=values))


def outage(error: BaseException) -> str:
    """What is away, in one sentence for a person."""
    if isinstance(error, KafkaException):
        cause: KafkaError = error.args[0]
        if cause.code() in (KafkaError.FENCED_INSTANCE_ID, KafkaError._FENCED):  # noqa: SLF001
            return "Another ERP sink runs under this slot: stop it, or set MILEPOST_ERP_SLOT"
    return sentence(error, "The ERP outbox")


def _address(settings: Settings) -> str:
    if settings.erp_url is None:
        raise ConfigurationError(
            "The ERP sink has nowhere to post: set MILEPOST_ERP_URL, e.g. to the address that "
            "`milepost run simulated-erp` prints"
        )
    url = httpx.URL(settings.erp_url)
    if url.scheme not in {"http", "https"} or not url.host:
        raise ConfigurationError(
            f"MILEPOST_ERP_URL {settings.erp_url!r} is no address: give one like "
            "https://erp.example.com/api"
        )
    return settings.erp_url
