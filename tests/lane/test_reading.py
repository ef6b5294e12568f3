"""Where a partition stands: positions, gaps, deferrals, ticks, and what "read through T" means."""

import pytest

from pipeline.lane.model import Gap, Record
from pipeline.lane.reading import GOALS_MAX, Reading, TickPlan


def reading(positions=(), inputs=("a", "b")):
    made = Reading(0, dict(positions))
    made.select(inputs)
    made.wanted()
    return made


def take(at, topic, *offsets):
    """What the lane does per record."""
    for offset in offsets:
        at.position[topic] = offset + 1
    return [Record(topic, 0, offset, 0, None, None, None) for offset in offsets]


class TestBatches:
    def test_a_batch_tells_how_far_each_input_got(self):
        at = reading({"a": 5, "b": 7})
        batch = at.cut(take(at, "a", 5, 6), None)
        assert batch.ends == {"a": 7}
        assert [record.offset for record in batch.records] == [5, 6]

    def test_nothing_to_tell_is_no_batch(self):
        at = reading()
        assert at.cut([], None) is None

    def test_offsets_of_transaction_markers_count_once_the_end_was_seen(self):
        at = reading()
        records = take(at, "a", 0)
        at.reached_end("a", 3)
        assert at.cut(records, None).ends == {"a": 3}

    def test_an_end_seen_alone_is_told_with_the_next_batch(self):
        at = reading()
        at.reached_end("a", 3)
        assert at.cut([], None) is None
        assert at.cut(take(at, "b", 0), None).ends == {"a": 3, "b": 1}

    def test_an_end_behind_the_position_moves_nothing(self):
        at = reading({"a": 5})
        at.reached_end("a", 3)
        assert at.position["a"] == 5


class TestInputs:
    def test_one_never_read_starts_at_its_beginning(self):
        at = reading({"a": 5}, inputs=["a"])
        assert at.select(["a", "new"])
        assert at.wanted() == {"a": 5, "new": 0}

    def test_one_dropped_and_taken_again_goes_on_where_it_was(self):
        at = reading({"a": 5, "b": 7})
        at.select(["a"])
        assert at.wanted() == {"a": 5}
        at.select(["a", "b"])
        assert at.wanted() == {"a": 5, "b": 7}

    def test_the_same_set_changes_nothing(self):
        assert not reading(inputs=["a"]).select(["a"])


class TestGaps:
    def test_what_was_lost_is_told_even_if_its_input_is_not_read_any_more(self):
        at = reading({"a": 5})
        at.lost.add("a")
        at.select(["b"])
        gap = at.found("a", 9, 20)
        batch = at.cut([], None)
        assert batch.gaps == [gap]
        assert batch.ends == {"a": 9}

    def test_records_lost_to_retention_are_told_and_reading_goes_on_behind_them(self):
        at = reading({"a": 5})
        at.lost.add("a")
        assert at.wanted() == {"b": 0}
        assert at.found("a", 9, 20) == Gap("a", 5, 9, "retention")
        assert at.wanted() == {"a": 9, "b": 0}
        batch = at.cut([], None)
        assert batch.gaps == [Gap("a", 5, 9, "retention")]
        assert batch.ends == {"a": 9}

    def test_a_position_that_is_in_the_log_after_all_is_no_gap(self):
        at = reading({"a": 5})
        at.lost.add("a")
        assert at.found("a", 5, 20) is None
        assert at.cut([], None) is None

    def test_a_position_beyond_the_end_is_refused(self):
        at = reading({"a": 50})
        with pytest.raises(ValueError, match="50 lies beyond the end 20"):
            at.found("a", 0, 20)


class TestDeferral:
    def test_goes_back_to_where_the_batch_began_and_leaves_the_input_out_for_a_while(self):
        at = reading({"a": 5, "b": 7})
        batch = at.cut(take(at, "a", 5) + take(at, "b", 7, 8), None)
        at.put_back(batch, ["a"], at=10.0)
        assert at.wanted() == {"b": 7}
        assert not at.wake(9.9)
        assert at.wake(10.0)
        assert at.wanted() == {"a": 5, "b": 7}

    def test_none_means_all_inputs(self):
        at = reading()
        batch = at.cut(take(at, "a", 0), None)
        at.put_back(batch, None, at=10.0)
        assert at.wanted() == {}

    def test_naming_only_inputs_without_records_means_all_too(self):
        at = reading()
        batch = at.cut(take(at, "a", 0), None)
        at.put_back(batch, ["b"], at=10.0)
        assert at.wanted() == {}

    def test_the_batch_before_stays_decided(self):
        at = reading()
        at.cut(take(at, "a", 0, 1), None)
        batch = at.cut(take(at, "a", 2), None)
        at.put_back(batch, None, at=0.0)
        assert at.position["a"] == 2

    def test_gaps_and_what_was_read_through_are_told_again(self):
        at = reading(inputs=["a"])
        at.lost.add("a")
        gap = at.found("a", 9, 20)
        at.wanted()
        at.aim(1_000, {"a": 9})
        batch = at.cut([], None)
        assert batch.read_through_ms == 1_000
        at.put_back(batch, None, at=0.0)
        at.wake(0.0)
        again = at.cut([], None)
        assert again.gaps == [gap]
        assert again.read_through == {"a": 1_000}
        assert again.read_through_ms == 1_000

    def test_only_the_newest_batch_can_be_put_back_and_once(self):
        at = reading()
        batch = at.cut(take(at, "a", 0), None)
        at.put_back(batch, None, at=0.0)
        with pytest.raises(ValueError, match="once"):
            at.put_back(batch, None, at=0.0)


