"""The ERP sink with a real Kafka and real HTTP: nothing lost, nothing booked twice, in order."""

from __future__ import annotations

import random
import signal

import pytest
from erp_cluster import ErpCluster, wait_until_killed
from erp_process import until
from erp_records import approved
from sqlalchemy import text
from sqlalchemy.exc import OperationalError

from connectors.sinks.database import database_url, open_outbox
from connectors.sinks.outbox_desk import release
from connectors.sinks.postings import load_postings

pytestmark = pytest.mark.kafka


@pytest.fixture
def cluster(stack, tmp_path):
    made = ErpCluster(stack.bootstrap, stack.registry_url, tmp_path)
    yield made
    made.close()


@pytest.fixture
def forgetful(stack, tmp_path, monkeypatch):
    """An ERP that does not honour keys, and says so in the rules."""
    monkeypatch.setattr(ErpCluster, "endpoint", {"honours_keys": False, "timeout": "PT0.5S"})
    made = ErpCluster(stack.bootstrap, stack.registry_url, tmp_path)
    made.erp.faults(honours_keys=False)
    yield made
    made.close()


def story(tenant: str, shipment: str) -> list[dict]:
    """A shipment from the dock to the invoice: seven milestones, eight postings."""
    sequence = iter(range(1, 20))

    def one(event_type, revision=1, **changes):
        return approved(
            event_type,
            revision,
            tenant=tenant,
            entity_id=shipment,
            entity_seq=next(sequence),
            **{"key": tenant, **changes},
        )

    return [
        one("goods.issued"),
        one("departed"),
        one("delivered", key=f"{tenant}/a"),
        one("delivered", key=f"{tenant}/b"),
        one("charge.posted", document="F1", amount=1_000_000, currency="USD"),
        one("invoice.approved", document="I1", amount=1_000_000, currency="USD"),
        one("pod.received"),
    ]


POSTINGS = 7  # goods issue, twice proof and billing, accrual, payment


def exact(cluster: ErpCluster, shipments: int) -> None:
    """Every posting of every shipment once, each shipment's in the order of its story."""
    booked = cluster.booked()
    assert len(booked) == shipments * POSTINGS
    assert len({row["key"] for row in booked}) == len(booked)
    by_entity: dict[str, list[int]] = {}
    for row in booked:
        by_entity.setdefault(row["entity"], []).append(row["body"]["entity_seq"])
    assert len(by_entity) == shipments
    assert all(numbers == sorted(numbers) for numbers in by_entity.values())
    found = cluster.erp.summary()
    assert (found["double_postings"], found["double_effects"]) == (0, 0)


def test_approved_milestones_are_booked_once_and_in_order(cluster):
    cluster.produce([approved(tenant=cluster.tenant, entity_id="aborted")], abort=True)
    for number in range(20):
        cluster.produce(story(cluster.tenant, f"S{number}"))
    process = cluster.start()
    until(lambda: cluster.quiet(20 * POSTINGS))

    exact(cluster, 20)
    found = cluster.summary()
    assert found["reading"]["state"] == "reading"
    assert found["oldest_pending_ms"] is None
    cluster.stop(process)


def test_correction_and_retraction_name_the_original(cluster):
    process = cluster.start()
    common = {"tenant": cluster.tenant, "entity_id": "S1", "document": "F1"}
    cluster.produce([approved("charge.posted", amount=1_000_000, **common)])
    until(lambda: cluster.quiet(1))
    cluster.produce([approved("charge.posted", 2, amount=1_200_000, **common)])
    until(lambda: cluster.quiet(2))
    cluster.produce([approved("charge.posted", 3, action="RETRACT", **common)])
    until(lambda: cluster.quiet(3))

    original, adjustment, reversal = cluster.booked()
    assert [row["kind"] for row in cluster.booked()] == ["ORIGINAL", "ADJUSTMENT", "REVERSAL"]
    assert adjustment["reference"] == reversal["reference"] == original["key"]
    assert adjustment["body"]["values"]["amount"] == "120"
    assert adjustment["body"]["previous"]["amount"] == "100"
    cluster.stop(process)


