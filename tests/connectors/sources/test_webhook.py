"""Posts are authenticated, checked, produced, and only then accepted."""

import asyncio
import json
import threading
from pathlib import Path

import httpx
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from openapi_check import references_of

from connectors.addressing import Addressing
from connectors.protocols import ConfigurationError
from connectors.runtime import RefusedError
from connectors.sources.signature import secrets, sign
from connectors.sources.webhook import Webhook
from pipeline.contract import codec
from pipeline.contract.bundle import load_bundle
from pipeline.kafka.errors import UnreachableError
from pipeline.web.problems import Problem

ADDRESSING = Addressing(load_bundle(Path(__file__).parents[3] / "policy"))
NOW = 1_772_352_000
EVENT = {
    "event_id": "e1",
    "platform": "tms-na",
    "entity_type": "shipment",
    "entity_id": "S1",
    "native_status": "SHIPPED",
    "occurred": "2026-03-01T08:00:00-08:00",
}


class Broker:
    def __init__(self):
        self.ids = []
        self.fail = None
        self.hold = None
        self.calls = 0

    def publish(self, events):
        self.calls += 1
        if self.hold is not None:
            self.hold.wait(10)
        if self.fail is not None:
            raise self.fail
        self.ids.extend(event["event_id"] for event in events)
        return []


class Client:
    """Posts to a webhook in this process."""

    def __init__(self, webhook):
        self.webhook = webhook

    def request(self, method, path, **given):
        async def ask():
            transport = httpx.ASGITransport(self.webhook.app)
            async with httpx.AsyncClient(transport=transport, base_url="http://localhost") as web:
                return await web.request(method, path, **given)

        return asyncio.run(ask())

    def post(self, content, platform="tms-na", **given):
        body, headers = signed(content, **given)
        return self.request("POST", f"/webhooks/{platform}", content=body, headers=headers)


def signed(content, *, message_id="m1", at=NOW, key=b"new", **headers):
    body = content if isinstance(content, bytes) else json.dumps(content).encode()
    return body, {
        "content-type": "application/json",
        "webhook-id": message_id,
        "webhook-timestamp": str(at),
        "webhook-signature": sign(key, message_id, str(at), body),
        **{name.replace("_", "-"): value for name, value in headers.items()},
    }


@pytest.fixture
def broker():
    return Broker()


@pytest.fixture
def webhook(broker):
    known = secrets("new,old,tms-eu=whsec_ZXU=", ADDRESSING.platforms)
    return Webhook(broker, ADDRESSING, known, clock=lambda: float(NOW))


@pytest.fixture
def client(webhook):
    return Client(webhook)


def test_an_event_is_accepted_once_it_is_on_its_topic(client, broker):
    answer = client.post(EVENT)
    assert (answer.status_code, answer.json()) == (202, {"events": 1, "repeated": False})
    assert broker.ids == ["e1"]


def test_a_list_is_accepted_as_a_whole(client, broker):
    answer = client.post([EVENT, EVENT | {"event_id": "e2"}])
    assert (answer.status_code, answer.json()["events"]) == (202, 2)
    assert broker.ids == ["e1", "e2"]


@pytest.mark.parametrize("key", [b"new", b"old"])
def test_both_secrets_count_while_one_replaces_the_other(client, key):
    assert client.post(EVENT, key=key).status_code == 202


def test_a_secret_of_one_platform_opens_no_other(client):
    assert client.post(EVENT | {"platform": "tms-eu"}, "tms-eu", key=b"eu").status_code == 202
    assert client.post(EVENT, key=b"eu").status_code == 401


@pytest.mark.parametrize(
    "given",
    [
        {"key": b"stranger"},
        {"at": NOW - 301},
        {"at": NOW + 301},
        {"webhook_signature": ""},
        {"webhook_id": "other"},
        {"webhook_timestamp": "soon"},
        {"message_id": "x" * 257},
    ],
)
def test_what_is_not_signed_is_refused_without_detail(client, broker, given):
    answer = client.post(EVENT, **given)
    assert answer.status_code == 401
    assert answer.json()["detail"] == "The request is not authorised."
    assert broker.calls == 0


def test_a_body_that_was_changed_on_the_way(client):
    _, headers = signed(EVENT)
    body = json.dumps(EVENT | {"entity_id": "S2"}).encode()
    assert (
        client.request("POST", "/webhooks/tms-na", content=body, headers=headers).status_code == 401
    )


