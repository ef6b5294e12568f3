"""How entries are sent: order, answers, outages, leases, people's decisions."""

from __future__ import annotations

import json
from concurrent.futures import Executor, Future

import httpx
import pytest
from erp_desk import Desk, booked
from erp_records import approved

from connectors.sinks.database import OutboxError, begin, open_outbox
from connectors.sinks.outbox import Arrival
from connectors.sinks.outbox_desk import (
    UnknownEntryError,
    entries,
    pause,
    release,
    release_all,
    summary,
    withdraw,
)


@pytest.fixture
def engine(tmp_path):
    engine = open_outbox(f"sqlite:///{tmp_path}/outbox.sqlite")
    yield engine
    engine.dispose()


@pytest.fixture
def desk(engine):
    return Desk(engine, booked)


def charge(number: str, entity: str = "S1", **changes):
    return approved(
        "charge.posted", key=number, document=number, amount=10_000, entity_id=entity, **changes
    )


def keys(desk: Desk) -> list[str]:
    return [call.headers["idempotency-key"] for call in desk.calls if call.method == "POST"]


def documents(desk: Desk) -> list[str]:
    posts = [json.loads(call.content) for call in desk.calls if call.method == "POST"]
    return [post["values"]["document"] for post in posts]


def test_a_posting_is_sent_once_and_keeps_the_erps_document_number(desk):
    desk.take(approved("goods.issued"))
    desk.run()

    (row,) = desk.rows()
    assert (row.state, row.document, row.attempts) == ("DONE", "4900000001", 1)
    assert keys(desk) == [row.key]
    assert desk.calls[0].url == "http://erp/postings"


def test_billing_after_a_cancellation_is_sent_once_a_person_releases_it_and_once_only(desk):
    desk.take(approved("departed"))
    desk.take(approved("delivered", flags=["after_cancel"]))
    desk.run()
    assert [key.rpartition(":")[2] for key in keys(desk)] == ["proof-of-delivery"]

    [held] = summary(desk.engine, lambda: desk.now)["for_a_person"]
    assert (held["posting"], held["reason"]) == ("billing-release", "held_by_rule")
    desk.courier = desk.worker()  # restarted
    release(desk.engine, desk.outbox.rules, held["key"], lambda: desk.now)
    desk.run()
    desk.take(approved("delivered", flags=["after_cancel"]))
    desk.run()
    assert keys(desk)[1:] == [held["key"]]


def test_a_split_is_remembered_from_one_transaction_to_the_next(desk):
    parts = ["acme/shipment/S1-A", "acme/shipment/S1-B"]
    for record in (
        approved("shipment.changed", shipments=parts),
        approved("departed"),
        approved("delivered"),
    ):
        desk.take(record)
    desk.run()
    assert [key.rpartition(":")[2] for key in keys(desk)] == ["proof-of-delivery"]
    assert summary(desk.engine, lambda: desk.now)["parked"] == {"held_by_rule": 1}


def test_a_story_that_began_anew_is_remembered_too(desk):
    desk.take(approved("departed"))
    desk.take(approved("goods.issued", key="again", generation=2))
    desk.take(approved("delivered", key="again", generation=2))
    desk.run()
    assert summary(desk.engine, lambda: desk.now)["waiting"] == {"prerequisite_missing": 1}


def test_an_entity_is_booked_in_order_and_one_at_a_time(desk):
    waiting: list[tuple[Future, tuple]] = []

    class Later(Executor):
        def submit(self, function, /, *args, **kwargs):
            future: Future = Future()
            waiting.append((future, (function, *args)))
            return future

    desk.courier = desk.worker(Later())
    desk.take(charge("F1"), charge("F2"), charge("G1", "S2"))
    desk.run(3)
    assert [call[1].entity for _, call in waiting] == ["acme/shipment/S1", "acme/shipment/S2"]

    while waiting:
        future, (function, *args) = waiting.pop(0)
        future.set_result(function(*args))
        desk.run(1)
    assert [name for name in documents(desk) if name.startswith("F")] == ["F1", "F2"]
    assert set(desk.states()) == {"DONE"}


