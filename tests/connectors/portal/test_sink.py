"""The portal's sink against a real Kafka: exact through kills, patient in outages."""

from __future__ import annotations

import queue
import random
import threading
import time

import pytest
from portal_cluster import until
from portal_records import approved, entity_status
from sqlalchemy import func, select

from connectors.portal import tables
from connectors.sinks.portal import PortalSink, Where
from pipeline.contract.names import APPROVED, POLICY
from pipeline.kafka import clients
from pipeline.kafka.errors import UnreachableError
from pipeline.settings import load

pytestmark = pytest.mark.kafka


def story(tenant, shipment, revisions):
    """One shipment's records: a departure that is corrected again and again, and its status."""
    for number in range(1, revisions + 1):
        common = {"tenant": tenant, "entity_id": shipment}
        yield approved(seq=number, revision=number, occurred=1_762_250_400_000 + number, **common)
        yield entity_status(seq=number, linked=[], references=[], **common)


def exact(cluster, shipments, revisions):
    """Whether the store has each revision once and every entity at its newest."""

    def look(store):
        with store._engine.connect() as connection:
            table = tables.revision
            of_ours = table.c.tenant == cluster.tenant
            counted = connection.execute(
                select(func.count(), func.count(table.c.entity_seq.distinct())).where(of_ours)
            ).one()
            current = connection.execute(
                select(func.count()).where(
                    tables.milestone.c.tenant == cluster.tenant,
                    tables.milestone.c.revision == revisions,
                )
            ).scalar_one()
            heads = connection.execute(
                select(func.count()).where(
                    tables.entity.c.tenant == cluster.tenant,
                    tables.entity.c.status_seq == revisions,
                    tables.entity.c.summary.is_not(None),
                )
            ).scalar_one()
        wanted = (shipments * revisions, revisions, shipments, shipments)
        return (*counted, current, heads) == wanted

    return cluster.read(look)


def test_what_was_committed_is_shown_once_and_what_was_aborted_never(portal_cluster):
    cluster = portal_cluster
    cluster.start()
    cluster.produce(story(cluster.tenant, "SHP-1", 3))
    cluster.produce(story(cluster.tenant, "SHP-ABORTED", 3), abort=True)
    cluster.produce(story(cluster.tenant, "SHP-2", 3))
    until(lambda: exact(cluster, 2, 3), what="both stories in the store")
    assert cluster.read(lambda store: store.find("shipment", "SHP-ABORTED", cluster.tenant)) is None
    verified = until(lambda: cluster.read(lambda store: store.freshness().verified_ms))
    until(
        lambda: cluster.read(lambda store: store.freshness().verified_ms) > verified,
        what="a newer verification although nothing happens",
    )


def test_an_open_transaction_does_not_keep_the_store_from_being_verified(portal_cluster):
    cluster = portal_cluster
    cluster.begin(story(cluster.tenant, "SHP-OPEN", 1))
    cluster.start()
    verified = until(lambda: cluster.read(lambda store: store.freshness().verified_ms))
    until(lambda: cluster.read(lambda store: store.freshness().verified_ms) > verified)
    cluster.commit()
    until(lambda: exact(cluster, 1, 1), what="the story once it is committed")


def test_the_bundle_that_was_published_last_is_kept_for_what_things_are_called(portal_cluster):
    cluster = portal_cluster
    cluster.start()
    versions = [f"{cluster.tenant}.{number}" for number in (1, 2)]
    for version in versions:
        clients.deliver(
            clients.producer(cluster.settings, cluster.bootstrap),
            [clients.Outgoing(POLICY, b"{}", version.encode())],
        )
    until(lambda: cluster.read(lambda store: store.bundle_version()) == versions[1])