@pytest.mark.fault
@pytest.mark.slow
def test_kills_before_and_after_a_posting_lose_and_repeat_nothing(cluster):
    for number in range(15):
        cluster.produce(story(cluster.tenant, f"S{number}"))
    for plan in ("before:1", "after:1", "after:7", "before:9", "after:3", "after:20"):
        wait_until_killed(cluster.start(plan))
    process = cluster.start()
    until(lambda: cluster.quiet(15 * POSTINGS))

    exact(cluster, 15)
    # An answer that was lost with its sink was asked for again under the same key
    assert cluster.erp.summary()["replays"] >= 4
    cluster.stop(process)


@pytest.mark.fault
@pytest.mark.slow
def test_kills_at_any_moment_lose_and_repeat_nothing(cluster):
    chance = random.Random(7)
    for round_ in range(5):
        process = cluster.start()
        for number in range(4):
            cluster.produce(story(cluster.tenant, f"S{round_}-{number}"))
        if chance.random() < 0.5:
            booked = len(cluster.booked())
            until(lambda booked=booked: len(cluster.booked()) > booked)
        process.kill()
        process.wait()
    process = cluster.start()
    until(lambda: cluster.quiet(20 * POSTINGS))

    exact(cluster, 20)
    cluster.stop(process)


@pytest.mark.fault
@pytest.mark.slow
def test_lost_answers_and_errors_book_nothing_twice(cluster):
    cluster.erp.faults(lose_rate=0.2, error_rate=0.1, seed=3)
    process = cluster.start()
    for number in range(15):
        cluster.produce(story(cluster.tenant, f"S{number}"))
    until(lambda: cluster.quiet(15 * POSTINGS), 90)

    exact(cluster, 15)
    assert cluster.erp.summary()["replays"] > 0
    cluster.stop(process)


@pytest.mark.fault
@pytest.mark.slow
def test_an_erp_that_honours_no_keys_is_asked_before_anything_is_sent_again(forgetful):
    forgetful.erp.faults(honours_keys=False, lose_next=3)
    for number in range(5):
        forgetful.produce(story(forgetful.tenant, f"S{number}"))
    wait_until_killed(forgetful.start("after:9"))
    process = forgetful.start()
    until(lambda: forgetful.quiet(5 * POSTINGS), 90)

    exact(forgetful, 5)
    assert forgetful.erp.summary()["replays"] == 0
    forgetful.stop(process)


@pytest.mark.fault
@pytest.mark.slow
def test_while_the_erp_is_down_nothing_is_lost_parked_or_tried_in_vain(cluster):
    process = cluster.start()
    cluster.produce(story(cluster.tenant, "S0"))
    until(lambda: cluster.quiet(POSTINGS))
    cluster.erp.kill()
    for number in range(1, 10):
        cluster.produce(story(cluster.tenant, f"S{number}"))
    until(lambda: cluster.summary()["endpoints"][0]["state"] == "closed")
    until(lambda: cluster.summary()["states"]["PENDING"] >= 9 * POSTINGS - 1)
    assert cluster.parked() == []

    cluster.erp.start()
    until(lambda: cluster.quiet(10 * POSTINGS))
    exact(cluster, 10)
    cluster.stop(process)


def freeze(process, cluster):
    """Freeze a sink, but not while it holds SQLite's only write lock: then nobody could go on."""
    engine = open_outbox(database_url(cluster.settings))
    while True:
        process.send_signal(signal.SIGSTOP)
        try:
            with engine.connect() as connection:
                connection.connection.dbapi_connection.execute("PRAGMA busy_timeout=200")
                connection.execute(text("SELECT 1"))
                break
        except OperationalError:
            process.send_signal(signal.SIGCONT)
    engine.dispose()


@pytest.mark.fault
@pytest.mark.slow
def test_a_frozen_worker_that_wakes_up_books_nothing_again(cluster):
    first = cluster.start()
    alone = until(cluster.epochs)
    cluster.environment["MILEPOST_ERP_SLOT"] = "1"
    second = cluster.start()
    until(lambda: cluster.epochs() > alone)
    for number in range(10):
        cluster.produce(story(cluster.tenant, f"S{number}"))
    until(cluster.booked)
    freeze(first, cluster)
    for number in range(10, 20):
        cluster.produce(story(cluster.tenant, f"S{number}"))
    until(lambda: cluster.quiet(20 * POSTINGS), 60)
    first.send_signal(signal.SIGCONT)
    for number in range(20, 30):
        cluster.produce(story(cluster.tenant, f"S{number}"))
    until(lambda: cluster.quiet(30 * POSTINGS), 60)

    exact(cluster, 30)
    cluster.stop(first)
    cluster.stop(second)


