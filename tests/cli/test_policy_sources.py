"""`milepost policy explain` names the file and line of the policy that each step follows."""

import json

import pytest

from pipeline.contract.names import data_root

GIVEN = {
    "event_id": "e1",
    "platform": "tms-eu",  # it says DELIVERED by the dialect that its own one extends
    "entity_type": "shipment",
    "entity_id": "s1",
    "native_status": "DELIVERED",
    "classifier": "ACTUAL",
    "occurred": "2026-06-01T08:00:00Z",
    "stop": {"location": "C-ATL"},
}


@pytest.fixture
def file(tmp_path):
    path = tmp_path / "event.json"
    path.write_text(json.dumps(GIVEN))
    return path


def written(place):
    """The line of the policy that a place names."""
    name, _, line = place.partition(":")
    return (data_root() / "policy" / name).read_text("utf-8").splitlines()[int(line) - 1]


def test_each_step_names_where_the_policy_says_so(milepost, file):
    (told,) = milepost("policy", "explain", file, "--json").document["events"]
    lines = {step: written(place) for step, place in told["sources"].items()}
    assert list(lines) == ["platform", "place", "event type", "dialect"]
    assert "name: tms-eu" in lines["platform"]
    assert "id: ATL1" in lines["place"]
    assert "name: delivered," in lines["event type"]
    assert "DELIVERED: delivered" in lines["dialect"]
    assert "dialects/tms-na.yaml:" in told["sources"]["dialect"]


def test_a_person_sees_the_places_in_one_line(milepost, file):
    told = milepost("policy", "explain", file)
    assert "  see          platforms.yaml:" in told.out
    assert "carrier-redline after 4 h" in told.out
