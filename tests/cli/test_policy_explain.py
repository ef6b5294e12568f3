"""`milepost policy explain`: what each step finds, where the policy says so, how a claim leaves."""

import json
from collections import Counter
from datetime import UTC, datetime, timedelta

import pytest

from pipeline.contract.names import data_root
from pipeline.governance.flow import STEPS
from pipeline.governance.vocabulary import Disposition

NOON = "2026-06-01T12:00:00Z"
"""When the first claim is received, unless a test says otherwise."""
ORDER = [step.stage.value for step in STEPS]


def events(tmp_path, *given):
    file = tmp_path / "events.json"
    file.write_text(json.dumps(list(given)))
    return file


def said(status, **given):
    return {
        "event_id": "e1",
        "platform": "tms-na",
        "entity_type": "shipment",
        "entity_id": "s1",
        "native_status": status,
        "classifier": "ACTUAL",
        "occurred": "2026-06-01T08:00:00Z",
        "stop": {"location": "C-ATL"},
    } | given


def explained(milepost, tmp_path, *given, received=NOON):
    asked = ("policy", "explain", events(tmp_path, *given), "--received", received, "--json")
    told = milepost(*asked)
    assert told.code == 0, told.err
    return told.document["events"]


def found(event):
    return {step["step"]: step["found"] for step in event["steps"]}


def left(event):
    return event["steps"][-1]["step"], event["disposition"], event["reason"]


def written(place):
    """The line of the policy that a place names."""
    name, _, line = place.partition(":")
    return (data_root() / "policy" / name).read_text("utf-8").splitlines()[int(line) - 1]


def rows(event):
    return {step["step"]: [written(place) for place in step["sources"]] for step in event["steps"]}


def test_a_claim_is_taken_through_every_step_in_the_tables_order(milepost, tmp_path):
    (told,) = explained(milepost, tmp_path, said("DELIVERED"))
    assert left(told) == ("conflict", "approved", "owner_spoke")
    steps = found(told)
    assert list(steps) == ORDER
    assert steps["identity"] == "tms-na (TMS) for acme: shipment S1"
    assert steps["dialect"] == "DELIVERED in dialect tms-na means delivered"
    assert steps["plausibility"] == "4 h before receipt; acme looks back 180 d"
    assert steps["occurrence"] == "delivered at ATL1"
    assert steps["ownership"].startswith("rule transport-na in NA: owner tms-na; deputies carrier-")
    assert [record["action"] for record in told["published"]] == ["ASSERT"]


def test_each_step_names_the_rows_of_the_policy_that_it_follows(milepost, tmp_path):
    # tms-eu says DELIVERED by the dialect that its own one extends
    (told,) = explained(milepost, tmp_path, said("DELIVERED", platform="tms-eu"))
    steps = rows(told)
    assert ["name: tms-eu" in steps["identity"][0], "ids:" in steps["identity"][1]] == [True, True]
    assert "DELIVERED: delivered" in steps["dialect"][0]
    assert "horizon: P180D" in steps["plausibility"][0]
    assert "id: ATL1" in steps["occurrence"][0]
    assert "name: delivered," in steps["occurrence"][1]
    assert "rule: transport-na" in steps["ownership"][0]
    assert "dialects/tms-na.yaml:" in str(told["steps"])


@pytest.mark.parametrize(
    ("given", "way_out", "row"),
    [
        (said("WOBBLY"), ("dialect", "dead_lettered", "unmapped_status"), "codes:"),
        (said("NOTE"), ("dialect", "ignored", "not_a_milestone"), "NOTE: ignore"),
        (
            said("DELIVERED", occurred="2026-06-01T12:06:00Z"),
            ("plausibility", "dead_lettered", "occurred_in_future"),
            "clock_tolerance: PT5M",
        ),
        (
            said("DELIVERED", occurred="2025-06-01T08:00:00Z"),
            ("plausibility", "stale", "beyond_horizon"),
            "horizon: P180D",
        ),
        (
            said("D1", platform="carrier-redline"),
            ("conflict", "held", "awaiting_owner"),
            "deputies:",
        ),
        (said("TENDERED", stop=None), ("ownership", "held", "region_unresolved"), "region: PT24H"),
        (said("D1", retracts="e0"), ("occurrence", "held", "awaiting_target"), "target: P3D"),
        (
            said("GI", platform="wms-3pl", account="SOMEBODY"),
            ("identity", "dead_lettered", "unknown_tenant"),
            "accounts:",
        ),
    ],
)
def test_the_step_where_a_claim_leaves_names_the_row_that_has_it_leave(
    milepost, tmp_path, given, way_out, row
):
    (told,) = explained(milepost, tmp_path, given)
    assert left(told) == way_out
    assert any(row in line for line in rows(told)[way_out[0]])
    assert told["remedy"]["todo"]
    assert list(found(told)) == [step for step in ORDER if step in found(told)]


