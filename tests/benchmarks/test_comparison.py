"""What the harness makes of its figures: rows, goals, what moved, pauses."""

import json
from xml.etree import ElementTree as ET

import pytest

from benchmarks import drawing, pauses, quick, report
from benchmarks.compare import row
from benchmarks.peers import catalogue, harness, pacing


def run(peer, wall_s=10.0, cpu_s=5.0, *, exact=True, **more):
    return harness.Measured(
        peer, 1_000_000, exact=exact, why="" if exact else "other bytes", wall_s=wall_s,
        worker_cpu_s=cpu_s, broker_cpu_s=2.0, foreign_cores=0.0, peak_rss_mib=100.0, **more,
    )  # fmt: skip


def told(name, wall_s, cpu_s, latencies=(10.0, 20.0), *, exact=True):
    (peer,) = catalogue.chosen([name])
    even = run(name, rate=2_000, latencies_ms=list(latencies))
    return row(peer, [run(name, wall_s, cpu_s, exact=exact)], [even], [])


def document(*rows):
    machine = {"cpu": "x", "cores": 2, "memory_gib": 8, "system": "Linux", "python": "3.11"}
    return {
        "machine": machine, "versions": {"kafka": "1"}, "kernel": "compiled", "records": 1_000_000,
        "measured": "2026-01-01", "rate": 2_000, "rows": list(rows), "not_run": {"quix": "no pip"},
    }  # fmt: skip


ROWS = (
    told("kafka-streams-memory", 20.0, 20.0, (40.0, 100.0)),
    told("kafka-streams-rocksdb", 25.0, 16.0, (50.0, 120.0)),
    told("milepost-full", 8.0, 6.0, (10.0, 30.0)),
    told("limit", 5.0, 2.0),
)


class TestRows:
    def test_hold_one_figure_for_each_run(self):
        found = ROWS[2]
        assert found["events_per_s"] == [125_000]
        assert found["cpu_s_per_million"] == [6.0]
        assert found["p99_ms"] == [30.0]
        assert found["exact"] is True

    def test_that_are_not_exact_have_no_figures(self):
        found = told("milepost-full", 8.0, 6.0, exact=False)
        assert found["exact"] is False
        assert found["events_per_s"] == []
        assert found["faults"] == ["other bytes"]


class TestGoals:
    def test_compare_with_the_better_variant_of_kafka_streams(self):
        found = {what: value for what, value, _, _ in report.goals(report.Figures(document(*ROWS)))}
        assert found["full path: events/s"] == pytest.approx(2.5)
        assert found["full path: CPU per event"] == pytest.approx(6 / 16)
        p99 = "full path: p99 at 2,000/s, Kafka Streams committing every 100 ms"
        assert found[p99] == pytest.approx(0.3)
        assert found["minimal step on the lane: events/s"] is None

    def test_count_nothing_that_was_not_exact(self):
        rows = [*ROWS[:2], told("milepost-full", 1.0, 1.0, exact=False)]
        found = {what: value for what, value, _, _ in report.goals(report.Figures(document(*rows)))}
        assert found["full path: events/s"] is None

    @pytest.mark.parametrize(
        ("value", "bound", "least", "said"),
        [
            (2.0, 2.0, True, "reached"),
            (1.0, 2.0, True, "missed by a factor of 2.00"),
            (0.3, 0.4, False, "reached"),
            (0.8, 0.4, False, "missed by a factor of 2.00"),
            (None, 0.4, False, "not measured"),
        ],
    )
    def test_tell_how_far_each_is(self, value, bound, least, said):
        assert report.verdict(value, bound, least) == said


class TestGoalsOfMilepostAlone:
    @pytest.fixture
    def results(self, tmp_path, monkeypatch):
        monkeypatch.setattr(report, "RESULTS", tmp_path)

        def keep(name, **figures):
            report.keep(tmp_path / f"{name}.json", figures)

        return keep

    def goals(self):
        return {what: found for what, found, _, _ in report.own_goals()}

    def test_what_was_not_measured_is_not_reached(self, results):
        assert set(self.goals().values()) == {None}
        assert all(line.endswith("| not measured |") for line in report.own_goal_table()[2:])

    def test_a_cost_is_flat_only_over_all_that_was_asked_for(self, results):
        rows = [{"entities": count, "us_per_event": cost} for count, cost in
                ((100_000, 50.0), (1_000_000, 55.0))]  # fmt: skip
        results("entities", rows=rows)
        assert set(self.goals().values()) == {None}
        results("entities", rows=[*rows, {"entities": 5_000_000, "us_per_event": 65.0}])
        assert self.goals()["CPU per event flat from 100 thousand to 5 million entities"] == (
            pytest.approx(30.0)
        )

    def test_the_longest_pause_counts(self, results):
        results("pauses", killed=[1_500, 2_500], drained=[600, 700])
        goals = self.goals()
        assert goals["longest pause of a partition, worker killed"] == 2_500
        assert goals["longest pause of a partition, worker drained"] == 700


def test_the_page_says_that_peers_do_less_and_what_was_not_run():
    text = report.page(document(*ROWS))
    assert "Peers do the minimal step only" in text
    assert "| quix | not run: no pip |" in text
    assert "125,000** (62% of the limit)" in text


def test_percentiles_are_values_that_were_measured():
    assert pacing.percentiles(range(1, 1001)) == [501, 991, 1000]
    assert pacing.percentiles([7.0]) == [7.0, 7.0, 7.0]


def test_faults_name_the_output_that_differs():
    truth = {"counts": {"approved": 2, "rejected": 1, "undecodable": 0},
             "sums": {"approved": 5, "rejected": 6, "undecodable": 0}}  # fmt: skip
    found = {"approved": [2, 5, 0], "rejected": [1, 6, 0], "undecodable": [0, 0, 0]}
    assert harness.step_faults(found, truth) == ""
    other = found | {"approved": [2, 4, 0], "rejected": [2, 6, 1]}
    assert harness.step_faults(other, truth) == (
        "approved: other bytes; rejected: 2 records instead of 1; rejected: 1 without their reason"
    )


def test_what_moved_is_told_beyond_chance():
    before = {"milepost-full": {"cpu_per_million": 1.0, "peak_rss_mib": 2.0}}
    now = {"milepost-full": {"cpu_per_million": 1.3, "peak_rss_mib": 2.1}}
    worse, same = quick.moved(before, now)
    assert "WORSE by 30% (was 1.00)" in worse
    assert "as before (2.00)" in same


def test_a_pause_is_the_longest_silence_within_its_span():
    assert pauses.longest([100, 150, 900, 950], 120, 1_000) == 750
    assert pauses.longest([], 0, 400) == 400


def test_pictures_are_well_formed():
    bars = drawing.panels(
        "t", ("a & b", [("x", "ours", [1, 2, 3]), ("y", "peer", [0.5])]), ("none", [])
    )
    curves = drawing.lines("t", "ms", [("p50", "a", [(0, 1), (1, 5)]), ("p99", "b", [(0, 2)])])
    for drawn in (bars, curves):
        assert ET.fromstring(drawn).tag.endswith("svg")


def test_results_can_be_written_as_json():
    assert json.loads(json.dumps(document(*ROWS)))["rows"][0]["name"] == "kafka-streams-memory"