class TestOutages:
    def test_while_the_erp_cant_be_reached_hardly_anything_is_tried_and_nothing_is_parked(
        self, desk
    ):
        def unreachable(_request):
            raise httpx.ConnectError("connection refused")

        desk.answer = unreachable
        desk.take(*(charge(f"F{n}", f"S{n}") for n in range(20)))
        for _ in range(3_600):
            desk.run(2)
            desk.pass_ms(1_000)

        assert len(desk.calls) < 150
        assert set(desk.states()) == {"PENDING"}
        assert not any(row.maybe_booked or row.failures for row in desk.rows())
        found = summary(desk.engine, lambda: desk.now)
        assert found["endpoints"][0]["state"] == "closed"
        assert "can't be reached" in found["endpoints"][0]["words"]

        desk.answer = booked
        desk.pass_ms(60_000)
        desk.run(40)
        assert set(desk.states()) == {"DONE"}
        assert summary(desk.engine)["endpoints"][0]["state"] == "open"

    @pytest.mark.parametrize("status", [429, 503])
    def test_a_retry_after_is_kept_to(self, desk, status):
        desk.answer = lambda _: httpx.Response(status, headers={"retry-after": "120"})
        desk.take(charge("F1"), charge("G1", "S2"))
        desk.run()
        tried = len(desk.calls)
        desk.answer = booked

        desk.pass_ms(119_000)
        desk.run()
        assert len(desk.calls) == tried

        desk.pass_ms(2_000)
        desk.run()
        assert set(desk.states()) == {"DONE"}

    def test_a_retry_after_is_kept_to_across_a_restart(self, desk):
        desk.answer = lambda _: httpx.Response(429, headers={"retry-after": "120"})
        desk.take(charge("F1"))
        desk.run()
        tried = len(desk.calls)

        desk.courier = desk.worker()
        desk.pass_ms(60_000)
        desk.run()
        assert len(desk.calls) == tried

    def test_after_three_failures_in_a_row_the_rest_waits_for_one_to_get_through(self, desk):
        desk.answer = lambda _: httpx.Response(500, text="short dump")
        desk.take(*(charge(f"F{n}", f"S{n}") for n in range(30)))
        desk.run()
        assert len(desk.calls) <= 8

    def test_refused_credentials_are_an_outage_and_no_fault_of_the_postings(self, desk):
        desk.answer = lambda _: httpx.Response(401, json={"message": "token expired"})
        desk.take(charge("F1"), charge("G1", "S2"))
        desk.run()

        assert set(desk.states()) == {"PENDING"}
        assert "credentials" in summary(desk.engine)["endpoints"][0]["words"]

    def test_an_erp_that_refuses_everything_is_an_outage_before_all_is_parked(self, desk):
        desk.answer = lambda _: httpx.Response(404, text="no such service")
        desk.take(*(charge(f"F{n}", f"S{n}") for n in range(100)))
        desk.run(30)

        assert desk.states().count("PARKED") < 30
        assert "in a row" in summary(desk.engine)["endpoints"][0]["words"]

    def test_one_posting_that_keeps_failing_while_others_are_booked_is_parked(self, desk):
        def answer(request):
            bad = json.loads(request.content)["entity_id"] == "S-bad"
            return httpx.Response(500, text="short dump") if bad else booked(request)

        desk.answer = answer
        desk.take(charge("F0", "S-bad"))
        for n in range(40):
            desk.take(charge(f"G{n}", f"S{n}"))
            desk.run(4)
            desk.pass_ms(60_000)

        bad, *others = desk.rows()
        assert (bad.state, bad.reason) == ("PARKED", "keeps_failing")
        assert "short dump" in bad.words
        assert {row.state for row in others} == {"DONE"}

    def test_a_pause_for_maintenance_is_kept(self, desk):
        pause(desk.engine, "postings", desk.now + 60_000, "year-end closing", lambda: desk.now)
        desk.take(charge("F1"))
        desk.run()
        assert desk.calls == []
        assert summary(desk.engine, lambda: desk.now)["endpoints"][0]["words"] == "year-end closing"

        desk.pass_ms(61_000)
        desk.run()
        assert desk.states() == ["DONE"]


