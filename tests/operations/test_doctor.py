"""`milepost doctor` finds what is wrong with a Kafka and a registry, and says what to do."""

import contextlib
import http.server
import json
import os
import re
import shutil
import socket
import struct
import subprocess
import sys
import threading
import time
import uuid
from functools import partial
from pathlib import Path
from unittest.mock import patch

import pytest
from broker_clock import LIBRARY, MISSING, BrokerClock, ClockedBroker
from confluent_kafka import Producer
from confluent_kafka.admin import AdminClient, NewTopic
from hanging_transactions import begun

from pipeline.local.stack import LocalStack
from pipeline.operations import doctor, governed_checks, handshake, transactions
from pipeline.operations.doctor import examine
from pipeline.operations.findings import Check, Dependency, Finding, Patient, Severity
from pipeline.operations.transactions import Decision
from pipeline.settings import Settings

HOUR_MS = 3_600_000
NOWHERE = "127.0.0.1:1"


def settings(tmp_path, **values):
    return Settings(state_dir=tmp_path, **values)


def patient(tmp_path, bootstrap=NOWHERE, registry=f"http://{NOWHERE}", **options):
    return Patient(settings(tmp_path), bootstrap, registry, **options)


class TestTheListOfChecks:
    def test_what_finds_nothing_is_named(self, tmp_path):
        report = examine(patient(tmp_path), [Check("All is well", lambda _: iter(()))])
        assert report.checked == ["All is well"]
        assert not report.findings

    def test_checks_that_need_what_is_away_are_left_out(self, tmp_path):
        away = Finding("it is away", "so what", "start it", Severity.UNREACHABLE)
        checks = [
            Check("answers", lambda _: iter([away]), Dependency.KAFKA),
            Check("topics", lambda _: pytest.fail("was run"), Dependency.KAFKA),
            Check("disk", lambda _: iter(())),
        ]
        report = examine(patient(tmp_path), checks)
        assert report.unreachable
        assert report.left_out == ["topics"]
        assert report.checked == ["disk"]

    def test_the_report_is_plain_data(self, tmp_path):
        finding = Finding("what", "why", "remedy", Severity.WARNING)
        report = examine(patient(tmp_path), [Check("x", lambda _: iter([finding]))])
        assert json.loads(json.dumps(report.as_data()))["findings"] == [
            {"what": "what", "why": "why", "remedy": "remedy", "severity": "warning"}
        ]


def test_nothing_that_runs_is_an_outage_of_both(tmp_path):
    report = examine(patient(tmp_path))
    away = [one.what for one in report.findings if one.severity is Severity.UNREACHABLE]
    assert len(away) == 2
    assert away[0].startswith(f"Kafka at {NOWHERE} can't be reached")
    assert away[1].startswith(f"The schema registry at http://{NOWHERE} can't be used")
    assert "No transaction stays open" in report.left_out


@pytest.mark.kafka
def test_a_stack_that_is_well(tmp_path, stack):
    left_out = {doctor.open_transactions, *(one.run for one in governed_checks.CHECKS)}
    checks = [one for one in doctor.CHECKS if one.run not in left_out]
    report = examine(patient(tmp_path, stack.bootstrap, stack.registry_url), checks)
    assert report.findings == []
    assert len(report.checked) == len(checks)


