"""Runs the portal: its sink and its server in one process, or the server alone.

Must never hold a rule of either.
"""

from __future__ import annotations

import asyncio
import contextlib
import threading
from collections.abc import AsyncIterator, Callable

import structlog
from fastapi import FastAPI, Request, Response
from sqlalchemy import exc

from connectors.portal import api, fresh, pages, tables
from connectors.portal.desk import Desk
from connectors.portal.live import Live
from connectors.portal.published import PublishedWording
from connectors.portal.store import Store
from connectors.portal.wording import Wording
from connectors.sinks.portal import PortalSink, Where
from pipeline.contract.bundle import load_bundle
from pipeline.settings import Settings
from pipeline.telemetry.endpoints import exposed
from pipeline.telemetry.metrics import Metrics
from pipeline.web.app import Application, Health, build_app
from pipeline.web.headers import hosts_allowed
from pipeline.web.problems import Problem, answer
from pipeline.web.server import serve

_log = structlog.get_logger(__name__)


def build_portal(
    settings: Settings, wording: Wording, metrics: Metrics | None = None
) -> Application:
    """The portal's API and pages over the store that the settings name.

    Args:
        settings: host, store, what counts as stale.
        wording: names for people, until a policy bundle is published.
        metrics: requests are measured there.

    Raises:
        StoreError: the store is of another version, or its database can't be used.

    """
    engine = tables.open_reader(tables.database_url(settings))
    store = Store(engine, settings.portal_tenant)
    desk = Desk(store, PublishedWording(store, wording), settings)

    def health() -> Health:
        try:
            return desk.health()
        except exc.SQLAlchemyError as error:
            return Health("failing", {"store": str(error).partition("\n")[0]})

    @contextlib.asynccontextmanager
    async def lifespan(_app: FastAPI) -> AsyncIterator[None]:
        looking = asyncio.create_task(live.look())
        yield
        looking.cancel()
        with contextlib.suppress(asyncio.CancelledError):
            await looking
        engine.dispose()

    app = build_app(
        title="Milepost portal",
        description=api.DESCRIPTION,
        health=health,
        allowed_hosts=hosts_allowed(settings),
        lifespan=lifespan,
        tags=api.TAGS,
        measured=None if metrics is None else ("portal", metrics),
    )
    for outage in (exc.OperationalError, exc.InterfaceError, exc.TimeoutError):
        app.add_exception_handler(outage, _store_away)
    live = Live(desk.store, app.stop)
    app.include_router(api.routes(desk, live))
    pages.mount(app, desk)
    return app


def _store_away(request: Request, error: Exception) -> Response:
    _log.warning("portal store can't be read", error=str(error).partition("\n")[0])
    away = Problem(
        503,
        fresh.AWAY,
        "The portal's database does not answer",
        "Nothing is lost: what was published is shown again as soon as it answers.",
        headers={"Retry-After": "5"},
    )
    return answer(request, away)


def run_portal(
    settings: Settings,
    bootstrap: str,
    registry_url: str,
    *,
    ready: Callable[[str], None] | None = None,
) -> None:
    """Serve the portal and keep its store up to date, until SIGINT or SIGTERM.

    Args:
        settings: host, port, store, policy folder.
        bootstrap: Kafka bootstrap servers; Kafka may be away.
        registry_url: the schema registry; may be away.
        ready: told the base URL once requests are answered.

    Raises:
        AddressInUseError: the port is taken.
        StoreError: the store is of another version, or its database can't be used.
        InvalidFileError: the policy bundle can't be read.

    """
    wording = Wording(load_bundle(settings.policy_dir))
    where = Where(bootstrap, registry_url)
    with exposed(settings, "portal") as metrics:
        app = build_portal(settings, wording, metrics)
        sink = PortalSink(settings, lambda: where, metrics)
        applying = threading.Thread(target=sink.run, args=(app.stop,), name="portal-sink")
        applying.start()
        try:
            serve(app, host=settings.host, port=settings.portal_port, ready=ready)
        finally:
            app.stop.set()
            applying.join()