def test_a_platform_that_the_bundle_lacks_passes_no_step_but_the_first(milepost, tmp_path):
    (told,) = explained(milepost, tmp_path, said("DELIVERED", platform="nobody"))
    assert found(told) == {
        "decode": "a raw event, on logistics.raw.nobody.v1",
        "identity": "platform 'nobody'",
    }


@pytest.mark.parametrize("name", [{"entity_id": " "}, {"entity_id": None, "entity_type": None}])
def test_a_claim_that_names_nothing_leaves_at_identity(milepost, tmp_path, name):
    (told,) = explained(milepost, tmp_path, said("DELIVERED", **name))
    assert left(told) == ("identity", "dead_lettered", "entity_missing")


def test_a_code_may_lack_the_stops_role_or_its_event_type_the_stop(milepost, tmp_path):
    by_role = said("AF", platform="carrier-redline", stop=None)
    by_stop = said("DELIVERED", stop={"location": "C-NOWHERE"}, event_id="e2")
    no_role, no_stop = explained(milepost, tmp_path, by_role, by_stop)
    assert left(no_role) == ("dialect", "held", "stop_unresolved")
    assert found(no_role)["dialect"] == "AF in dialect x12-214 depends on the stop's role"
    assert left(no_stop) == ("occurrence", "held", "stop_unresolved")


def test_only_two_ways_out_are_at_two_steps_and_these_are_told_apart():
    exits = Counter(
        (disposition, reason)
        for step in STEPS
        for disposition, reasons in step.leaves.items()
        for reason in reasons
        if disposition != Disposition.DEAD_LETTERED  # a dead letter names its step itself
    )
    shared = {(str(fate), str(reason)) for (fate, reason), count in exits.items() if count > 1}
    assert shared == {("held", "stop_unresolved"), ("duplicate", "repeated")}


def test_the_same_record_again_goes_no_further_than_repetition(milepost, tmp_path):
    again = said("DELIVERED", remark="once more")
    _, same, alike = explained(milepost, tmp_path, said("DELIVERED"), said("DELIVERED"), again)
    assert left(same) == ("repetition", "duplicate", "repeated")
    assert left(alike) == ("occurrence", "duplicate", "repeated")


def test_what_a_reference_names_is_told_and_judged(milepost, tmp_path):
    number = {"kind": "PRO", "scope": "RDLN", "value": "4001"}
    stops = [{"number": 1, "role": "PICKUP", "location": "DAL1"}]
    tender = said("TENDERED", stop=None, stops=stops, references=[number])
    call = said("D1", event_id="c1", platform="carrier-redline", reference=number)
    call |= {"entity_type": None, "entity_id": None}
    first, _, last = explained(
        milepost, tmp_path, call, tender, call | {"event_id": "c2", "native_status": "X1"}
    )
    assert left(first) == ("reference", "held", "uncorrelated")
    assert left(last) == ("conflict", "held", "awaiting_owner")
    steps = found(last)
    assert steps["identity"] == "carrier-redline (CARRIER) for acme: reference PRO:RDLN:4001"
    assert steps["reference"] == "it names acme/shipment/S1"


def test_a_tender_without_a_stop_of_its_own_happens_where_the_kernel_puts_it(milepost, tmp_path):
    stops = [{"number": 1, "role": "PICKUP", "location": "DAL1"}]
    (told,) = explained(milepost, tmp_path, said("TENDERED", stop=None, stops=stops))
    assert found(told)["occurrence"] == "shipment.tendered at DAL1"
    assert found(told)["ownership"].startswith("rule transport-na in NA:")
    assert told["published"][0]["region"] == "NA"


def test_an_estimate_says_as_what_it_is_judged(milepost, tmp_path):
    (told,) = explained(milepost, tmp_path, said("DELIVERED", classifier="ESTIMATED"))
    assert found(told)["dialect"].endswith("means delivered, judged as eta.updated")