@pytest.mark.fault
@pytest.mark.slow
def test_two_sinks_under_one_slot_book_nothing_twice(cluster):
    cluster.start()
    for number in range(5):
        cluster.produce(story(cluster.tenant, f"S{number}"))
    until(cluster.booked)
    alone = cluster.epochs()
    second = cluster.start()
    until(lambda: cluster.epochs() > alone)
    for number in range(5, 15):
        cluster.produce(story(cluster.tenant, f"S{number}"))
    until(lambda: cluster.quiet(15 * POSTINGS), 60)

    exact(cluster, 15)
    cluster.stop(second)


def test_a_refused_posting_blocks_only_its_own_shipment(cluster):
    words = "cost centre 4711 is locked"
    cluster.erp.faults(refuse=[{"posting": "freight-accrual", "entity_id": "S1", "words": words}])
    process = cluster.start()
    for number in range(3):
        cluster.produce(story(cluster.tenant, f"S{number}"))
    until(cluster.parked)
    until(lambda: cluster.summary()["states"]["DONE"] == 3 * POSTINGS - 2)

    (found,) = cluster.parked()
    assert found["reason"] == "refused_by_erp"
    assert words in found["words"]
    assert words in cluster.entries("S1")[-1]["behind"]

    cluster.erp.faults()
    engine = open_outbox(database_url(cluster.settings))
    rules = load_postings(cluster.folder / "policy")
    release(engine, rules, found["key"])
    engine.dispose()
    until(lambda: cluster.quiet(3 * POSTINGS))
    exact(cluster, 3)
    cluster.stop(process)


def test_a_new_sink_on_an_old_topic_posts_nothing_again(cluster):
    cluster.produce(story(cluster.tenant, "S0")[:4])
    process = cluster.start()
    until(lambda: cluster.quiet(5))
    cluster.stop(process)
    first = len(cluster.booked())

    # Another outbox, another group: it begins now
    cluster.environment |= {
        "MILEPOST_ERP_GROUP": f"other-{cluster.tenant}",
        "MILEPOST_ERP_DATABASE_URL": f"sqlite:///{cluster.folder}/other.sqlite",
        "TEST_START": "now",
    }
    settings = {k: v for k, v in cluster.environment.items() if k != "TEST_START"}
    cluster.settings = type(cluster.settings).model_validate(
        {k.removeprefix("MILEPOST_").lower(): v for k, v in settings.items()}
    )
    process = cluster.start()
    until(lambda: cluster.summary()["states"]["ELSEWHERE"] >= 5)
    cluster.produce(story(cluster.tenant, "S0")[4:])
    cluster.produce([approved("delivered", tenant=cluster.tenant, entity_id="S0", key="c")])
    until(lambda: cluster.quiet(4))

    new = cluster.booked()[first:]
    assert {row["posting"] for row in new} == {
        "freight-accrual",
        "payment-release",
        "proof-of-delivery",
        "billing-release",
    }
    assert cluster.erp.summary()["double_effects"] == 0
    cluster.stop(process)


def test_a_record_that_cant_be_read_blocks_only_its_own_shipment(cluster):
    process = cluster.start()
    cluster.produce_raw(f"{cluster.tenant}/shipment/S1", b"\x00\x00\x00\x00\x07garbage")
    cluster.produce(story(cluster.tenant, "S0"))
    cluster.produce(story(cluster.tenant, "S1"))
    until(lambda: cluster.summary()["states"]["DONE"] >= POSTINGS)
    until(lambda: cluster.entries("S1"))

    assert {row["entity"] for row in cluster.booked()} == {f"{cluster.tenant}/shipment/S0"}
    unreadable = cluster.entries("S1")[0]
    assert (unreadable["state"], unreadable["reason"]) == ("PARKED", "unreadable")
    cluster.stop(process)
