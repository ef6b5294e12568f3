"""A file is read once, when it has stopped growing, and nothing is lost whenever it is killed."""

import json
import os
import shutil
import threading
from pathlib import Path

import pytest

from connectors.addressing import Addressing
from connectors.formats.limits import Limits
from connectors.partners import load_partners
from connectors.protocols import ConfigurationError
from connectors.runtime import RefusedError, Runtime
from connectors.sources.checkpoint import Checkpoint
from connectors.sources.mailbox import Mailbox
from pipeline.contract.bundle import load_bundle

ROOT = Path(__file__).parents[3]
SAMPLE = (ROOT / "tests/samples/x12/214_2_apimeister.edi").read_bytes()
OTHER = (ROOT / "tests/samples/x12/214_mgctlyst_edinet.edi").read_bytes()
PARTNERS = load_partners(ROOT / "partners")
ADDRESSING = Addressing(load_bundle(ROOT / "policy"))
SAMPLE_IDS = ["SCAC:KLSA:060301:001/001/001#1", "SCAC:KLSA:060301:001/001/002#1"]
OTHER_IDS = ["SCAC:MGCTLYST:160726:000082265/82265/822650001#1"]


class Killed(BaseException):
    """Stands for kill -9: nothing in the code under test catches it."""


class Broker:
    """Takes events until it is told otherwise."""

    def __init__(self):
        self.ids = []
        self.fail = None

    def publish(self, events):
        if self.fail is not None:
            raise self.fail
        self.ids.extend(event["event_id"] for event in events)
        return []


class Post:
    """A mailbox on disk, and what runs on it."""

    def __init__(self, folder):
        self.folder = folder / "mailbox"
        self.state = folder / "state"
        self.folder.mkdir()
        self.broker = Broker()

    def put(self, name, data):
        (self.folder / name).write_bytes(data)

    def open(self, **given):
        return Mailbox(
            self.folder,
            Checkpoint(self.state / "mailbox.sqlite"),
            PARTNERS,
            ADDRESSING.zone_of,
            **given,
        )

    def drain(self, **given):
        mailbox = self.open(**given)
        try:
            return Runtime(self.broker, threading.Event()).run(mailbox, once=True, poll_ms=1)
        finally:
            mailbox.close()

    def names(self, inner="."):
        return sorted(entry.name for entry in (self.folder / inner).iterdir() if entry.is_file())

    def findings(self, name):
        return json.loads((self.folder / name).read_text())


@pytest.fixture
def post(tmp_path):
    return Post(tmp_path)


def test_files_are_sent_and_archived(post):
    post.put("a.edi", SAMPLE)
    post.put("b.edi", OTHER)
    status = post.drain()
    assert sorted(post.broker.ids) == sorted(SAMPLE_IDS + OTHER_IDS)
    assert post.names() == []
    assert {"a.edi", "b.edi"} <= set(post.names("archive"))
    assert post.names("quarantine") == []
    assert status.delivered_records == 3


def test_findings_of_an_accepted_file_lie_beside_it(post):
    post.put("a.edi", SAMPLE)
    post.drain()
    about = post.findings("archive/a.edi.findings.json")
    assert about["outcome"] == "accepted"
    assert about["events_taken"] == 2
    assert [finding["code"] for finding in about["findings"]] == [
        "isa_unpadded",
        "set_control_mismatch",
    ]


def test_a_file_of_which_something_was_not_taken_is_for_a_clerk(post):
    post.put("a.edi", SAMPLE.replace(b"20060301*0800", b"20060231*0800"))
    post.drain()
    assert post.broker.ids == SAMPLE_IDS[1:]
    assert post.names("archive") == []
    about = post.findings("quarantine/a.edi.findings.json")
    assert about["outcome"] == "needs attention"
    assert (about["events_taken"], about["events_not_taken"]) == (1, 1)
    says = [finding["says"] for finding in about["findings"] if finding["severity"] == "error"]
    assert len(says) == 1
    assert says[0].startswith("interchange 1, set 1, segment 12 (AT7), element 5: The date or time")
    assert says[0].endswith("the event was not taken. Remedy: ask the partner for the right value.")


