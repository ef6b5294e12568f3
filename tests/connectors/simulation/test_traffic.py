from collections import Counter

import pytest

from connectors.simulation.address import Addresses, encode
from connectors.simulation.bundle import demo_bundle
from connectors.simulation.platforms import SITE_ZONES
from connectors.simulation.statement import Spoiling
from connectors.simulation.traffic import compose
from connectors.simulation.world import HOUR_MS, MINUTE_MS, handover
from pipeline.contract.bundle import load_bundle
from pipeline.contract.policy_tables import compile_policy
from pipeline.governance.identity import partition_of

NOW_MS = 1_790_000_000_000
FROM_OTHER_CLOCKS = {"clock_ahead", "clock_far_ahead", "epoch"}


@pytest.fixture(scope="module")
def traffic():
    return compose(98, NOW_MS, events=4000, handover_ms=handover(NOW_MS))


def test_the_same_seed_and_present_send_the_same_statements(traffic):
    assert compose(98, NOW_MS, events=4000, handover_ms=handover(NOW_MS)) == traffic


def test_a_later_run_tells_the_same_story_shifted_in_time(traffic):
    shift = 3 * HOUR_MS + 5 * MINUTE_MS
    later_ms = NOW_MS + shift
    later = compose(98, later_ms, events=4000, handover_ms=handover(later_ms))
    assert len(later.sendings) == len(traffic.sendings)
    for now, then in zip(traffic.sendings, later.sendings, strict=True):
        assert now.at_s == pytest.approx(then.at_s)
        assert now.statement.claim == then.statement.claim
        if now.statement.fault != "epoch":
            moved = then.statement.event["occurred"] - now.statement.event["occurred"]
            assert moved == shift


def test_another_seed_names_other_orders_and_shipments(traffic):
    other = compose(8, NOW_MS, events=1000)
    mine = {shipment.number for shipment in traffic.world.shipments}
    assert mine.isdisjoint(shipment.number for shipment in other.world.shipments)


def test_asking_for_more_events_adds_shipments_and_changes_none(traffic):
    more = compose(98, NOW_MS, events=4500, handover_ms=handover(NOW_MS))
    assert more.world.shipments[: len(traffic.world.shipments)] == traffic.world.shipments


def test_nothing_honest_lies_in_the_future_or_beyond_the_horizon(traffic):
    for sending in traffic.sendings:
        event, fault = sending.statement.event, sending.statement.fault
        if fault not in FROM_OTHER_CLOCKS and event["classifier"] == "ACTUAL":
            assert NOW_MS - 30 * 24 * HOUR_MS < event["occurred"] < NOW_MS - 10 * HOUR_MS


def test_event_ids_repeat_only_where_that_is_the_fault(traffic):
    counted = Counter(item.statement.claim for item in traffic.sendings)
    again = {"repeated", "id_reused"}
    first = Counter(
        item.statement.claim for item in traffic.sendings if item.statement.fault not in again
    )
    assert max(first.values()) == 1
    assert len(counted) == len(first)


def test_each_platform_speaks_in_its_own_codes(traffic):
    said = {}
    for item in traffic.sendings:
        said.setdefault(item.statement.platform, set()).add(item.statement.event["native_status"])
    assert {"REL", "CAN", "FRT", "INV"} == said["erp-global"]
    assert {"SHIPPED", "PICKED_UP"} <= said["tms-eu"]
    assert "SHIPPED" in said["tms-na"]
    assert "PICKED_UP" not in said["tms-na"]
    assert {"AF", "D1"} <= said["carrier-redline"]
    assert {"13", "21"} <= said["carrier-alpen"]


def test_every_code_but_the_unknown_ones_is_in_its_platforms_dialect(traffic):
    policy = compile_policy(load_bundle())
    for item in traffic.sendings:
        if item.statement.fault not in {"unknown_code", "stranger"}:
            platform = policy.platforms[item.statement.platform]
            assert item.statement.event["native_status"] in policy.dialects[platform.dialect]


def test_the_platforms_know_the_zones_of_the_policys_sites():
    sites = {site.id: site.zone for site in load_bundle().sites if site.tenant == "acme"}
    assert sites == SITE_ZONES


def test_all_spellings_of_an_entity_have_one_key(traffic):
    addresses = Addresses(load_bundle())
    shipment = traffic.world.shipments[0]
    keys = {
        addresses.key(item.statement)
        for item in traffic.sendings
        if str(item.statement.event["entity_id"]).strip().upper() == shipment.number
    }
    assert keys == {f"acme/shipment/{shipment.number}".encode()}


def test_a_stray_goes_where_crc32_says_and_all_else_where_murmur2_says(traffic):
    addresses = Addresses(load_bundle())
    wrong = set()
    for item in traffic.sendings:
        right = partition_of(addresses.key(item.statement), 4)
        if addresses.partition(item.statement, 4) != right:
            wrong.add(item.statement.fault)
    assert wrong == {"stray"}


@pytest.mark.parametrize("spoiling", sorted(set(Spoiling) - {Spoiling.NONE}))
def test_a_spoiled_statement_can_be_encoded_and_differs_from_the_whole_one(traffic, spoiling):
    whole = traffic.sendings[0].statement
    assert encode(whole.but(spoiling=spoiling), 1) != encode(whole, 1)


def test_the_demos_bundle_keeps_owners_and_makes_seconds_of_hours():
    shipped = load_bundle()
    demo = demo_bundle(shipped)
    assert demo.version == f"{shipped.version}-demo"
    assert [rule.owner for rule in demo.rules] == [rule.owner for rule in shipped.rules]
    for ours, theirs in zip(demo.rules, shipped.rules, strict=True):
        for quick, slow in zip(ours.deputies, theirs.deputies, strict=True):
            assert quick.after * 3600 == slow.after


def test_only_europes_transport_is_handed_over_and_at_one_moment():
    shipped, demo = load_bundle(), demo_bundle(load_bundle(), handover(NOW_MS))
    later = [rule for rule in demo.rules if rule.rule not in {row.rule for row in shipped.rules}]
    (taken_over,) = later
    before = next(rule for rule in demo.rules if rule.owner == "tms-eu")
    assert (taken_over.owner, taken_over.regions) == ("tms-na", ["EU"])
    assert taken_over.event_types == before.event_types
    assert before.until == taken_over.from_
    kept = [rule.rule for rule in demo.rules if rule is not taken_over]
    assert kept == [rule.rule for rule in shipped.rules]


def test_shipments_are_followed_by_the_tms_that_they_were_tendered_in(traffic):
    line = handover(NOW_MS)
    for shipment in traffic.world.shipments:
        start_ms = shipment.truth("shipment.tendered").at_ms
        moved = shipment.region == "NA" or start_ms >= line
        assert shipment.tms == ("tms-na" if moved else "tms-eu")
    europe = [item.tms for item in traffic.world.shipments if item.region == "EU"]
    assert min(europe.count("tms-eu"), europe.count("tms-na")) > len(europe) / 4


def test_without_a_hand_over_each_region_keeps_its_tms():
    world = compose(98, NOW_MS, events=1000).world
    pairs = {(shipment.region, shipment.tms) for shipment in world.shipments}
    assert pairs == {("NA", "tms-na"), ("EU", "tms-eu")}


@pytest.mark.parametrize("seed", range(5_120, 5_130))
def test_every_statement_has_an_address_whatever_befalls_its_shipment(seed):
    addresses = Addresses(load_bundle())
    for sending in compose(seed, NOW_MS, events=500).sendings:
        assert addresses.key(sending.statement)
