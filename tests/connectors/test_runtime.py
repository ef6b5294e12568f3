"""One runtime for all sources: deliver, then checkpoint; wait out outages; stop when told."""

import threading

import pytest

from connectors.protocols import ConfigurationError, Document
from connectors.runtime import RefusedError, Runtime, State
from pipeline.kafka.errors import UnreachableError


class ListSource:
    name = "list"

    def __init__(self, *documents):
        self.open = list(documents)
        self.log = []

    def documents(self):
        while self.open:
            yield self.open.pop(0)

    def delivered(self, document):
        self.log.append(("delivered", document.name))

    def refused(self, document, why):
        self.log.append(("refused", document.name, why))

    def waiting(self):
        return len(self.open)

    def close(self):
        self.log.append("closed")


class ScriptedPublisher:
    """Fails with what the script says, in turn; then takes everything."""

    def __init__(self, *script):
        self.script = list(script)
        self.sent = []

    def publish(self, events):
        if self.script:
            raise self.script.pop(0)
        self.sent.extend(events)
        return []


def document(name, *events):
    return Document(name, name, tuple({"event_id": event} for event in events))


@pytest.fixture(autouse=True)
def _no_waiting(monkeypatch):
    monkeypatch.setattr("connectors.runtime.BACKOFF_MS_MAX", 1)


def test_checkpoint_after_delivery_of_every_record():
    source = ListSource(document("a", 1, 2), document("b"), document("c", 3))
    publisher = ScriptedPublisher()
    status = Runtime(publisher, threading.Event()).run(source, once=True)
    assert [event["event_id"] for event in publisher.sent] == [1, 2, 3]
    assert source.log == [("delivered", "a"), ("delivered", "b"), ("delivered", "c"), "closed"]
    assert (status.delivered_documents, status.delivered_records) == (3, 3)
    assert status.state is State.STOPPED


def test_an_outage_is_waited_out():
    outages = [UnreachableError("Kafka is away"), UnreachableError("still")]
    source = ListSource(document("a", 1))
    publisher = ScriptedPublisher(*outages)
    runtime = Runtime(publisher, threading.Event())
    runtime.run(source, once=True)
    assert source.log == [("delivered", "a"), "closed"]
    assert runtime.status.trouble is None


def test_a_source_that_waits_does_not_read_running():
    stop = threading.Event()
    source = ListSource(document("a", 1))
    runtime = Runtime(ScriptedPublisher(*[UnreachableError("Kafka is away")] * 10_000), stop)
    seen = []
    waits = runtime._waits

    def noted(attempt):
        waits(attempt)
        seen.append((runtime.status.state, runtime.status.trouble))
        stop.set()

    runtime._waits = noted
    runtime.run(source, once=True)
    assert seen == [(State.WAITING, "Kafka is away")]


def test_a_stop_during_an_outage_stores_no_checkpoint():
    stop = threading.Event()
    stop.set()
    source = ListSource(document("a", 1))
    runtime = Runtime(ScriptedPublisher(UnreachableError("Kafka is away")), stop)
    runtime._carry(source, document("a", 1), log=None)
    assert source.log == []


def test_a_record_that_is_refused_goes_back_and_the_next_is_delivered():
    source = ListSource(document("a", 1), document("b", 2))
    runtime = Runtime(ScriptedPublisher(RefusedError("too large")), threading.Event())
    status = runtime.run(source, once=True)
    assert source.log == [("refused", "a", "too large"), ("delivered", "b"), "closed"]
    assert status.refused_documents == 1


def test_a_wrong_configuration_ends_the_source_with_its_message():
    source = ListSource(document("a", 1))
    runtime = Runtime(ScriptedPublisher(ConfigurationError("register it")), threading.Event())
    with pytest.raises(ConfigurationError, match="register it"):
        runtime.run(source, once=True)
    assert source.log == ["closed"]
    assert runtime.status.state is State.STOPPED
