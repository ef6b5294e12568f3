"""What kills the decoder twice is not decoded a third time; what it was read with is."""

import json

import pytest

from pipeline.contract import codec, names
from pipeline.governance.reasons import Reason
from pipeline.lane import PartitionBatch, Record
from pipeline.streams import quarantine as quarantining
from pipeline.streams.arriving import Refused
from pipeline.streams.quarantine import Quarantine
from pipeline.streams.state import PartitionState
from pipeline.streams.topology import Surroundings

TOPIC = names.raw_topic("tms-na")


class Death(BaseException):
    """Stands for a signal: nothing is tidied up behind it."""


@pytest.fixture
def died(tmp_path):
    """A worker's successor in the same slot."""
    return lambda: Quarantine(tmp_path / "governor", "group-0")


def around():
    schemas = {(TOPIC, 1): codec.committed("raw-event")}
    return Surroundings(4, "group", {}, schemas, {}, frozenset({TOPIC}), 10_000)


def batch(*offsets):
    records = [Record(TOPIC, 2, n, 0, b"k", b"\0\0\0\0\1%d" % n, None) for n in offsets]
    return PartitionBatch(2, PartitionState(2), records, {TOPIC: offsets[-1] + 1})


def dies_in(quarantine, part, monkeypatch, at=None):
    """Read a batch and die in it; of the record at an offset, where they are tried one by one."""

    def deadly(_schemas, came):
        if came.record.offset == at:
            raise Death

    monkeypatch.setattr(quarantining, "decode", deadly)
    monkeypatch.setattr(quarantine, "_clear", lambda: None)  # the dead tidy nothing up
    (run,) = quarantine.runs(around(), part)
    with pytest.raises(Death), quarantine.reading(run, part):
        raise Death


def test_who_ends_in_order_leaves_no_suspicion(died):
    first, part = died(), batch(3, 4)
    (run,) = first.runs(around(), part)
    with first.reading(run, part):
        pass
    assert (died().suspects, died().deadly) == ({}, set())


def test_a_record_that_kills_twice_stands_alone_and_is_refused(died, monkeypatch):
    part = batch(3, 4, 5)
    dies_in(died(), part, monkeypatch)
    second = died()
    assert second.suspects == {(TOPIC, 2, 0, 6): 1}
    dies_in(second, part, monkeypatch, at=4)
    third = died()
    assert third.deadly == {(TOPIC, 2, 4)}
    before, alone, behind = third.runs(around(), part)
    assert [[record.offset for record in run.records] for run in (before, alone, behind)] == [
        [3],
        [4],
        [5],
    ]
    refused = alone.surroundings.schemas[TOPIC, 1]
    assert isinstance(refused, Refused)
    assert refused.reason is Reason.DECODER_DIED
    assert before.surroundings.schemas == around().schemas
    monkeypatch.setattr(quarantining, "decode", lambda *_: pytest.fail("tried once more"))
    with third.reading(alone, part):
        pass


def test_who_was_killed_from_outside_costs_its_records_one_more_reading(died, monkeypatch):
    part = batch(3, 4)
    dies_in(died(), part, monkeypatch)
    tried = []
    second = died()
    monkeypatch.setattr(quarantining, "decode", lambda _, came: tried.append(came.record.offset))
    (run,) = second.runs(around(), part)
    with second.reading(run, part):
        part.state.positions.update(part.ends)
    second.survived(part)
    assert tried == [3, 4]
    assert (second.suspects, second.deadly) == ({}, set())
    assert (died().suspects, died().deadly) == ({}, set())


def test_what_two_died_of_but_no_record_alone_is_judged_without_the_plain_path(died, monkeypatch):
    part = batch(3, 4)
    dies_in(died(), part, monkeypatch)
    second = died()
    (run,) = second.runs(around(), part)
    assert run.surroundings.plainly
    dies_in(second, part, monkeypatch)
    third = died()
    assert third.suspects == {(TOPIC, 2, 0, 5): 2}
    (run,) = third.runs(around(), part)
    assert not run.surroundings.plainly
    with third.reading(run, part):
        part.state.positions.update(part.ends)
    third.survived(part)
    (run,) = third.runs(around(), batch(5))
    assert run.surroundings.plainly


@pytest.mark.parametrize("torn", [b'\0\0\0\0\0\0\0\5[{"a', b"\0\0\0\0\0\0\0\2[]"])
def test_a_note_that_can_not_be_read_is_told_and_forgotten(died, tmp_path, caplog, torn):
    died()
    note = tmp_path / "governor" / "group-0.reading"
    note.write_bytes(torn.ljust(note.stat().st_size, b"\0"))
    assert (died().suspects, died().deadly) == ({}, set())
    assert "can't be read" in caplog.text


def test_what_another_release_knew_of_the_dead_is_forgotten(died, tmp_path):
    died()
    kept = tmp_path / "governor" / "group-0.suspects.json"
    kept.write_text('{"suspects": [["a", 1, 2, 3]], "deadly": []}')
    assert (died().suspects, died().deadly) == ({}, set())


def test_who_ends_by_an_error_leaves_its_records_under_suspicion(died):
    first, part = died(), batch(3, 4)
    (run,) = first.runs(around(), part)
    with pytest.raises(Death), first.reading(run, part):
        raise Death
    assert died().suspects == {(TOPIC, 2, 0, 5): 1}


def test_what_lies_behind_the_suspects_is_not_tried(died, monkeypatch):
    dies_in(died(), batch(3), monkeypatch)
    second, part = died(), batch(4, 5)
    monkeypatch.setattr(quarantining, "decode", lambda *_: pytest.fail("tried"))
    (run,) = second.runs(around(), part)
    with second.reading(run, part):
        pass


def test_deaths_are_known_to_every_worker_of_the_slot_that_follows(died, monkeypatch, tmp_path):
    part = batch(3)
    dies_in(died(), part, monkeypatch)
    dies_in(died(), part, monkeypatch, at=3)
    assert died().deadly == died().deadly == {(TOPIC, 2, 3)}
    kept = json.loads((tmp_path / "governor" / "group-0.suspects.json").read_text())
    assert kept["deadly"] == [[TOPIC, 2, 3]]


def test_without_a_folder_for_notes_it_works_and_remembers_nothing(tmp_path, caplog):
    (tmp_path / "file").write_text("in the way")
    lone, part = Quarantine(tmp_path / "file" / "governor", "group-0"), batch(3)
    (run,) = lone.runs(around(), part)
    with lone.reading(run, part):
        pass
    assert "will not be remembered" in caplog.text