def test_an_unsigned_request_does_not_learn_which_platforms_there_are(client):
    for name in ("tms-na", "nobody"):
        assert client.post(EVENT, name, key=b"stranger").status_code == 401


def test_a_repeat_is_answered_and_not_sent_again(client, broker):
    client.post(EVENT)
    answer = client.post(EVENT)
    assert (answer.status_code, answer.json()) == (200, {"events": 1, "repeated": True})
    assert broker.ids == ["e1"]


def test_an_id_for_another_body_is_refused(client, broker):
    client.post(EVENT)
    answer = client.post(EVENT | {"event_id": "e2"})
    assert (answer.status_code, answer.json()["field"]) == (409, "webhook-id")
    assert broker.ids == ["e1"]


def test_ids_are_remembered_up_to_a_bound(client, webhook, broker):
    webhook._remembered._most = 2
    for message_id in ("m1", "m2", "m3"):
        client.post(EVENT, message_id=message_id)
    assert client.post(EVENT, message_id="m3").status_code == 200
    assert client.post(EVENT, message_id="m1").status_code == 202
    assert len(webhook._remembered._messages) == 2


def test_two_repeats_at_once_are_sent_once(client, broker):
    async def both():
        transport = httpx.ASGITransport(client.webhook.app)
        async with httpx.AsyncClient(transport=transport, base_url="http://localhost") as web:
            body, headers = signed(EVENT)
            posts = [web.post("/webhooks/tms-na", content=body, headers=headers) for _ in "ab"]
            return [answer.status_code for answer in await asyncio.gather(*posts)]

    assert sorted(asyncio.run(both())) == [200, 202]
    assert broker.ids == ["e1"]


def test_an_outage_is_503_with_a_time_and_the_same_id_works_later(client, broker):
    broker.fail = UnreachableError("Kafka is away")
    answer = client.post(EVENT)
    assert answer.status_code == 503
    assert answer.headers["retry-after"] == "5"
    assert "Kafka is away" not in answer.text
    health = client.request("GET", "/healthz").json()
    assert (health["status"], health["trouble"]) == ("degraded", "Kafka is away")
    broker.fail = None
    assert client.post(EVENT).status_code == 202
    assert client.request("GET", "/healthz").json()["status"] == "ok"


def test_what_only_the_operator_can_put_right_is_503_too(client, broker):
    broker.fail = ConfigurationError("the schema is not registered")
    assert client.post(EVENT).status_code == 503


def test_an_event_that_kafka_never_takes_is_422(client, broker):
    broker.fail = RefusedError("event 'e1' has 3,000,000 bytes")
    answer = client.post(EVENT)
    assert answer.status_code == 422
    assert "3,000,000 bytes" in answer.json()["detail"]


def test_a_body_that_is_too_large(client, broker):
    answer = client.post(b"[" + b" " * 1_048_576 + b"]")
    assert (answer.status_code, answer.json()["field"]) == (413, "body")
    body, headers = signed(b" " * 1_048_577)

    async def parts():
        for at in range(0, len(body), 65_536):
            yield body[at : at + 65_536]

    chunked = client.request("POST", "/webhooks/tms-na", content=parts(), headers=headers)
    assert chunked.status_code == 413


@pytest.mark.parametrize("kind", ["text/plain", "application/x-www-form-urlencoded", ""])
def test_another_content_type(client, kind):
    answer = client.post(EVENT, content_type=kind)
    assert (answer.status_code, answer.json()["field"]) == (415, "content-type")


def test_a_charset_is_no_other_content_type(client):
    assert client.post(EVENT, content_type="application/json; charset=utf-8").status_code == 202


@pytest.mark.parametrize(
    ("content", "status", "field"),
    [
        (b"{", 400, None),
        (b"\xff", 400, None),
        (b'{"event_id": "\\ud800"}', 400, None),
        ([], 422, "body"),
        (7, 422, "body"),
        ([EVENT, 7], 422, "[1]"),
        ({}, 422, "event_id"),
        ([EVENT, EVENT | {"occurred": "2026-03-01T08:00:00"}], 422, "[1].occurred"),
        (EVENT | {"stop": {"number": "1"}}, 422, "stop.number"),
        (EVENT | {"amount": 1.5}, 422, "amount"),
        (EVENT | {"platform": "tms-eu"}, 422, "platform"),
        ([EVENT | {"platform": "tms-eu"}], 422, "[0].platform"),
        (EVENT | {"entity_id": None}, 422, "entity_id"),
    ],
)
def test_what_is_wrong_with_a_body_is_named_and_nothing_is_sent(
    client, broker, content, status, field
):
    answer = client.post(content)
    assert answer.status_code == status
    assert answer.headers["content-type"] == "application/problem+json"
    assert answer.json().get("field") == field
    assert answer.json()["detail"]
    assert broker.calls == 0


