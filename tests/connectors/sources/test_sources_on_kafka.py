"""Sources and the example producer against a real broker and registry."""

import base64
import json
import os
import secrets
import signal
import socket
import subprocess
import sys
import threading
import time

import httpx
import pytest
from source_stack import ROOT, SCHEMA, SETTINGS, Tap, prepare, telling_bundle

from connectors.addressing import Addressing
from connectors.formats.reading import raw_event
from connectors.protocols import ConfigurationError
from connectors.runtime import Publisher, RefusedError
from connectors.sources.catalogue import Addresses, run_source
from connectors.sources.signature import sign
from pipeline.contract import codec, names
from pipeline.contract.bundle import load_bundle
from pipeline.governance.identity import partition_of
from pipeline.kafka.errors import UnreachableError
from pipeline.kafka.registry import Registry
from pipeline.settings import Settings

pytestmark = pytest.mark.kafka

CARRIERS = "logistics.raw.carriers.v1"
TMS = "logistics.raw.tms-na.v1"
DESK = "logistics.raw.ops-desk.v1"
SAMPLES = sorted((ROOT / "partners/scac-carrier/fixtures").glob("*.edi"))
KEY = b"a secret of the tests"


@pytest.fixture(scope="module")
def where(stack):
    prepare(stack)
    return Addresses(stack.bootstrap, stack.registry_url)


@pytest.fixture
def tap(stack, where, request):
    made = Tap(stack, request.param)
    yield made
    made.close()


def event(identifier, **given):
    return raw_event(
        **{
            "event_id": identifier,
            "platform": "tms-na",
            "entity_type": "shipment",
            "entity_id": identifier,
            "native_status": "SHIPPED",
            "classifier": "ACTUAL",
            "occurred": 1_772_352_000_000,
            "occurred_precision": "SECOND",
        }
        | given
    )


def sits_right(found):
    return found.partition == partition_of(found.key.encode(), found.partitions)


@pytest.mark.parametrize("tap", [CARRIERS], indirect=True)
def test_real_files_reach_their_raw_topic(where, tap, tmp_path):
    settings = Settings(state_dir=tmp_path, mailbox_poll_ms=50)
    (tmp_path / "mailbox").mkdir()
    for path in SAMPLES:
        (tmp_path / "mailbox" / path.name).write_bytes(path.read_bytes())
    run_source("mailbox", settings, where, once=True)
    found = tap.rest()
    assert sorted((item.key, item.event["event_id"]) for item in found) == [
        ("samples/shipment/1234567", "SCAC:KLSA:060301:001/001/001#1"),
        ("samples/shipment/1234567", "SCAC:KLSA:060301:001/001/002#1"),
        ("samples/shipment/75027674", "SCAC:MGCTLYST:160726:000082265/82265/822650001#1"),
    ]
    assert all(map(sits_right, found))
    assert {item.event["native_status"] for item in found} == {"AF", "D1"}
    archived = {path.name for path in (tmp_path / "mailbox/archive").iterdir()}
    assert {path.name for path in SAMPLES} <= archived


@pytest.fixture
def control(where):
    """What is added to the control topic."""
    made = Tap(where, names.CONTROL, codec.committed("control"))
    yield made
    made.close()


def test_a_mailbox_that_has_read_everything_says_so_on_every_partition(where, control, tmp_path):
    policy = telling_bundle(tmp_path / "policy", "carrier-scac")
    settings = Settings(state_dir=tmp_path, policy_dir=policy, mailbox_poll_ms=50)
    (tmp_path / "mailbox").mkdir()
    (tmp_path / "mailbox" / SAMPLES[0].name).write_bytes(SAMPLES[0].read_bytes())
    before_ms = time.time_ns() // 1_000_000
    run_source("mailbox", settings, where, once=True)
    after_ms = time.time_ns() // 1_000_000
    found = control.rest()
    assert [item.event["kind"] for item in found] == ["WATERMARK"] * found[0].partitions
    assert sorted((item.key, item.partition, item.event["partition"]) for item in found) == [
        (str(number), number, number) for number in range(found[0].partitions)
    ]
    assert {item.event["platform"] for item in found} == {"carrier-scac"}
    (complete_to,) = {item.event["complete_to"] for item in found}
    assert before_ms <= complete_to <= after_ms


def test_a_mailbox_says_nothing_of_a_platform_that_is_not_asked_to(where, control, tmp_path):
    settings = Settings(state_dir=tmp_path, mailbox_poll_ms=50)
    run_source("mailbox", settings, where, once=True)
    assert control.rest() == []