class TestReleases:
    """KAFKA-20734: 4.3 and 4.4 can lose commit markers."""

    @staticmethod
    def answer(level, *, error=0):
        def compact(text):
            return bytes([len(text) + 1]) + text

        apis = b"\x02" + struct.pack(">hhh", 18, 0, 4) + b"\0"
        feature = compact(b"group.version") + struct.pack(">hh", 0, 1) + b"\0"
        feature += compact(b"metadata.version") + struct.pack(">hh", 7, level) + b"\0"
        features = b"\x03" + feature
        tags = b"\x02" + b"\x01" + b"\x08" + bytes(8) + b"\0" + bytes([len(features)]) + features
        return struct.pack(">ih", 1, error) + apis + struct.pack(">i", 0) + tags

    @pytest.mark.parametrize(
        ("level", "release"),
        [(20, "before 3.9"), (25, "4.0"), (27, "4.1"), (29, "4.2"), (30, "4.3"), (31, "4.4"),
         (33, "4.4"), (34, "4.5 or later")],
    )  # fmt: skip
    def test_features_tell_the_release(self, level, release):
        assert handshake.named(self.answer(level)) == release

    def test_a_broker_too_old_for_the_question(self):
        assert handshake.named(struct.pack(">ih", 1, 35)) == "before 3.9"

    def test_an_answer_that_breaks_off(self):
        with pytest.raises(handshake.HandshakeError, match="ends too early"):
            handshake.named(self.answer(29)[:-9])

    def test_a_broker_that_refuses(self):
        with pytest.raises(handshake.HandshakeError, match="error 42"):
            handshake.named(struct.pack(">ih", 1, 42))

    @contextlib.contextmanager
    def broker(self, answer):
        def serve():
            with listener, listener.accept()[0] as connection:
                connection.recv(1_000)
                connection.sendall(answer)

        listener = socket.create_server(("127.0.0.1", 0))
        port = listener.getsockname()[1]
        thread = threading.Thread(target=serve)
        thread.start()
        yield port
        thread.join()

    def test_a_broker_is_asked(self, tmp_path):
        answer = self.answer(33)
        with self.broker(struct.pack(">i", len(answer)) + answer) as port:
            assert handshake.release("127.0.0.1", port, settings(tmp_path)) == "4.4"

    @pytest.mark.parametrize("answer", [b"", b"HTTP/1.1 400 Bad Request\r\n\r\n"])
    def test_something_that_is_no_broker(self, tmp_path, answer):
        with self.broker(answer) as port, pytest.raises(handshake.HandshakeError):
            handshake.release("127.0.0.1", port, settings(tmp_path))

    @pytest.mark.kafka
    def test_the_real_one(self, tmp_path, stack):
        host, _, port = stack.bootstrap.split(",")[0].rpartition(":")
        assert handshake.release(host, int(port), settings(tmp_path)) == "4.2"

    @pytest.mark.kafka
    def test_one_that_loses_markers_is_warned_of(self, tmp_path, stack, monkeypatch):
        monkeypatch.setattr(handshake, "release", lambda *_: "4.3")
        (finding,) = doctor.broker_releases(patient(tmp_path, stack.bootstrap))
        assert finding.severity is Severity.WARNING
        assert "KAFKA-20734" in finding.what
        assert stack.bootstrap in finding.what
        assert "4.2.1" in finding.remedy


