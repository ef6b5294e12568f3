"""A raw event's topic and key come from the bundle."""

from pathlib import Path

import pytest

from connectors.addressing import Addressing, UnaddressableError
from connectors.formats.reading import raw_event, stop
from pipeline.contract.bundle import load_bundle

ADDRESSING = Addressing(load_bundle(Path(__file__).parents[2] / "policy"))


def event(**given):
    return raw_event(**({"platform": "tms-na", "entity_type": "shipment"} | given))


def test_the_key_has_the_id_as_the_platform_rules_spell_it():
    found = ADDRESSING.address(event(entity_id=" s/12 "))
    assert found == ("logistics.raw.tms-na.v1", b"acme/shipment/S%2F12")
    order = ADDRESSING.address(event(entity_type="order", entity_id="0080001234"))
    assert order.key == b"acme/order/80001234"


def test_several_platforms_share_a_topic():
    assert ADDRESSING.address(event(platform="carrier-scac", entity_id="1")) == (
        "logistics.raw.carriers.v1",
        b"samples/shipment/1",
    )


def test_who_knows_no_entity_is_keyed_by_reference():
    reference = {"kind": "PRO", "scope": "RDLN", "value": "77/8"}
    found = ADDRESSING.address(event(entity_type=None, reference=reference))
    assert found.key == b"acme/ref/PRO:RDLN:77%2F8"


def test_the_tenant_of_an_account():
    found = ADDRESSING.address(event(platform="wms-3pl", account="ACME-3PL", entity_id="9"))
    assert found.key == b"acme/shipment/9"


@pytest.mark.parametrize(
    ("given", "field"),
    [
        ({"platform": "nobody", "entity_id": "1"}, "platform"),
        ({"platform": "wms-3pl", "account": "OTHER", "entity_id": "1"}, "account"),
        ({"platform": "wms-3pl", "entity_id": "1"}, "account"),
        ({"entity_id": None}, "entity_id"),
        ({"entity_id": "  "}, "entity_id"),
        ({"reference": {"kind": "", "scope": "", "value": "1"}, "entity_type": None}, "entity_id"),
    ],
)
def test_what_cannot_be_addressed_names_the_field(given, field):
    with pytest.raises(UnaddressableError) as caught:
        ADDRESSING.address(event(**given))
    assert caught.value.field == field
    assert caught.value.remedy


def test_zones_of_stops():
    assert ADDRESSING.zone_of("carrier-scac", stop(location="sfo")) == "America/Los_Angeles"
    town = stop(city="Brattleboro", subdivision="VT")
    assert ADDRESSING.zone_of("carrier-scac", town) == "America/New_York"
    assert ADDRESSING.zone_of("carrier-scac", stop(city="Nowhere")) is None
    assert ADDRESSING.zone_of("nobody", stop(location="SFO")) is None


@pytest.mark.parametrize("zone", ["America/New_York", "Europe/Oslo"])
def test_a_platform_of_several_tenants_is_told_the_zone_that_their_sites_agree_on(zone):
    bundle = load_bundle()
    atlanta = next(site for site in bundle.sites if site.id == "ATL1")
    other = atlanta.model_copy(update={"id": "OTHER", "tenant": "samples", "zone": zone})
    both = {"tenant": None, "accounts": {"A": "acme", "B": "samples"}}
    platforms = [row.model_copy(update=both) for row in bundle.platforms if row.name == "tms-na"]
    changes = {"sites": [*bundle.sites, other], "platforms": platforms}
    addressing = Addressing(bundle.model_copy(update=changes))
    agreed = zone if zone == atlanta.zone else None
    assert addressing.zone_of("tms-na", stop(location="C-ATL")) == agreed
    assert addressing.zone_of("tms-na", stop(location="C-SEA")) == "America/Los_Angeles"