class TestUnknownOutcomes:
    def lost(self, request):
        raise httpx.ReadTimeout("no answer")

    def test_the_same_key_is_sent_again_where_the_erp_honours_it(self, desk):
        desk.answer = self.lost
        desk.take(charge("F1"))
        desk.run()
        desk.answer = booked
        desk.pass_ms(120_000)
        desk.run()

        assert len(keys(desk)) == 2
        assert len(set(keys(desk))) == 1
        assert desk.calls[0].content == desk.calls[1].content

    def test_elsewhere_the_erp_is_asked_by_key_first_once_it_has_settled(self, engine):
        desk = Desk(engine, self.lost, honours_keys=False)
        desk.take(charge("F1"))
        desk.run()
        assert [call.method for call in desk.calls] == ["POST"]

        desk.answer = lambda _: httpx.Response(200, json={"document": "77"})
        desk.pass_ms(29_000)
        desk.run()
        assert len(desk.calls) == 1

        desk.pass_ms(90_000)
        desk.run()
        assert [call.method for call in desk.calls] == ["POST", "GET"]
        assert (desk.rows()[0].state, desk.rows()[0].document) == ("DONE", "77")

    def test_what_the_erp_does_not_know_by_key_is_sent_again(self, engine):
        desk = Desk(engine, self.lost, honours_keys=False)
        desk.take(charge("F1"))
        desk.run()
        desk.answer = lambda request: (
            httpx.Response(404) if request.method == "GET" else booked(request)
        )
        desk.pass_ms(120_000)
        desk.run()
        assert [call.method for call in desk.calls] == ["POST", "GET", "POST"]
        assert desk.states() == ["DONE"]

    def test_a_question_without_an_answer_leads_to_no_posting(self, engine):
        desk = Desk(engine, self.lost, honours_keys=False)
        desk.take(charge("F1"))
        desk.run()
        desk.answer = lambda _: httpx.Response(500)
        for _ in range(10):
            desk.pass_ms(120_000)
            desk.run()
        assert [call.method for call in desk.calls].count("POST") == 1

    def test_after_the_erp_has_forgotten_keys_it_is_asked_first(self, desk):
        desk.answer = self.lost
        desk.take(charge("F1"))
        desk.run()
        desk.answer = lambda request: (
            httpx.Response(404) if request.method == "GET" else booked(request)
        )
        desk.pass_ms(25 * 3_600_000)
        desk.run()
        assert [call.method for call in desk.calls] == ["POST", "GET", "POST"]

    def test_a_202_is_not_yet_a_booking(self, desk):
        desk.answer = lambda _: httpx.Response(202)
        desk.take(charge("F1"))
        desk.run(2)
        assert desk.states() == ["PENDING"]


class TestLeases:
    def test_an_entry_of_a_worker_that_ended_is_sent_by_the_next_under_the_same_key(self, desk):
        class Dies(Executor):
            def submit(self, function, /, *args, **kwargs):
                function(*args)
                return Future()  # its worker never hears of it

        dead = desk.worker(Dies())
        desk.take(charge("F1"))
        dead.step()
        assert desk.states() == ["SENDING"]

        desk.courier = desk.worker()
        desk.run()
        assert desk.states() == ["DONE"]
        assert len(keys(desk)) == 2
        assert len(set(keys(desk))) == 1

    def test_where_keys_are_not_honoured_the_lease_runs_out_first(self, engine):
        class Dies(Executor):
            def submit(self, function, /, *args, **kwargs):
                function(*args)
                return Future()

        desk = Desk(engine, booked, honours_keys=False)
        dead = desk.worker(Dies())
        desk.take(charge("F1"))
        dead.step()
        desk.courier = desk.worker()
        desk.run()
        assert len(desk.calls) == 1

        desk.answer = lambda _: httpx.Response(200, json={"document": "1"})
        desk.pass_ms(200_000)
        desk.run()
        assert [call.method for call in desk.calls] == ["POST", "GET"]
        assert desk.states() == ["DONE"]

    def test_a_worker_that_was_replaced_sends_and_settles_nothing(self, desk):
        held: list[tuple[Future, tuple]] = []

        class Later(Executor):
            def submit(self, function, /, *args, **kwargs):
                future: Future = Future()
                held.append((future, (function, *args)))
                return future

        old = desk.worker(Later())
        desk.take(charge("F1"), charge("F2"))
        old.step()
        desk.courier = desk.worker()
        desk.run()
        assert desk.states() == ["DONE", "DONE"]

        future, (function, *args) = held.pop()
        desk.answer = lambda _: httpx.Response(422, text="too late")
        future.set_result(function(*args))
        desk.take(charge("F3"))
        old.step()
        assert desk.states() == ["DONE", "DONE", "PENDING"]
        assert held == []

    def test_a_worker_that_was_frozen_does_not_send_what_may_be_anothers(self, desk):
        held: list[tuple[Future, tuple]] = []

        class Later(Executor):
            def submit(self, function, /, *args, **kwargs):
                future: Future = Future()
                held.append((future, (function, *args)))
                return future

        frozen = desk.worker(Later())
        desk.take(charge("F1"))
        frozen.step()
        desk.pass_ms(600_000)
        future, (function, *args) = held.pop()
        future.set_result(function(*args))
        assert desk.calls == []