@pytest.mark.parametrize(
    ("data", "code"),
    [
        (b"hello", "not_x12"),
        (b"", "not_x12"),
        (SAMPLE.replace(b"SCAC *02*KLSA", b"NOBODY *02*KLSA"), "partner_unknown"),
        (SAMPLE + b" " * 2_000, "limit_exceeded"),
        (SAMPLE[: SAMPLE.index(b"GE*2")], "interchange_trailer_missing"),
    ],
)
def test_what_is_put_into_quarantine(post, data, code):
    post.put("a.edi", data)
    post.drain(limits=Limits(bytes_max=2_000))
    assert post.broker.ids == []
    assert post.names("quarantine") == ["a.edi", "a.edi.findings.json"]
    assert (post.folder / "quarantine/a.edi").read_bytes() == data
    about = post.findings("quarantine/a.edi.findings.json")
    assert code in [finding["code"] for finding in about["findings"]]


def test_a_file_that_grows_is_left_alone(post):
    post.put("a.edi", SAMPLE[:100])
    mailbox = post.open()
    assert list(mailbox.documents()) == []
    post.put("a.edi", SAMPLE)
    assert list(mailbox.documents()) == []
    assert [document.name for document in mailbox.documents()] == ["a.edi"]
    mailbox.close()


@pytest.mark.parametrize("name", ["a.tmp", "a.edi.part", "A.PART", ".hidden", "a.filepart"])
def test_unfinished_files_are_ignored(post, name):
    post.put(name, SAMPLE)
    post.drain()
    assert post.names() == [name]
    assert post.broker.ids == []


def test_links_and_folders_are_ignored(post, tmp_path):
    (tmp_path / "secret").write_bytes(SAMPLE)
    (post.folder / "link.edi").symlink_to(tmp_path / "secret")
    (post.folder / "folder.edi").mkdir()
    post.drain()
    assert post.broker.ids == []


def test_the_same_content_is_sent_once_whatever_it_is_called(post):
    post.put("a.edi", SAMPLE)
    post.drain()
    post.put("renamed.edi", SAMPLE)
    post.put("a.edi", SAMPLE)
    post.drain()
    assert post.broker.ids == SAMPLE_IDS
    assert post.names() == []
    assert {"a.edi", "renamed.edi"} <= set(post.names("archive"))


def test_one_name_for_other_content_overwrites_nothing(post):
    post.put("a.edi", SAMPLE)
    post.drain()
    post.put("a.edi", OTHER)
    post.drain()
    kept = [(post.folder / "archive" / name).read_bytes() for name in post.names("archive")]
    assert SAMPLE in kept
    assert OTHER in kept


@pytest.mark.parametrize("bring_back", [shutil.move, shutil.copy])
def test_what_was_in_quarantine_is_read_again_when_it_comes_back(post, monkeypatch, bring_back):
    monkeypatch.setattr(PARTNERS, "match", lambda *_: None)
    post.put("a.edi", SAMPLE)
    post.drain()
    assert post.names("quarantine") == ["a.edi", "a.edi.findings.json"]
    monkeypatch.undo()
    bring_back(post.folder / "quarantine/a.edi", post.folder / "a.edi")
    post.drain()
    assert post.broker.ids == SAMPLE_IDS
    assert post.names("quarantine") == []
    assert "a.edi" in post.names("archive")


def test_a_record_that_kafka_refuses_puts_its_file_into_quarantine(post):
    post.put("a.edi", SAMPLE)
    post.broker.fail = RefusedError("event X has 3,000,000 bytes")
    post.drain()
    about = post.findings("quarantine/a.edi.findings.json")
    assert (about["events_taken"], about["events_not_taken"]) == (0, 2)
    assert "3,000,000 bytes" in about["findings"][-1]["says"]


