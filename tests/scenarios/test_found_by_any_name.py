"""The portal's search finds a story by every name that the governed records give it."""

from pathlib import Path

import pytest
from portal_reader import Portal
from sink_feed import incoming

from pipeline.contract import names
from pipeline.testing import scenario_file, scenarios
from pipeline.testing.readers import Told

FOLDER = Path(__file__).parent
NOTHING = Told({}, {}, [])


@pytest.fixture
def find(tmp_path):
    """Runs a variant, and gives what a search finds afterwards."""
    portals = []

    def run(file, name):
        scenario = scenario_file.load(FOLDER / file)
        [variant] = [item for item in scenario.variants if item.name == name]
        published = []
        scenarios.run(scenario, variant, readers=lambda told: published.append(told) or NOTHING)
        portal = Portal(tmp_path / "portal.sqlite")
        portals.append(portal)
        portal.follow(incoming(names.APPROVED, published[0].approved))
        portal.follow(incoming(names.ENTITY_STATUS, published[0].stories))
        return lambda text: [
            f"{hit.type} {hit.id}" for hit in portal.desk.search(text, 10, None, "en")
        ]

    yield run
    for portal in portals:
        portal.close()


def test_a_container_of_a_booking_of_a_shipment(find):
    found = find("case-14-references.yaml", "a container of a booking of a shipment")
    for name in ("S1", " s1 ", "b77", "B 77", "MSKU1234565", "msku 123456-5", "b1"):
        assert found(name) == ["shipment S1"], name


def test_a_carriers_number_that_the_tender_bound(find):
    found = find("case-14-references.yaml", "the tender binds the number before the carrier speaks")
    for name in ("4001", "c1", "tender"):
        assert found(name) == ["shipment S1"], name


def test_a_number_that_only_a_claim_under_it_gave(find):
    name = "sent through again after it was bound"
    assert find("case-14-references.yaml", name)("4001") == ["shipment S1"]


def test_an_order_finds_its_shipments_and_a_part_what_was_split(find):
    name = "a split shipment hands its orders and its region to its children"
    found = find("case-06-partial-and-split.yaml", name)
    assert found("80001234")[0] == "order 80001234"
    assert set(found("0080001234")) == {
        "order 80001234",
        "shipment S1",
        "shipment S1-A",
        "shipment S1-B",
    }
    assert found("s1 a") == ["shipment S1-A", "shipment S1", "order 80001234"]
    assert found("S1-B") == ["shipment S1-B", "shipment S1"]