@pytest.mark.parametrize(
    ("content", "detail"),
    [
        (EVENT | {"by": "Kim Lee"}, "by: no field of an event has this name; /openapi.json lists"),
        (EVENT | {"remark": 7}, "remark: Input should be a valid string"),
        (EVENT | {"stop": "C-ATL"}, "stop: Input should be a valid dictionary"),
        (
            {key: value for key, value in EVENT.items() if key != "native_status"},
            "native_status: it is missing, and every event needs it",
        ),
    ],
)
def test_a_field_that_is_refused_is_told_in_plain_words_and_what_to_do(client, content, detail):
    answer = client.post(content).json()
    assert answer["detail"].startswith(detail)
    assert answer["detail"].endswith("correct it and post the body again, nothing of it was taken.")


def test_a_body_that_was_refused_can_be_sent_again_under_its_id(client):
    assert client.post({}).status_code == 422
    assert client.post(EVENT).status_code == 202


def test_a_platform_that_is_not_in_the_bundle(client):
    answer = client.post(EVENT, "nobody")
    assert (answer.status_code, answer.json()["field"]) == (404, "platform")


def test_the_accounts_of_a_platform(client):
    event = EVENT | {"platform": "wms-3pl"}
    assert client.post(event, "wms-3pl").json()["field"] == "account"
    assert client.post(event | {"account": "ACME-3PL"}, "wms-3pl").status_code == 202


def test_other_methods_and_paths(client):
    assert client.request("GET", "/webhooks/tms-na").status_code == 405
    assert client.request("POST", "/webhooks").status_code == 404


def test_health_says_what_was_delivered(client):
    client.post(EVENT)
    health = client.request("GET", "/healthz").json()
    assert health["delivered_records"] == 1
    assert health["state"] == "running"


def test_the_api_describes_the_event(client):
    document = client.request("GET", "/openapi.json").json()
    operation = document["paths"]["/webhooks/{platform}"]["post"]
    schema = operation["requestBody"]["content"]["application/json"]["schema"]
    assert "occurred" in schema["oneOf"][0]["properties"]
    assert {parameter["name"] for parameter in operation["parameters"]} >= {
        "platform",
        "webhook-id",
        "webhook-timestamp",
        "webhook-signature",
    }
    for reference in references_of(document):
        assert reference.startswith("#/components/")


def test_more_requests_at_once_than_memory_allows_are_put_off(client, webhook, broker):
    webhook._open = 200
    answer = client.post(EVENT)
    assert (answer.status_code, answer.headers["retry-after"]) == (429, "5")
    webhook._open = 0
    assert client.post(EVENT).status_code == 202
    assert webhook._open == 0


PARSER = Webhook(Broker(), ADDRESSING, secrets("s", ()))
names = st.sampled_from([*EVENT, "stop", "amount", "quantity", "orders", "attributes", "x"])
values = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=20),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(names, inner, max_size=4),
    max_leaves=8,
)


@given(st.dictionaries(names, values, max_size=6), st.booleans())
@settings(max_examples=300, deadline=None)
def test_any_json_is_an_event_or_a_problem(changes, listed):
    event = EVENT | changes
    status = None
    try:
        (record,) = PARSER._parsed("tms-na", json.dumps([event] if listed else event).encode())
        codec.encode(record, codec.committed("raw-event"), 1)
    except Problem as problem:
        status = problem.status
    assert status in (None, 400, 422)


def test_acceptance_waits_for_the_broker(client, broker):
    broker.hold = threading.Event()
    answers = []
    waiting = threading.Thread(target=lambda: answers.append(client.post(EVENT)))
    waiting.start()
    waiting.join(0.2)
    assert answers == []
    broker.hold.set()
    waiting.join(10)
    assert answers[0].status_code == 202
