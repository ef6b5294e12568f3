"""What the lane and an application owe each other, checked without a broker."""

import pytest

from pipeline.lane import Decided, Deferred, Gap, LaneConfig, LaneError, PartitionBatch, Record
from pipeline.lane.model import TICK_HEADER, RecordBatch, is_tick
from pipeline.lane.reading import check_positions


def record(topic, offset, headers=None):
    return Record(topic, 0, offset, 0, None, None, headers)


def batch(records=(), ends=None, gaps=()):
    return PartitionBatch(0, None, list(records), dict(ends or {}), list(gaps))


class TestPositions:
    def test_may_lie_anywhere_from_the_last_record_to_the_end(self):
        part = batch([record("a", 5)], {"a": 8})
        for position in (6, 7, 8):
            check_positions(part, Decided([], [], {"a": position}))

    @pytest.mark.parametrize("position", [5, 9])
    def test_neither_read_twice_nor_skip(self, position):
        with pytest.raises(LaneError, match=r"'a' at \d, but its batch reaches from 6 to 8"):
            check_positions(batch([record("a", 5)], {"a": 8}), Decided([], [], {"a": position}))

    def test_must_be_given_for_every_input_with_records_or_gaps(self):
        with pytest.raises(LaneError):
            check_positions(batch([record("a", 5)], {"a": 6}), Decided([], [], {}))
        with pytest.raises(LaneError):
            check_positions(
                batch([], {"a": 9}, [Gap("a", 5, 9, "retention")]), Decided([], [], {"a": 5})
            )

    def test_need_not_follow_markers_alone(self):
        check_positions(batch([], {"a": 9}), Decided([], [], {}))


class TestDeferrals:
    @pytest.mark.parametrize("seconds", [0, -1, 3601])
    def test_take_a_sensible_time(self, seconds):
        with pytest.raises(ValueError, match="a deferral takes more than 0"):
            Deferred(seconds, "why")

    def test_name_inputs_or_none(self):
        with pytest.raises(ValueError, match="or None for all"):
            Deferred(1, "why", frozenset())


def test_an_answer_knows_its_batch():
    answers = []
    made = RecordBatch({}, 0, answers.append)
    made.done({})
    assert answers == [(made, {})]


def test_a_tick_is_told_by_its_header():
    assert is_tick(record("control", 0, [("x", b""), (TICK_HEADER, b"0:1")]))
    assert not is_tick(record("control", 0, [("x", b"")]))
    assert not is_tick(record("control", 0))


GOOD = {
    "client": {"bootstrap.servers": "localhost:9092"},
    "group": "g",
    "slot": "0",
    "control_topic": "control",
    "changelog_topic": "changelog",
}


class TestConfig:
    def test_the_control_topic_is_an_input(self):
        made = LaneConfig(**GOOD, inputs=frozenset({"a"}))
        assert made.topics == {"a", "control"}
        assert made.member == "g-0"

    @pytest.mark.parametrize(
        ("change", "words"),
        [
            ({"client": {}}, "bootstrap.servers is missing"),
            ({"slot": ""}, "need a name"),
            ({"batch_records_max": 0}, "at least 1"),
            ({"heartbeat_ms": 3_000}, "a third of session_ms"),
            ({"call_limit_s": 20}, "may not outlive"),
            ({"inputs": frozenset({"changelog"})}, "can't be one of its inputs"),
        ],
    )
    def test_contradictions_are_refused_with_the_settings_name(self, change, words):
        with pytest.raises(ValueError, match=words):
            LaneConfig(**{**GOOD, **change})