def test_a_heartbeat_is_a_watermark_on_every_partition(where, control, tmp_path):
    policy = telling_bundle(tmp_path / "policy", "tms-na")
    settings = webhook_settings(tmp_path).model_copy(update={"policy_dir": policy})
    served = Served(settings, where)
    try:
        body = {"complete_to": "2026-03-01T08:00:00-08:00"}
        answer = served.post(body, "h1", path="/heartbeat")
        assert (answer.status_code, answer.json()) == (202, {"written": True})
        found = control.rest()
        assert len(found) == found[0].partitions
        told = {(item.event["platform"], item.event["complete_to"]) for item in found}
        assert told == {("tms-na", 1_772_380_800_000)}
        again = served.post(body, "h2", path="/heartbeat")
        assert again.json() == {"written": False}
        assert control.rest() == []
    finally:
        served.close()


def until(condition, seconds=30):
    deadline = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < deadline
        time.sleep(0.005)


@pytest.mark.fault
@pytest.mark.parametrize("tap", [CARRIERS], indirect=True)
def test_a_mailbox_that_is_killed_again_and_again_loses_no_file(where, tap, tmp_path):
    run = secrets.token_hex(3).upper()
    mailbox = tmp_path / "mailbox"
    mailbox.mkdir()
    sample = next(path for path in SAMPLES if "mgctlyst" in path.name).read_bytes()
    for number in range(60):
        text = sample.replace(b"75027674", f"{run}{number}".encode())
        (mailbox / f"{number:03}.edi").write_bytes(text.replace(b"82265", f"9{number:04}".encode()))
    environment = os.environ | {
        "MILEPOST_BOOTSTRAP_SERVERS": where.bootstrap,
        "MILEPOST_REGISTRY_URL": where.registry_url,
        "MILEPOST_STATE_DIR": str(tmp_path),
        "MILEPOST_MAILBOX_POLL_MS": "50",
    }
    command = [sys.executable, "-m", "pipeline.cli.main", "run", "source", "mailbox"]

    def archived():
        return len(list((mailbox / "archive").glob("*.edi"))) if mailbox.exists() else 0

    def start(*options):
        return subprocess.Popen(
            [*command, *options], env=environment, cwd=ROOT, stderr=subprocess.DEVNULL
        )

    for goal in (1, 15, 40):
        process = start()
        until(lambda goal=goal: (mailbox / "archive").exists() and archived() >= goal)
        process.send_signal(signal.SIGKILL)
        process.wait(10)
    assert start("--once").wait(60) == 0
    assert archived() == 60
    ids = [item.event["event_id"] for item in tap.rest()]
    assert len(set(ids)) == 60
    # What was sent twice has the same identity; at most the file at hand at each kill
    assert len(ids) <= 60 + 3


class Served:
    """The webhook, on a port of its own in a thread."""

    def __init__(self, settings, where):
        self.stop = threading.Event()
        self._url = []
        self._ready = threading.Event()
        self._thread = threading.Thread(
            target=run_source,
            args=("webhook", settings, where),
            kwargs={"stop": self.stop, "ready": self._announce},
        )
        self._thread.start()
        assert self._ready.wait(20)

    def _announce(self, url):
        self._url.append(url)
        self._ready.set()

    def post(self, events, message_id, platform="tms-na", timeout_s=60, path=""):
        body, at = json.dumps(events).encode(), str(int(time.time()))
        headers = {
            "content-type": "application/json",
            "webhook-id": message_id,
            "webhook-timestamp": at,
            "webhook-signature": sign(KEY, message_id, at, body),
        }
        url = f"{self._url[0]}/webhooks/{platform}{path}"
        return httpx.post(url, content=body, headers=headers, timeout=timeout_s)

    def close(self):
        self.stop.set()
        self._thread.join(20)
        assert not self._thread.is_alive()


def webhook_settings(folder):
    secret = "whsec_" + base64.b64encode(KEY).decode()
    return Settings(state_dir=folder, webhook_secret=secret)


def posted(identifier):
    return {
        "event_id": identifier,
        "platform": "tms-na",
        "entity_type": "shipment",
        "entity_id": f" {identifier.lower()} ",
        "native_status": "SHIPPED",
        "occurred": "2026-03-01T08:00:00-08:00",
        "amount": "12.5",
        "currency": "USD",
    }


@pytest.mark.parametrize("tap", [TMS], indirect=True)
def test_what_is_accepted_is_on_the_topic(where, tap, tmp_path):
    served = Served(webhook_settings(tmp_path), where)
    try:
        run = secrets.token_hex(3).upper()
        first = served.post([posted(f"{run}A"), posted(f"{run}B")], f"{run}1")
        assert first.status_code == 202
        found = tap.rest()
        assert {(item.key, item.event["amount"]) for item in found} == {
            (f"acme/shipment/{run}A", 125_000),
            (f"acme/shipment/{run}B", 125_000),
        }
        assert all(map(sits_right, found))
        again = served.post([posted(f"{run}A"), posted(f"{run}B")], f"{run}1")
        assert again.status_code == 200
        assert tap.rest() == []
    finally:
        served.close()


