"""Watermarks: seldom, only where they are wanted, and never in the way of events."""

import asyncio
import json
import threading

import httpx
import pytest
import structlog
from source_stack import SETTINGS, telling_bundle

from connectors.addressing import Addressing
from connectors.runtime import Runtime
from connectors.sources.mailbox import Mailbox
from connectors.sources.signature import secrets, sign
from connectors.sources.webhook import Webhook
from connectors.watermarks import NotAllowedError, Watermarks
from pipeline.contract.bundle import load_bundle
from pipeline.kafka.errors import DeliveryRefusedError, UnreachableError

NOW = 1_772_352_000
NOT_GRANTED = DeliveryRefusedError("logistics.control.v1", "not authorised", "have it granted")
AWAY = UnreachableError("Kafka at nowhere does not answer")


class Registry:
    def id_for(self, _subject, _name):
        return 1


class Topic:
    """A control topic of two partitions, and a clock."""

    def __init__(self, monkeypatch):
        self.written, self.fail, self.now_s = [], None, 1000.0
        monkeypatch.setattr("connectors.watermarks.partitions_of", lambda *_: [0, 1])
        monkeypatch.setattr("connectors.watermarks.producer", lambda *_, **__: None)
        monkeypatch.setattr("connectors.watermarks.deliver", self._deliver)
        self.watermarks = Watermarks(SETTINGS, "", Registry(), "test", lambda: self.now_s)

    def _deliver(self, _client, records, **_):
        if self.fail is not None:
            raise self.fail
        self.written += [(record.key, record.partition) for record in records]


@pytest.fixture
def topic(monkeypatch):
    return Topic(monkeypatch)


@pytest.fixture(scope="module")
def addressing(tmp_path_factory):
    folder = telling_bundle(tmp_path_factory.mktemp("policy") / "policy", "tms-na")
    return Addressing(load_bundle(folder))


def test_a_watermark_is_written_once_in_an_interval(topic):
    assert topic.watermarks.tell("tms-na", 5)
    assert not topic.watermarks.tell("tms-na", 6)
    assert topic.watermarks.tell("tms-eu", 6)
    topic.now_s += SETTINGS.watermark_interval_ms / 1000
    assert topic.watermarks.tell("tms-na", 7)
    assert topic.written == [(b"0", 0), (b"1", 1)] * 3


def test_what_was_not_written_is_told_at_the_next_opportunity(topic):
    topic.fail = AWAY
    with pytest.raises(UnreachableError):
        topic.watermarks.tell("tms-na", 5)
    topic.fail = None
    assert topic.watermarks.tell("tms-na", 6)


def test_a_topic_that_may_not_be_written_to_is_warned_of_once(topic):
    topic.fail = NOT_GRANTED
    with structlog.testing.capture_logs() as logs:
        for _ in range(3):
            topic.watermarks.tell_quietly(["tms-na"], 5)
            topic.now_s += SETTINGS.watermark_interval_ms / 1000
    assert [(line["log_level"], line["why"]) for line in logs] == [("warning", str(NOT_GRANTED))]
    topic.fail = None
    topic.watermarks.tell_quietly(["tms-na"], 5)
    assert len(topic.written) == 2


def test_a_platform_tells_only_if_the_bundle_has_it_so(addressing):
    assert addressing.tells_watermarks("tms-na")
    assert not addressing.tells_watermarks("tms-eu")
    assert not addressing.tells_watermarks("nobody")


class Silent:
    """A source in which something may be left."""

    name = "silent"

    def __init__(self, left):
        self.left = left

    def documents(self):
        return iter(())

    def waiting(self):
        self.left -= 1
        return max(0, self.left)

    def close(self):
        pass


def test_a_look_that_leaves_something_is_no_sweep():
    swept = []
    runtime = Runtime(None, threading.Event(), swept=swept.append)
    runtime.run(Silent(left=3), once=True, poll_ms=1)
    assert len(swept) == 1


def test_a_mailbox_with_a_file_in_it_is_not_complete(tmp_path):
    mailbox = Mailbox(tmp_path, None, None, None)
    assert mailbox.complete()
    (tmp_path / "a.edi").write_bytes(b"ISA")
    assert not mailbox.complete()


class Client:
    def __init__(self, addressing, topic):
        known = secrets("new", addressing.platforms)
        self.webhook = Webhook(
            None, addressing, known, watermarks=topic.watermarks, clock=lambda: float(NOW)
        )

    def beat(self, content, platform="tms-na", key=b"new"):
        body = json.dumps(content).encode()
        headers = {
            "content-type": "application/json",
            "webhook-id": "h1",
            "webhook-timestamp": str(NOW),
            "webhook-signature": sign(key, "h1", str(NOW), body),
        }

        async def ask():
            transport = httpx.ASGITransport(self.webhook.app)
            async with httpx.AsyncClient(transport=transport, base_url="http://localhost") as web:
                path = f"/webhooks/{platform}/heartbeat"
                return await web.post(path, content=body, headers=headers)

        return asyncio.run(ask())


@pytest.fixture
def client(addressing, topic):
    return Client(addressing, topic)


PASSED = {"complete_to": "2026-03-01T08:00:00Z"}


def test_a_heartbeat_is_written(client, topic):
    answer = client.beat(PASSED)
    assert (answer.status_code, answer.json()) == (202, {"written": True})
    assert len(topic.written) == 2


def test_a_heartbeat_must_be_signed(client, topic):
    assert client.beat(PASSED, key=b"stranger").status_code == 401
    assert topic.written == []


@pytest.mark.parametrize(
    "content",
    [
        {},
        [],
        {"complete_to": "soon"},
        {"complete_to": "2026-03-01T08:00:00"},
        {"complete_to": "2026-03-01T09:00:00Z"},
        PASSED | {"more": 1},
    ],
)
def test_a_heartbeat_names_a_time_that_has_passed(client, topic, content):
    answer = client.beat(content)
    assert (answer.status_code, answer.json()["field"]) == (422, "complete_to")
    assert topic.written == []


def test_a_platform_that_nobody_listens_to_is_told_so(client):
    answer = client.beat(PASSED, "tms-eu")
    assert answer.status_code == 501
    assert "watermarks: true" in answer.json()["detail"]


def test_a_heartbeat_that_may_not_be_written(client, topic):
    topic.fail = NOT_GRANTED
    assert client.beat(PASSED).status_code == 501


def test_a_heartbeat_while_kafka_is_away(client, topic):
    topic.fail = AWAY
    assert client.beat(PASSED).status_code == 503
    topic.fail = None
    assert client.beat(PASSED).status_code == 202


def test_not_allowed_says_why(topic):
    topic.fail = NOT_GRANTED
    with pytest.raises(NotAllowedError, match="granted"):
        topic.watermarks.tell("tms-na", 5)