@pytest.mark.fault
@pytest.mark.slow
def test_kills_at_any_moment_lose_and_repeat_nothing(portal_cluster):
    cluster = portal_cluster
    chance = random.Random(11)
    shipments, revisions, kills = 40, 30, 4
    stories = [list(story(cluster.tenant, f"SHP-{n}", revisions)) for n in range(shipments)]
    rounds = queue.SimpleQueue()

    def produce():
        """For each round a fifth of the stories, in many small transactions."""
        share = 2 * revisions // (kills + 1)
        for number in range(kills + 1):
            rounds.get()
            for step in range(number * share, (number + 1) * share):
                cluster.produce([records[step] for records in stories])

    producing = threading.Thread(target=produce)
    producing.start()
    for _ in range(kills):
        before = cluster.read(lambda store: store.newest_change()) or 0
        process = cluster.start()
        rounds.put("go")
        until(
            lambda start=before: (cluster.read(lambda store: store.newest_change()) or 0) > start,
            what="the sink at work",
        )
        time.sleep(chance.uniform(0, 0.3))
        process.kill()
        process.wait()
    rounds.put("go")
    cluster.start()
    producing.join(60)
    until(lambda: exact(cluster, shipments, revisions), what="every revision once")


def test_a_second_sink_takes_partitions_over_and_the_result_stays_exact(portal_cluster):
    cluster = portal_cluster
    first = cluster.start()
    cluster.produce(story(cluster.tenant, "SHP-1", 5))
    until(lambda: exact(cluster, 1, 5), what="the first story")
    cluster.start()
    cluster.produce(story(cluster.tenant, "SHP-2", 5))
    until(lambda: exact(cluster, 2, 5), what="the second story")
    first.terminate()
    assert first.wait(30) == 0
    cluster.produce(story(cluster.tenant, "SHP-3", 5))
    until(lambda: exact(cluster, 3, 5), what="the third story")


def test_a_record_that_cannot_be_read_is_set_aside_and_the_others_go_on(portal_cluster):
    cluster = portal_cluster
    cluster.produce(story(cluster.tenant, "SHP-1", 1))
    cluster.begin([])
    cluster.producer.produce(APPROVED, b"\x00\x00\x00\x00\x01nonsense", cluster.tenant.encode())
    cluster.commit()
    cluster.produce(story(cluster.tenant, "SHP-2", 1))
    cluster.start()
    until(lambda: exact(cluster, 2, 1), what="both stories")

    def set_aside(store):
        ours = select(tables.unreadable).where(tables.unreadable.c.key == cluster.tenant.encode())
        with store._engine.connect() as connection:
            kept = connection.execute(ours).all()
        return kept and store.freshness().unreadable >= len(kept)

    until(lambda: cluster.read(set_aside), what="the record, kept as it came")


def test_while_kafka_or_registry_is_away_it_waits_says_so_and_goes_on(portal_cluster):
    cluster = portal_cluster
    cluster.produce(story(cluster.tenant, "SHP-1", 1))
    there = Where(cluster.bootstrap, cluster.registry_url)
    answers = [
        Where("127.0.0.1:1", cluster.registry_url),
        Where(cluster.bootstrap, "http://127.0.0.1:1"),
    ]

    def find():
        if not answers:
            return there
        return answers.pop(0)

    def state(wanted, part):
        def look(store):
            found = store.freshness()
            return found.state == wanted and part in found.detail

        return cluster.read(look)

    stop = threading.Event()
    sink = PortalSink(cluster.settings, find)
    running = threading.Thread(target=sink.run, args=(stop,), daemon=True)
    running.start()
    until(lambda: state("waiting", "Kafka at 127.0.0.1:1 can't be reached"))
    until(lambda: state("waiting", "schema registry at http://127.0.0.1:1"))
    until(lambda: exact(cluster, 1, 1), what="the story after the outages")
    until(lambda: state("reading", ""))
    stop.set()
    running.join(30)
    assert not running.is_alive()
    assert state("stopped", "")


def test_it_waits_where_no_address_is_known_yet(tmp_path):
    settings = load({"MILEPOST_STATE_DIR": str(tmp_path)})
    stop = threading.Event()

    def find():
        stop.set()
        raise UnreachableError("No Kafka is known: start one with `milepost up`")

    sink = PortalSink(settings, find)
    sink.run(stop)
    engine = tables.open_reader(tables.database_url(settings))
    with engine.connect() as connection:
        row = connection.execute(select(tables.sink)).one()
    engine.dispose()
    assert (row.state, row.detail) == ("waiting", "No Kafka is known: start one with `milepost up`")
