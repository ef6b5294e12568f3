"""Topics become what is declared; nothing is lost unasked, no partition count moves."""

from __future__ import annotations

import uuid

import pytest

from pipeline.contract.topics import Declared, Topic
from pipeline.kafka import clients
from pipeline.kafka.topics import Existing, TopicsRefusedError, apply, describe, plan
from pipeline.settings import Settings


def topic(name: str = "logistics.test.v1", **more: object) -> Topic:
    base = {
        "name": name,
        "purpose": "p",
        "owner": "o",
        "key": "k",
        "producers": ["a"],
        "consumers": ["b"],
        "partitions": 4,
        "replication": 1,
        "min_insync_replicas": 1,
        "retention_days": 2,
    }
    return Topic.model_validate(base | more)


def declared(*topics: Topic, retired: tuple[str, ...] = ()) -> Declared:
    return Declared(topics=topics, retired=retired)


def existing(of: Topic, partitions: int = 4, replication: int = 1, **config: str) -> Existing:
    changed = {name.replace("_", "."): value for name, value in config.items()}
    return Existing(partitions, replication, of.config(replication) | changed)


# The comparison


def test_what_lacks_is_created_and_shown():
    found = plan(declared(topic()), {})
    assert found.lines() == [
        "+ logistics.test.v1 4 partitions, 1 replicas (1 in sync), retention.ms 172800000"
    ]
    assert found.destructive == ()


def test_what_is_as_declared_is_left_alone():
    found = plan(declared(topic()), {"logistics.test.v1": existing(topic())})
    assert found.lines() == []


def test_settings_that_nobody_declared_are_an_operator_s_own():
    cluster = {"logistics.test.v1": existing(topic(), flush_messages="7")}
    assert plan(declared(topic()), cluster).lines() == []


@pytest.mark.parametrize(
    ("config", "loses"),
    [
        ({"retention_ms": "1000"}, False),
        ({"retention_ms": "-1"}, True),
        ({"retention_ms": "999999999999"}, True),
        ({"cleanup_policy": "compact"}, True),
        ({"message_timestamp_type": "CreateTime"}, False),
        ({"max_message_bytes": "9999999"}, True),
        ({"min_insync_replicas": "2"}, True),
    ],
)
def test_a_difference_is_shown_and_whether_it_loses_something(config, loses):
    cluster = {"logistics.test.v1": existing(topic(), **config)}
    (change,) = plan(declared(topic()), cluster).changes
    assert change.action == "configure"
    assert bool(change.loses) == loses


@pytest.mark.parametrize("partitions", [1, 8])
def test_a_partition_count_is_never_changed(partitions):
    cluster = {"logistics.test.v1": existing(topic(), partitions=partitions)}
    found = plan(declared(topic()), cluster)
    assert found.changes == ()
    (refusal,) = found.refusals
    assert f"{partitions} partitions, declared are 4" in refusal.why


def test_replication_can_be_raised_for_new_topics_and_is_only_noted_for_old_ones():
    old, new = topic("logistics.old.v1"), topic("logistics.new.v1")
    found = plan(declared(old, new), {"logistics.old.v1": existing(old)}, replication=3)
    assert found.create["logistics.new.v1"] == (new, 3)
    assert "3 replicas (2 in sync)" in str(found.changes[0])
    assert len(found.notes) == 1
    after = {"logistics.old.v1": existing(old), "logistics.new.v1": existing(new, replication=3)}
    assert plan(declared(old, new), after).changes == ()


def test_a_retired_topic_is_deleted_and_a_stranger_is_left_alone():
    cluster = {name: existing(topic()) for name in ("logistics.gone.v1", "logistics.stranger.v1")}
    found = plan(declared(retired=("logistics.gone.v1", "logistics.never.v1")), cluster)
    (change,) = found.destructive
    assert (change.action, change.topic) == ("delete", "logistics.gone.v1")
    assert "logistics.stranger.v1" in found.notes[0]


# On a real cluster


@pytest.fixture
def cluster(stack):
    return lambda: clients.admin(Settings(), stack.bootstrap)


@pytest.fixture
def name():
    return f"test-{uuid.uuid4().hex[:8]}.v1"


@pytest.mark.kafka
def test_applying_creates_then_changes_then_finds_nothing_to_do(stack, cluster, name):
    wanted = declared(topic(name), topic(f"{name}.second", compacted=True, retention_days=None))
    for target in (wanted, declared(topic(name, retention_days=3), wanted.topics[1])):
        client = cluster()
        intended = plan(target, describe(client, stack.bootstrap, target))
        assert intended.changes
        apply(client, stack.bootstrap, intended)
        after = describe(cluster(), stack.bootstrap, target)
        assert plan(target, after).changes == ()
    assert after[name].config["retention.ms"] == "259200000"
    assert after[name].config["message.timestamp.type"] == "LogAppendTime"


@pytest.mark.kafka
def test_two_who_apply_at_once_do_not_disturb_each_other(stack, cluster, name):
    wanted = declared(topic(name))
    client = cluster()
    intended = plan(wanted, describe(client, stack.bootstrap, wanted))
    apply(client, stack.bootstrap, intended)
    apply(client, stack.bootstrap, intended)
    assert plan(wanted, describe(cluster(), stack.bootstrap, wanted)).changes == ()


@pytest.mark.kafka
def test_what_loses_data_needs_the_flag(stack, cluster, name):
    client = cluster()
    apply(client, stack.bootstrap, plan(declared(topic(name)), {}))
    for target in (declared(topic(name, retention_days=1)), declared(retired=(name,))):
        intended = plan(target, describe(cluster(), stack.bootstrap, target))
        with pytest.raises(TopicsRefusedError, match=r"(?s)Nothing was changed.*allow-destructive"):
            apply(client, stack.bootstrap, intended)
        apply(client, stack.bootstrap, intended, allow_destructive=True)
    assert name not in clients.metadata(client, stack.bootstrap).topics


@pytest.mark.kafka
def test_another_partition_count_stops_the_whole_plan(stack, cluster, name):
    client = cluster()
    apply(client, stack.bootstrap, plan(declared(topic(name)), {}))
    target = declared(topic(name, partitions=8), topic(f"{name}.new"))
    intended = plan(target, describe(client, stack.bootstrap, target))
    with pytest.raises(TopicsRefusedError, match="4 partitions, declared are 8"):
        apply(client, stack.bootstrap, intended, allow_destructive=True)
    assert f"{name}.new" not in clients.metadata(client, stack.bootstrap).topics


@pytest.mark.kafka
def test_more_replicas_than_brokers_is_refused_in_the_cluster_s_words(stack, cluster, name):
    with pytest.raises(TopicsRefusedError, match=rf"{name}.*(?i:replication)"):
        apply(cluster(), stack.bootstrap, plan(declared(topic(name)), {}, replication=9))