KILLED_AT = [
    ("connectors.sources.mailbox.Mailbox.delivered", "before anything is settled"),
    ("connectors.sources.mailbox._write", "before the findings are there"),
    ("connectors.sources.mailbox.Checkpoint.store", "before the checkpoint"),
    ("connectors.sources.mailbox._move", "after the checkpoint"),
]


@pytest.mark.parametrize(("place", "when"), KILLED_AT, ids=[when for _, when in KILLED_AT])
def test_a_kill_at_any_point_loses_nothing_and_repeats_ids_only(post, monkeypatch, place, when):
    def die(*_):
        raise Killed

    post.put("a.edi", SAMPLE)
    with monkeypatch.context() as patch:
        patch.setattr(place, die)
        with pytest.raises(Killed):
            post.drain()
    assert post.names() == ["a.edi"]
    post.drain()
    times = 1 if when == "after the checkpoint" else 2
    assert post.broker.ids == SAMPLE_IDS * times
    assert post.names() == []
    assert post.names("archive") == ["a.edi", "a.edi.findings.json"]
    assert post.names("quarantine") == []


def test_a_kill_while_kafka_is_waited_for(post):
    post.put("a.edi", SAMPLE)
    post.broker.fail = Killed()
    with pytest.raises(Killed):
        post.drain()
    post.broker.fail = None
    post.drain()
    assert post.broker.ids == SAMPLE_IDS


def test_a_full_disk_is_a_message_and_the_file_is_read_again(post, monkeypatch):
    def full(*_):
        raise OSError(28, "No space left on device")

    post.put("a.edi", SAMPLE)
    with monkeypatch.context() as patch:
        patch.setattr("connectors.sources.mailbox._write", full)
        with pytest.raises(ConfigurationError, match="No space left"):
            post.drain()
    post.drain()
    assert set(post.broker.ids) == set(SAMPLE_IDS)
    assert "a.edi" in post.names("archive")


@pytest.mark.parametrize("name", [b"\xff\xfe.edi", b"new\nline.edi", b"x" * 250 + b".edi", b"-rf"])
def test_names_that_partners_come_up_with(post, name):
    path = post.folder / os.fsdecode(name)
    path.write_bytes(SAMPLE)
    post.drain()
    assert post.broker.ids == SAMPLE_IDS
    assert post.names() == []
    assert len(post.names("archive")) == 2


def test_two_mailboxes_do_not_share_a_checkpoint(post):
    mailbox = post.open()
    with pytest.raises(ConfigurationError, match="stop the other mailbox"):
        post.open()
    mailbox.close()
    post.open().close()


def test_a_file_that_may_not_be_read_does_not_stop_the_others(post, monkeypatch):
    read_bytes = Path.read_bytes

    def guarded(path):
        if path.name == "a.edi":
            raise PermissionError(13, "Permission denied")
        return read_bytes(path)

    post.put("a.edi", SAMPLE)
    post.put("b.edi", OTHER)
    with monkeypatch.context() as patch:
        patch.setattr(Path, "read_bytes", guarded)
        post.drain()
    assert post.broker.ids == OTHER_IDS
    assert post.names() == ["a.edi"]


def test_a_file_that_vanishes_is_no_trouble(post):
    post.put("a.edi", SAMPLE)
    mailbox = post.open()
    list(mailbox.documents())
    (post.folder / "a.edi").unlink()
    assert list(mailbox.documents()) == []
    mailbox.close()


def test_a_folder_that_cannot_be_made(tmp_path):
    (tmp_path / "file").write_text("in the way")
    with pytest.raises(ConfigurationError, match="MILEPOST_MAILBOX_DIR"):
        Mailbox(tmp_path / "file", Checkpoint(tmp_path / "c.sqlite"), PARTNERS, ADDRESSING.zone_of)