class TestOpenTransactions:
    @pytest.fixture
    def topic(self, stack):
        name = f"doctor.{uuid.uuid4()}"
        admin = AdminClient({"bootstrap.servers": stack.bootstrap})
        admin.create_topics([NewTopic(name, 1)])[name].result(20)
        return name

    @pytest.fixture
    def producer(self, stack, topic):
        producer = begun(stack.bootstrap, topic)
        yield producer
        with contextlib.suppress(Exception):
            producer.abort_transaction(20)

    @pytest.mark.kafka
    def test_one_that_stays_open_is_found_with_its_owner(self, tmp_path, stack, topic, producer):
        waits = []
        found = list(
            doctor.open_transactions(patient(tmp_path, stack.bootstrap, wait=waits.append))
        )
        (finding,) = [one for one in found if one.what.startswith(topic)]
        assert waits == [17.0]
        assert f"{topic} Ongoing" in finding.what
        assert "offset 0" in finding.what
        assert "End the program with that transactional id" in finding.remedy

    @pytest.mark.kafka
    def test_one_that_ends_meanwhile_is_none(self, tmp_path, stack, topic, producer):
        def wait(_seconds):
            producer.commit_transaction(20)

        found = doctor.open_transactions(patient(tmp_path, stack.bootstrap, wait=wait))
        assert not [one for one in found if one.what.startswith(topic)]

    def test_a_decided_commit_is_never_to_be_aborted(self):
        assert transactions.advice("PrepareCommit").startswith("Do not abort it")

    def test_what_is_not_known_is_never_to_be_aborted(self):
        assert transactions.advice("").startswith("Do not abort it")

    def test_a_decided_abort_may_be_done_again(self):
        assert "is safe" in transactions.advice("PrepareAbort")

    def test_an_entry_of_either_version_is_read(self):
        head = struct.pack(">qhib", 7, 0, 15_000, 2)
        times = bytes(16)
        old = struct.pack(">h", 0) + head + struct.pack(">ih", 1, 1) + b"t"
        old += struct.pack(">iii", 2, 3, 4) + times
        new = struct.pack(">h", 1) + head + b"\x02" + b"\x02t" + b"\x03"
        new += struct.pack(">ii", 3, 4) + b"\0" + times + b"\0"
        expected = (Decision("PrepareCommit", 7, 0), [("t", 3), ("t", 4)])
        assert transactions.entry(old) == transactions.entry(new) == expected

    def test_an_entry_without_partitions_is_read(self):
        head = struct.pack(">qhib", 7, 0, 15_000, 4)
        decision, partitions = transactions.entry(struct.pack(">h", 1) + head + b"\0" + bytes(16))
        assert (decision.state, partitions) == ("CompleteCommit", [])

    @pytest.fixture
    def skipped(self, tmp_path, topic):
        """A broker's log, in which markers of a topic that exists and of another are skipped."""
        (tmp_path / "logs").mkdir()
        lines = "".join(
            f"INFO: Couldn't find leader endpoint for partitions HashSet({name}-0, {name}-1) while "
            "trying to send transaction markers for x, these partitions are likely deleted "
            "already and hence can be skipped (kafka.x)\n"
            for name in (topic, "gone")
        )
        (tmp_path / "logs" / "kafka-1.log").write_text("started\n" + lines)
        return topic

    @pytest.mark.kafka
    def test_a_broker_that_wrote_of_lost_markers_is_found(self, tmp_path, stack, skipped):
        (finding,) = doctor.lost_markers(patient(tmp_path, stack.bootstrap))
        assert f"skipped transaction markers for {skipped}, says" in finding.what

    @pytest.mark.kafka
    def test_markers_of_topics_that_were_deleted_are_not_missed(self, tmp_path, stack):
        (tmp_path / "logs").mkdir()
        line = "HashSet(gone-0), these are likely deleted already and hence can be skipped"
        (tmp_path / "logs" / "kafka-1.log.1").write_text(line)
        assert not list(doctor.lost_markers(patient(tmp_path, stack.bootstrap)))

    @pytest.mark.kafka
    def test_while_kafka_is_away_every_topic_is_told(self, tmp_path, skipped):
        (finding,) = doctor.lost_markers(patient(tmp_path))
        assert f"for {', '.join(sorted([skipped, 'gone']))}, says" in finding.what
        assert finding.why.startswith("Unless those topics were deleted")


def ticked(stack):
    """A topic with append times and one record."""
    name = f"logistics.doctor-{uuid.uuid4()}.v1"
    admin = AdminClient({"bootstrap.servers": stack.bootstrap})
    config = {"message.timestamp.type": "LogAppendTime"}
    admin.create_topics([NewTopic(name, 1, config=config)])[name].result(20)
    tick(stack, name)
    return name


def tick(stack, name):
    producer = Producer({"bootstrap.servers": stack.bootstrap})
    producer.produce(name, b"tick")
    assert producer.flush(20) == 0


@contextlib.contextmanager
def ticking(stack, name):
    """A record after the other."""
    over = threading.Event()

    def write():
        while not over.wait(0.05):
            tick(stack, name)

    tick(stack, name)
    thread = threading.Thread(target=write)
    thread.start()
    try:
        yield
    finally:
        over.set()
        thread.join()