class TestReadThrough:
    def test_an_input_at_its_end_is_read_through_the_tick_at_once(self):
        at = reading({"a": 5, "b": 7})
        assert at.aim(1_000, {"a": 5, "b": 7}) == {"a": 0, "b": 0}
        batch = at.cut([], None)
        assert batch.read_through == {"a": 1_000, "b": 1_000}
        assert batch.read_through_ms == 1_000

    def test_a_backlog_is_read_first_and_holds_the_others_up_only_together(self):
        at = reading({"a": 5, "b": 7})
        assert at.aim(1_000, {"a": 8, "b": 7}) == {"a": 3, "b": 0}
        first = at.cut(take(at, "a", 5), None)
        assert (first.read_through, first.read_through_ms) == ({"b": 1_000}, None)
        second = at.cut(take(at, "a", 6, 7), None)
        assert (second.read_through, second.read_through_ms) == ({"a": 1_000}, 1_000)

    def test_trailing_markers_count_as_read_when_the_end_was_seen(self):
        at = reading(inputs=["a"])
        at.aim(1_000, {"a": 2})
        assert at.cut(take(at, "a", 0), None).read_through == {}
        at.reached_end("a", 2)
        assert at.cut([], None).read_through_ms == 1_000

    def test_the_newest_tick_reached_counts(self):
        at = reading(inputs=["a"])
        at.aim(1_000, {"a": 1})
        at.aim(2_000, {"a": 2})
        at.aim(3_000, {"a": 9})
        assert at.cut(take(at, "a", 0, 1), None).read_through_ms == 2_000

    def test_an_input_that_waits_out_an_outage_holds_the_whole_up(self):
        at = reading()
        at.put_back(at.cut(take(at, "a", 0), None), ["a"], at=99.0)
        at.aim(1_000, {"a": 1, "b": 0})
        batch = at.cut([], None)
        assert (batch.read_through, batch.read_through_ms) == ({"b": 1_000}, None)

    def test_an_input_no_longer_read_holds_nothing_up(self):
        at = reading()
        at.aim(1_000, {"a": 1, "b": 0})
        at.cut([], None)
        at.select(["b"])
        at.aim(2_000, {"a": 1, "b": 0})
        assert at.cut([], None).read_through_ms == 2_000

    def test_endless_ticks_before_a_waiting_input_are_not_hoarded(self):
        at = reading(inputs=["a"])
        for tick in range(GOALS_MAX * 3):
            at.aim(tick, {"a": tick + 1})
        assert at.cut(take(at, "a", 0), None).read_through_ms == 0
        assert at.cut(take(at, "a", *range(1, 99)), None).read_through_ms == GOALS_MAX * 3 - 1


class TestTicks:
    def plan(self, *, time_ms=None):
        """A plan at 100.0 s; with a time, it has read a tick of that time just now."""
        plan = TickPlan(interval_s=60, pause_s=1, now=100.0)
        if time_ms is not None:
            plan.consumed(100.0, b"former owner's", time_ms)
        return plan

    def test_one_is_due_after_the_interval(self):
        plan = self.plan()
        assert not plan.wanted(159.9, None)
        assert plan.wanted(160.0, None)

    def test_a_deadline_asks_for_one_when_it_falls_due_by_the_logs_time(self):
        plan = self.plan(time_ms=4_000)
        assert not plan.wanted(100.9, 5_000)
        assert plan.wanted(101.0, 5_000)

    def test_who_does_not_know_the_time_asks_for_it_once_there_is_a_deadline(self):
        plan = self.plan()
        assert not plan.wanted(100.0, None)
        assert plan.wanted(100.0, 5_000)
        plan.written(100.0, b"t1")
        plan.consumed(100.1, b"t1", 2_000)
        assert not plan.wanted(103.0, 5_000)
        assert plan.wanted(103.2, 5_000)

    def test_an_older_tick_does_not_turn_the_time_back(self):
        plan = self.plan(time_ms=4_000)
        plan.consumed(100.5, b"other", 1_000)
        assert plan.wanted(101.0, 5_000)

    def test_one_at_most_is_on_its_way(self):
        plan = self.plan(time_ms=4_000)
        plan.written(101.0, b"t1")
        assert not plan.wanted(130.0, 5_000)
        plan.consumed(130.0, b"t1", 4_900)
        assert plan.wanted(131.0, 5_000)

    def test_they_keep_their_distance(self):
        plan = self.plan()
        plan.written(101.0, b"t1")
        plan.consumed(101.1, b"t1", 4_900)
        assert not plan.wanted(101.9, 5_000)
        assert plan.wanted(102.0, 5_000)

    def test_a_tick_behind_the_deadline_is_enough_however_long_reading_takes(self):
        plan = self.plan()
        plan.written(101.0, b"t1")
        plan.consumed(101.1, b"t1", 5_000)
        assert not plan.wanted(110.0, 5_000)

    def test_a_former_owners_tick_moves_the_clock_but_answers_for_nobody(self):
        plan = self.plan()
        plan.written(101.0, b"t1")
        plan.consumed(101.1, b"other", 5_000)
        assert not plan.wanted(999.0, None)

    def test_one_that_could_not_be_written_is_tried_again(self):
        plan = self.plan(time_ms=4_000)
        plan.written(101.0, b"t1")
        plan.failed(b"t1")
        assert plan.wanted(102.0, 5_000)
        plan.written(102.0, None)
        assert not plan.wanted(102.5, 5_000)
        assert plan.wanted(103.0, 5_000)
