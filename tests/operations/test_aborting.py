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
    last = transactions.last_decisions(settings(), stack.bootstrap)[topic, 0][name]
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
