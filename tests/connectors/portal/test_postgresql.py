"""What only a database server can do to the portal: be away, be of a wrong kind, die at work."""

from __future__ import annotations

import pytest
from portal_records import approved
from portal_site import PortalSite
from sqlalchemy import select
from sqlalchemy.exc import OperationalError
from test_store import put

from connectors.portal import tables
from connectors.portal.store import Store
from connectors.portal.writer import StoreWriter
from connectors.protocols import ConfigurationError
from connectors.sinks.engines import open_engine


@pytest.fixture
def url(postgres):
    """A store on a server that a test may kill."""
    if not postgres.running:
        postgres.start()
    yield postgres.create()
    if not postgres.running:
        postgres.start()


@pytest.fixture
def site(tmp_path, url):
    made = PortalSite(tmp_path, MILEPOST_PORTAL_DATABASE_URL=url)
    yield made
    made.close()


def _write_while(dies, writer):
    with writer._turn() as connection:
        connection.execute(tables.entity.update().values(status="never committed"))
        dies()


def test_a_server_that_was_killed_is_found_again_and_has_what_was_committed(postgres, url):
    engine, reader = tables.open_writer(url), tables.open_reader(url)
    writer, store = StoreWriter(engine, url, lambda: 1), Store(reader)
    put(writer, approved("departed", 1))
    assert store.newest_change() == 1
    with pytest.raises(OperationalError):
        _write_while(postgres.kill, writer)
    with pytest.raises(OperationalError):
        store.newest_change()
    postgres.start()
    assert store.find("shipment", "SHP-1001", None).status == "shipped"
    put(writer, approved("delivered", 2, status_after="delivered"))
    assert store.find("shipment", "SHP-1001", None).status == "delivered"
    engine.dispose()
    reader.dispose()


def test_while_the_server_is_away_who_asks_is_told_to_come_again(postgres, site):
    site.fill()
    postgres.kill()
    answer = site.ask("/api/shipments/SHP-1001")
    assert (answer.status_code, answer.headers["retry-after"]) == (503, "5")
    assert answer.json()["type"] == "urn:milepost:problem:store-away"
    page = site.ask("/shipments/SHP-1001", accept="text/html")
    assert page.status_code == 503
    assert "text/html" in page.headers["content-type"]
    assert site.ask("/healthz").json()["status"] == "failing"
    postgres.start()
    assert site.ask("/api/shipments/SHP-1001").status_code == 200
    assert site.ask("/healthz").json()["status"] != "failing"


def test_a_server_that_does_not_answer_is_told_without_its_password(postgres):
    url = postgres.url().replace(f":{postgres.port}/", ":1/")
    with pytest.raises(tables.StoreError) as told:
        tables.open_reader(url)
    assert "correct MILEPOST_PORTAL_DATABASE_URL" in str(told.value)
    assert "milepost:***@127.0.0.1:1/" in str(told.value)


def test_a_database_that_cannot_hold_every_name_is_refused(postgres):
    url = postgres.create_database("ENCODING 'LATIN1' LOCALE 'C' LOCALE_PROVIDER libc")
    with pytest.raises(ConfigurationError, match="create it with ENCODING 'UTF8'"):
        tables.open_reader(url)


def test_a_server_that_may_forget_commits_must_not_forget_ours(postgres, url):
    with postgres.connect() as connection:
        connection.execute("ALTER ROLE milepost SET synchronous_commit = off")
    try:
        engine = open_engine(url, "URL")
        with engine.connect() as connection:
            found = connection.exec_driver_sql("SHOW synchronous_commit").scalar_one()
        engine.dispose()
    finally:
        with postgres.connect() as connection:
            connection.execute("ALTER ROLE milepost RESET synchronous_commit")
    assert found == "on"


def test_of_two_sinks_one_writes_at_a_time(url):
    """As on SQLite: in any order of rows, nobody can lock another out."""
    first, second = tables.open_writer(url), tables.open_writer(url)
    with StoreWriter(first, url, lambda: 1)._turn(), second.begin() as connection:
        connection.exec_driver_sql("SET LOCAL lock_timeout = '1ms'")
        with pytest.raises(OperationalError, match="lock timeout"):
            tables.take_turn(connection)
    first.dispose()
    second.dispose()


def test_a_reader_can_write_nothing(url):
    engine = tables.open_reader(url)
    with engine.connect() as connection:
        connection.execute(select(tables.store)).one()
        with pytest.raises(Exception, match="read-only transaction"):
            connection.execute(tables.store.update().values(changes=7))
    engine.dispose()


@pytest.mark.parametrize("driver", ["postgresql", "postgresql+psycopg"])
def test_the_driver_need_not_be_named(url, driver):
    engine = open_engine(url.replace("postgresql+psycopg", driver), "URL")
    with engine.connect() as connection:
        assert connection.exec_driver_sql("SELECT 1").scalar_one() == 1
    engine.dispose()


@pytest.mark.parametrize("url", ["postgres://host/db", "mysql://host/db", "portal.sqlite"])
def test_what_names_no_store_is_told_with_an_example(url):
    with pytest.raises(ConfigurationError, match=r"URL .*(PostgreSQL|postgresql\+psycopg://)"):
        open_engine(url, "URL")