def test_each_claim_stands_on_the_ones_before_it(milepost, tmp_path):
    carrier = {"platform": "carrier-redline", "event_id": "c1", "native_status": "D1"}
    first, second = explained(milepost, tmp_path, said("DELIVERED") | carrier, said("DELIVERED"))
    assert (first["disposition"], first["reason"]) == ("held", "awaiting_owner")
    assert datetime.fromtimestamp(first["deadline"] / 1000, UTC).isoformat() == (
        "2026-06-01T16:00:00+00:00"
    )
    assert second["disposition"] == "approved"
    assert [(row["before"], row["after"]) for row in second["transitions"]] == [
        ("held", "corroborated")
    ]


def test_claims_are_received_in_the_order_of_the_file(milepost, tmp_path):
    later = said("DELIVERED", event_id="a", occurred="2026-06-01T09:00:00Z")
    first, second = explained(milepost, tmp_path, said("DELIVERED", event_id="b"), later)
    assert second["received"] > first["received"]
    (record,) = second["published"]
    assert (record["action"], record["revision"]) == ("CORRECT", 2)


# The time of receipt


def test_claims_are_received_now_whatever_else_the_file_says(milepost, tmp_path):
    ahead = (datetime.now(UTC) + timedelta(days=400)).isoformat()
    yesterday = said("DELIVERED", occurred="-1dT08:00:00Z", entity_id="s2")
    file = events(tmp_path, said("DELIVERED", occurred=ahead), yesterday)
    first, second = milepost("policy", "explain", file, "--json").document["events"]
    assert left(first) == ("plausibility", "dead_lettered", "occurred_in_future")
    assert left(second) == ("conflict", "approved", "owner_spoke")
    told = milepost("policy", "explain", file)
    assert told.out.startswith("Received 20")
    assert "(now; --received TIME assumes another)." in told.out.splitlines()[0]


def test_another_time_of_receipt_is_assumed_and_told(milepost, tmp_path):
    file = events(tmp_path, said("DELIVERED", occurred="2039-01-01T00:00:00Z"))
    told = milepost("policy", "explain", file, "--received", "2039-01-01T01:00:00Z")
    assert told.out.startswith("Received 2039-01-01T01:00:00Z (assumed).\n\ne1: approved")
    told = milepost("policy", "explain", file, "--received", "yesterday")
    assert (told.code, told.out) == (2, "")
    assert "--received: 'yesterday' is no ISO 8601 time" in told.err


def test_a_date_may_count_back_from_today(milepost, tmp_path):
    file = events(tmp_path, said("DELIVERED", occurred="-1dT10:05:30-06:00"))
    (told,) = milepost("policy", "explain", file, "--json").document["events"]
    yesterday = datetime.now(UTC).date() - timedelta(days=1)
    (record,) = told["published"]
    meant = datetime.fromisoformat(f"{yesterday.isoformat()}T16:05:30+00:00")
    assert record["occurred"] == meant.timestamp() * 1000
    assert record["occurred_precision"] == "SECOND"


# For a person


def test_the_outcome_is_one_sentence_and_the_step_where_it_left_is_marked(milepost, tmp_path):
    file = events(tmp_path, said("DELIVERED"))
    told = milepost("policy", "explain", file, "--received", NOON)
    lines = told.out.splitlines()
    assert "e1: approved (owner_spoke): The milestone's owner said so." in lines
    (mark,) = (line for line in lines if line.startswith("> "))
    assert mark.startswith("> conflict     approved (owner_spoke) [ownership.yaml:")
    assert "  to do        Nothing: it stands" in lines
    assert max(map(len, lines)) <= 80


def test_a_claim_that_can_not_be_governed_says_what_to_do_and_whose_turn_it_is(milepost, tmp_path):
    told = milepost("policy", "explain", events(tmp_path, said("WOBBLY")), "--received", NOON)
    assert "> dialect      dead_lettered (unmapped_status): 'WOBBLY' in dialect tms-na" in told.out
    assert "  to do        Map the code in the platform's dialect, publish;" in told.out
    assert "(turn of the policy's owner)" in told.out


@pytest.mark.parametrize(
    ("content", "message"),
    [("{", "is no JSON"), ('[{"event_id": 1}]', "event 1: "), ("[]", "holds no event")],
)
def test_a_file_that_holds_no_event_is_wrong_use(milepost, tmp_path, content, message):
    file = tmp_path / "events.json"
    file.write_text(content)
    told = milepost("policy", "explain", file)
    assert told.code == 2
    assert message in told.err
    assert milepost("policy", "explain", tmp_path / "none.json").code == 2