@pytest.mark.kafka
@pytest.mark.skipif(LIBRARY is None, reason=MISSING)
def test_a_broker_whose_clock_is_an_hour_wrong(tmp_path):
    clock = BrokerClock(tmp_path / "clock")
    clock.run_from(time.time_ns() // 1_000_000 + HOUR_MS)
    cache = os.environ.get("MILEPOST_CACHE_DIR")
    with (
        patch("pipeline.local.stack.Broker", partial(ClockedBroker, clock)),
        LocalStack(tmp_path / "stack", cache_dir=Path(cache) if cache else None) as wrong,
    ):
        topic = ticked(wrong)
        (ahead,) = doctor.broker_clock(patient(tmp_path, wrong.bootstrap))
        clock.run_from(time.time_ns() // 1_000_000 - HOUR_MS)
        with ticking(wrong, topic):
            (behind,) = doctor.broker_clock(patient(tmp_path, wrong.bootstrap))
    assert re.search(r"at least 3[56]\d{5} ms ahead of this machine's", ahead.what)
    assert re.search(r"about 3[56]\d{5} ms behind this machine's", behind.what)


@pytest.mark.kafka
class TestTheBrokersClock:
    @pytest.fixture
    def topic(self, stack):
        name = ticked(stack)
        yield name
        admin = AdminClient({"bootstrap.servers": stack.bootstrap})
        admin.delete_topics([name])[name].result(20)

    def test_one_that_is_ahead(self, tmp_path, stack, topic):
        def late():
            return time.time_ns() // 1_000_000 - 60_000

        (finding,) = doctor.broker_clock(patient(tmp_path, stack.bootstrap, now_ms=late))
        assert "ahead of this machine's" in finding.what

    def test_one_that_is_behind_while_records_arrive(self, tmp_path, stack, topic):
        writing = threading.Event()

        def early():
            # The first question comes once listening has begun.
            if not writing.is_set():
                writing.set()
                tick(stack, topic)
            return time.time_ns() // 1_000_000 + 60_000

        (finding,) = doctor.broker_clock(patient(tmp_path, stack.bootstrap, now_ms=early))
        assert "behind this machine's" in finding.what


class TestTheRegistry:
    @pytest.fixture
    def registry(self):
        answers = {}

        class Handler(http.server.BaseHTTPRequestHandler):
            def do_GET(self):
                status, document = answers.get(self.path.partition("?")[0], (500, {}))
                body = json.dumps(document).encode()
                self.send_response(status)
                self.send_header("Content-Length", str(len(body)))
                self.end_headers()
                self.wfile.write(body)

            def log_message(self, *_):
                pass

        server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        thread = threading.Thread(target=server.serve_forever, args=(0.05,))
        thread.start()
        yield f"http://127.0.0.1:{server.server_port}", answers
        server.shutdown()
        server.server_close()
        thread.join()

    def test_one_that_fails_is_an_outage(self, tmp_path, registry):
        (finding,) = doctor.registry_reachable(patient(tmp_path, registry=registry[0]))
        assert finding.severity is Severity.UNREACHABLE

    def test_one_with_another_clock(self, tmp_path, registry):
        url, answers = registry
        answers["/subjects"] = (200, [])
        (finding,) = doctor.registry_reachable(patient(tmp_path, registry=url, now_ms=lambda: 0))
        assert "clock" in finding.what

    def test_rules_that_can_be_read(self, tmp_path, registry):
        url, answers = registry
        answers["/subjects"] = (200, ["a-value"])
        answers["/config/a-value"] = (200, {"compatibilityLevel": "FULL"})
        assert list(doctor.registry_rules(patient(tmp_path, registry=url))) == []

    def test_rules_that_cannot_be_read(self, tmp_path, registry):
        url, answers = registry
        answers["/subjects"] = (200, ["a-value", "b-value"])
        answers["/config/a-value"] = (200, {"compatibilityLevel": "FULL"})
        (finding,) = doctor.registry_rules(patient(tmp_path, registry=url))
        assert "b-value" in finding.what
        assert "milepost schemas register" in finding.remedy


def test_a_disk_that_is_really_nearly_full(tmp_path):
    """A file system of 64 MiB in a mount namespace of its own, where one may be had."""
    alone = ["unshare", "--user", "--map-root-user", "--mount", "sh", "-ec"]
    small = f"mount -t tmpfs -o size=64m tmpfs '{tmp_path}'"
    try:
        subprocess.run([*alone, small], check=True, capture_output=True)
    except (OSError, subprocess.CalledProcessError) as error:
        pytest.skip(f"no file system can be mounted here: {error}")
    told = subprocess.run(
        [*alone, f"{small}; '{sys.executable}' -m pipeline.cli.main doctor --json"],
        env=os.environ
        | {
            "MILEPOST_STATE_DIR": str(tmp_path),
            "MILEPOST_BOOTSTRAP_SERVERS": NOWHERE,
            "MILEPOST_REGISTRY_URL": f"http://{NOWHERE}",
        },
        stdout=subprocess.PIPE,
        check=False,
    )
    found = [one["what"] for one in json.loads(told.stdout)["findings"]]
    assert f"67 MB are free on the disk of {tmp_path}" in found


def test_a_disk_that_is_nearly_full(tmp_path, monkeypatch):
    usage = shutil._ntuple_diskusage(10**12, 10**12 - 5_000_000, 5_000_000)
    monkeypatch.setattr(shutil, "disk_usage", lambda _: usage)
    (finding,) = doctor.disk_space(patient(tmp_path / "not" / "yet"))
    assert finding.what.startswith("5 MB are free")
