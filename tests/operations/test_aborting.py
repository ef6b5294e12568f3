"""Transactions that stay open are named; those are ended that an abort can't tear."""

import contextlib
import uuid

import pytest
from confluent_kafka.admin import AdminClient, NewTopic
from hanging_transactions import append, begun, finished, verify

from pipeline.operations import aborting, markers, transactions
from pipeline.operations.aborting import Hanging, NotAbortedError
from pipeline.operations.handshake import HandshakeError
from pipeline.operations.markers import Owner
from pipeline.operations.transactions import Decision, Entry, Stuck
from pipeline.settings import Settings

pytestmark = pytest.mark.kafka


@pytest.fixture
def topic(stack):
    name = f"aborting.{uuid.uuid4()}"
    admin = AdminClient({"bootstrap.servers": stack.bootstrap})
    admin.create_topics([NewTopic(name, 1)])[name].result(20)
    yield name
    admin.delete_topics([name])[name].result(20)


@pytest.fixture
def unverified(stack):
    """Brokers that take a transaction's records without asking its coordinator."""
    verify(stack.bootstrap, "false")
    yield
    verify(stack.bootstrap, "true")


def settings():
    return Settings()


def found(stack, topic):
    every = aborting.hanging(settings(), stack.bootstrap, 0.5, lambda _: None)
    return [one for one in every if one.topic == topic]


def hang(stack, topic, end):
    """Let a producer's late record arrive after its transaction had ended so; it hangs."""
    name = f"late-{topic}"
    finished(stack.bootstrap, topic, name, end)
    every = [
        e.decision
        for e in transactions.entries(settings(), stack.bootstrap)
        if (topic, 0) in e.partitions
    ]
    last = every[-1]
    assert append(stack.bootstrap, topic, name, last.producer_id, last.epoch, 1) == 0
    return name


def test_what_is_still_undecided_is_ended_by_its_coordinator(stack, topic):
    producer = begun(stack.bootstrap, topic)
    (one,) = found(stack, topic)
    assert (one.transactional_id, one.state, one.offset, one.safe) == (topic, "Ongoing", 0, True)
    aborting.abort(settings(), stack.bootstrap, one)
    assert found(stack, topic) == []
    with contextlib.suppress(Exception):
        producer.abort_transaction(5)


@pytest.mark.usefixtures("unverified")
def test_what_was_decided_to_be_aborted_is_aborted_again(stack, topic):
    name = hang(stack, topic, "abort_transaction")
    (one,) = found(stack, topic)
    assert (one.transactional_id, one.state, one.offset) == (name, "PrepareAbort", 2)
    aborting.abort(settings(), stack.bootstrap, one)
    assert found(stack, topic) == []


@pytest.mark.usefixtures("unverified")
def test_what_may_belong_to_a_decided_commit_is_left_alone(stack, topic):
    hang(stack, topic, "commit_transaction")
    (one,) = found(stack, topic)
    assert (one.state, one.safe) == ("PrepareCommit", False)
    with pytest.raises(NotAbortedError, match="PrepareCommit: Do not abort it"):
        aborting.abort(settings(), stack.bootstrap, one)
    assert found(stack, topic) == [one]


@pytest.mark.usefixtures("unverified")
def test_what_nobody_knows_is_left_alone(stack, topic):
    assert append(stack.bootstrap, topic, "nobody", 4_242_424, 0, 0) == 0
    (one,) = found(stack, topic)
    assert (one.transactional_id, one.owner.producer_id) == ("", 4_242_424)
    with pytest.raises(NotAbortedError, match="nothing is known of it: Do not abort it"):
        aborting.abort(settings(), stack.bootstrap, one)


@pytest.mark.usefixtures("unverified")
def test_an_older_producer_of_the_same_name_is_not_taken_for_the_newer_one(stack, topic):
    """What the log says of the newer one says nothing of what the older one left open."""
    name = hang(stack, topic, "abort_transaction")
    finished(stack.bootstrap, topic, name, "abort_transaction")  # fences it, with a new epoch
    assert [one.safe for one in found(stack, topic)] in ([], [False])


def test_a_producer_that_wants_a_login_is_not_asked():
    closed = Settings(kafka_security_protocol="SASL_SSL")
    with pytest.raises(HandshakeError, match="wants a login"):
        markers.owners(("127.0.0.1", 1), closed, "t", 0)


def test_a_partition_without_a_leader_is_told(stack):
    one = Hanging("nowhere", 0, 0, Owner(1, 0, 0, 0), "x", "PrepareAbort")
    with pytest.raises(NotAbortedError, match="has no leader"):
        aborting.abort(settings(), stack.bootstrap, one)


class TestWhatTheCoordinatorsLogSaysOfATransactionThatBeganAtOneSecond:
    """Producer 7 under epoch 1; its first record on `t[0]` was appended at 1,000 ms."""

    @pytest.fixture
    def found(self, monkeypatch):
        def find(*told, skew_ms=0):
            log = [
                Entry("governor-0", Decision(state, producer, epoch, at_ms), [("t", 0)])
                for state, producer, epoch, at_ms in told
            ]
            monkeypatch.setattr(transactions, "stuck", lambda *_: [Stuck("t", 0, 5, 9)])
            monkeypatch.setattr(transactions, "begun", lambda *_: 1_000)
            monkeypatch.setattr(transactions, "entries", lambda *_: iter(log))
            monkeypatch.setattr(aborting, "_owners", lambda *_: [Owner(7, 1, 0, 5)])
            monkeypatch.setattr(aborting, "_skew_ms", lambda *_: skew_ms)
            (one,) = aborting.hanging(settings(), "nowhere", 0, lambda _: None)
            return one.state, one.safe

        return find

    def test_it_was_given_up_by_its_coordinator_under_the_next_epoch(self, found):
        assert found(("Ongoing", 7, 1, 1_001), ("PrepareAbort", 7, 2, 6_000)) == (
            "PrepareAbort",
            True,
        )

    def test_a_commit_before_it_was_another_transaction(self, found):
        assert found(("PrepareCommit", 7, 1, 999), ("Ongoing", 7, 1, 1_001)) == ("Ongoing", True)

    def test_a_commit_since_was_its_own_whatever_its_producer_did_next(self, found):
        decided = ("PrepareCommit", 7, 1, 1_010), ("Ongoing", 7, 1, 1_020)
        assert found(*decided) == ("PrepareCommit", False)
        assert found(*decided, ("PrepareAbort", 7, 2, 9_000)) == ("PrepareCommit", False)

    def test_brokers_clocks_may_differ(self, found):
        told = ("PrepareCommit", 7, 1, 500), ("Ongoing", 7, 1, 1_001)
        assert found(*told, skew_ms=1_000) == ("PrepareCommit", False)

    def test_what_another_producer_decided_says_nothing(self, found):
        assert found(("PrepareAbort", 8, 1, 1_010)) == ("", False)

    def test_what_came_under_a_later_epoch_only_says_nothing(self, found):
        assert found(("PrepareAbort", 7, 3, 9_000)) == ("", False)
        assert found(("Ongoing", 7, 1, 1_001), ("Ongoing", 7, 2, 9_000)) == ("", False)