class TestParked:
    def refuse_s1(self, request):
        if json.loads(request.content)["entity_id"] == "S1":
            return httpx.Response(422, json={"detail": "period 10 is closed"})
        return booked(request)

    def test_the_erps_words_are_kept_and_others_are_not_blocked(self, desk):
        desk.answer = self.refuse_s1
        desk.take(charge("F1"), charge("F2"), charge("G1", "S2"))
        desk.run()

        assert desk.states() == ["PARKED", "PENDING", "DONE"]
        found = summary(desk.engine, lambda: desk.now)
        assert found["parked"] == {"refused_by_erp": 1}
        assert found["behind_parked"] == 1
        assert "period 10 is closed" in found["for_a_person"][0]["words"]
        second = entries(desk.engine, entity="acme/shipment/S1")[1]
        assert second["behind"].startswith("waits behind entry 1 (freight-accrual, PARKED)")
        assert "period 10 is closed" in second["behind"]

    def test_a_release_sends_it_again_and_then_those_behind_it(self, desk):
        desk.answer = self.refuse_s1
        desk.take(charge("F1"), charge("F2"))
        desk.run()
        desk.answer = booked
        release(desk.engine, desk.outbox.rules, 1, lambda: desk.now)
        desk.run()

        assert desk.states() == ["DONE", "DONE"]
        assert documents(desk) == ["F1", "F1", "F2"]

    def test_all_with_one_reason_are_released_together(self, desk):
        desk.answer = lambda _: httpx.Response(422, text="period 10 is closed")
        desk.take(charge("F1"), charge("G1", "S2"))
        desk.run()
        desk.answer = booked
        assert release_all(desk.engine, desk.outbox.rules, "refused_by_erp", lambda: desk.now) == 2
        desk.run()
        assert set(desk.states()) == {"DONE"}

    def test_a_withdrawal_lets_those_behind_it_pass(self, desk):
        desk.answer = self.refuse_s1
        desk.take(charge("F1"), charge("F2"))
        desk.run()
        desk.answer = booked
        withdraw(desk.engine, desk.outbox.rules, 1, "booked as 4711", booked=True)
        desk.run()
        assert desk.states() == ["ELSEWHERE", "DONE"]

    def test_an_unknown_entry_is_named(self, desk):
        with pytest.raises(UnknownEntryError, match="no entry 99"):
            release(desk.engine, desk.outbox.rules, 99)


def test_an_unreadable_record_keeps_only_its_own_entity_waiting(desk):
    with desk.engine.begin() as connection:
        broken = Arrival(0, 1, desk.now, "acme/shipment/S1", None, "can't be read", b"\x00")
        desk.outbox.take(connection, [broken], 0)
    desk.take(charge("F1"), charge("G1", "S2"))
    desk.run()

    assert desk.states() == ["PARKED", "PENDING", "DONE"]
    withdraw(desk.engine, desk.outbox.rules, 1, "looked at", booked=False)
    desk.run()
    assert desk.states() == ["WITHDRAWN", "DONE", "DONE"]


def test_an_outbox_keeps_to_its_first_cut_over_and_its_cluster(engine):
    with engine.begin() as connection:
        assert begin(connection, 5, "cluster-a") == 5
        assert begin(connection, 9, "cluster-a") == 5
        with pytest.raises(OutboxError, match="follows Kafka cluster cluster-a"):
            begin(connection, 5, "cluster-b")