@pytest.mark.parametrize("tap", [DESK], indirect=True)
def test_a_ticket_tool_states_a_milestone_for_a_person(where, tap, tmp_path):
    served = Served(webhook_settings(tmp_path), where)
    try:
        shipment = secrets.token_hex(3).upper()
        told = {
            "event_id": f"ticket-{shipment}",
            "platform": "ops-desk",
            "entity_type": "shipment",
            "entity_id": shipment,
            "native_status": "delivered",
            "classifier": "ACTUAL",
            "occurred": "2026-03-01T10:05-05:00",
            "stop": {"location": "C-ATL"},
            "stated_by": "Kim Lee",
            "remark": "the driver phoned",
        }
        refused = served.post(told | {"by": "Kim Lee"}, f"{shipment}1", "ops-desk")
        assert (refused.status_code, refused.json()["field"]) == (422, "by")
        answer = served.post(told, f"{shipment}2", "ops-desk")
        assert (answer.status_code, answer.json()) == (202, {"events": 1, "repeated": False})
        (found,) = tap.rest()
        assert (found.key, sits_right(found)) == (f"acme/shipment/{shipment}", True)
        assert (found.event["stated_by"], found.event["remark"]) == ("Kim Lee", "the driver phoned")
        assert (found.event["native_status"], found.event["stop"]["location"]) == (
            "delivered",
            "C-ATL",
        )
        assert (found.event["occurred"], found.event["occurred_offset_minutes"]) == (
            1_772_377_500_000,
            -300,
        )
    finally:
        served.close()


def test_while_kafka_is_away_nothing_is_accepted(where, tmp_path, monkeypatch):
    monkeypatch.setattr("connectors.runtime.DELIVERY_MS", 500)
    with socket.socket() as held:
        held.bind(("127.0.0.1", 0))
        nowhere = f"127.0.0.1:{held.getsockname()[1]}"
        served = Served(webhook_settings(tmp_path), Addresses(nowhere, where.registry_url))
        try:
            answer = served.post(posted("LOST"), "m1")
            assert (answer.status_code, answer.headers["retry-after"]) == (503, "5")
        finally:
            served.close()


def test_while_the_registry_is_away_nothing_is_accepted(where, tmp_path):
    with socket.socket() as held:
        held.bind(("127.0.0.1", 0))
        nowhere = f"http://127.0.0.1:{held.getsockname()[1]}"
        served = Served(webhook_settings(tmp_path), Addresses(where.bootstrap, nowhere))
        try:
            assert served.post(posted("LOST"), "m1").status_code == 503
        finally:
            served.close()


@pytest.fixture
def publisher(where):
    addressing = Addressing(load_bundle(ROOT / "policy"))
    with Registry(where.registry_url) as registry:
        yield Publisher(SETTINGS, where.bootstrap, registry, addressing)


@pytest.mark.parametrize("tap", [TMS], indirect=True)
def test_a_publisher_works_again_after_an_outage(publisher, tap, monkeypatch):
    real = publisher._bootstrap
    publisher._bootstrap = "127.0.0.1:1"
    monkeypatch.setattr("connectors.runtime.DELIVERY_MS", 300)
    with pytest.raises(UnreachableError):
        publisher.publish([event("P1")])
    publisher._bootstrap = real
    monkeypatch.undo()
    publisher.publish([event("P1")])
    assert [item.event["event_id"] for item in tap.rest()] == ["P1"]


def test_a_record_that_is_too_large_is_refused_before_it_is_sent(publisher):
    with pytest.raises(RefusedError, match="MILEPOST_RECORD_BYTES_MAX"):
        publisher.publish([event("P2", attributes={"text": "x" * 300_000})])


def test_an_event_that_does_not_fit_the_schema_is_refused(publisher):
    with pytest.raises(RefusedError, match="P3"):
        publisher.publish([event("P3", occurred="yesterday")])


def test_a_schema_that_is_not_registered_is_a_matter_of_set_up(publisher, monkeypatch):
    monkeypatch.setattr("connectors.runtime.subject", lambda topic: f"{topic}-other")
    with pytest.raises(ConfigurationError, match="milepost schemas register"):
        publisher.publish([event("P4")])


@pytest.mark.parametrize("tap", [TMS], indirect=True)
def test_the_example_for_platform_teams(where, tap):
    run = secrets.token_hex(3)
    environment = os.environ | {
        "MILEPOST_BOOTSTRAP_SERVERS": where.bootstrap,
        "MILEPOST_REGISTRY_URL": where.registry_url,
    }
    script = ROOT / "docs/examples/produce.py"
    subprocess.run([sys.executable, script, f"s/{run}"], env=environment, check=True, timeout=60)
    (found,) = tap.rest()
    assert found.key == f"acme/shipment/S%2F{run.upper()}"
    assert sits_right(found)
    assert found.event["native_status"] == "SHIPPED"
    assert codec.encode(found.event, SCHEMA, 1)
