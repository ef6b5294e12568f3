from connectors.simulation.after import book, governed_portal
from connectors.simulation.before import Received, old_portal
from connectors.simulation.shown import measure
from connectors.simulation.statement import raw_event, stop_record
from connectors.simulation.world import HOUR_MS, MINUTE_MS, Happening, Shipment, Stop, World
from pipeline.contract.bundle import load_bundle

BUNDLE = load_bundle()
T = 1_790_000_000_000
DOCK, MUNICH, LYON = (
    Stop(1, "PICKUP", "RTM1"),
    Stop(2, "DELIVERY", "MUC1"),
    Stop(3, "DELIVERY", "LYS1"),
)


def world(*happenings, stops=(DOCK, MUNICH)):
    shipment = Shipment(1, "EU1", "EU", "81", "carrier-alpen", "EUR", stops, tuple(happenings))
    return World(1, T + 100 * HOUR_MS, (shipment,))


def happened(event_type, at_h, stop=None):
    return Happening(event_type, T + int(at_h * HOUR_MS), stop)


TWO_DROPS = world(
    happened("goods.issued", 0, DOCK),
    happened("departed", 5, DOCK),
    happened("delivered", 20, MUNICH),
    happened("delivered", 30, LYON),
    stops=(DOCK, MUNICH, LYON),
)


def said(platform, status, at_h, stop=DOCK, **more):
    return raw_event(
        event_id=f"{platform}{status}{at_h}",
        platform=platform,
        entity_type="shipment",
        entity_id="EU1",
        native_status=status,
        occurred=T + int(at_h * HOUR_MS),
        stop=stop_record(number=stop.number),
        **more,
    )


def before(told, *events):
    received = [Received(number, event) for number, event in enumerate(events)]
    return measure(told, old_portal(told, BUNDLE, received))


def approved(event_type, at_h, stop=DOCK, status="shipped", revision=1, **more):
    return {
        "tenant": "acme",
        "entity_type": "shipment",
        "entity_id": "EU1",
        "event_type": event_type,
        "milestone_id": f"{event_type}{stop.number}",
        "revision": revision,
        "action": "ASSERT",
        "assurance": "AUTHORITATIVE",
        "status_after": status,
        "occurred": T + int(at_h * HOUR_MS),
        "stop": stop_record(number=stop.number),
    } | more


def after(told, *records):
    return measure(told, governed_portal(told, BUNDLE, records))


def test_before_the_first_who_says_shipped_is_believed():
    found = before(TWO_DROPS, said("tms-eu", "SHIPPED", 0), said("tms-eu", "PICKED_UP", 5))
    assert (found.milestones, found.contradictions, found.premature_shipped) == (1, 1, 1)


def test_before_a_difference_within_the_tolerance_is_no_contradiction():
    found = before(TWO_DROPS, said("carrier-alpen", "13", 5.4))
    assert (found.contradictions, found.premature_shipped) == (0, 0)


def test_before_a_first_drop_passes_for_the_whole_delivery():
    found = before(TWO_DROPS, said("tms-eu", "DELIVERED", 20, MUNICH))
    assert (found.contradictions, found.premature_delivered) == (0, 1)


def test_before_the_last_drop_alone_is_a_delivery_in_time():
    assert before(TWO_DROPS, said("tms-eu", "DELIVERED", 30, LYON)).premature_delivered == 0


def test_before_a_warehouse_that_speaks_late_takes_the_status_back():
    found = before(TWO_DROPS, said("tms-eu", "SHIPPED", 0), said("wms-3pl", "GI", 0))
    assert found.backwards == 1


def test_before_every_report_of_a_delivery_is_booked_again():
    found = before(
        TWO_DROPS,
        said("tms-eu", "DELIVERED", 20, MUNICH),
        said("carrier-alpen", "21", 20, MUNICH),
        said("carrier-alpen", "21", 20, MUNICH),
        said("tms-eu", "DELIVERED", 30, LYON),
    )
    assert (found.postings, found.double_postings) == (4, 2)


def test_before_documents_are_effects_of_their_own():
    charges = [said("erp-global", "FRT", 40, document=name) for name in ("F1", "F2", "F1")]
    assert before(TWO_DROPS, *charges).double_postings == 1


def test_before_what_cannot_be_read_is_lost():
    received = [Received(0, None), Received(1, said("tms-eu", "PICKED_UP", 5))]
    assert measure(TWO_DROPS, old_portal(TWO_DROPS, BUNDLE, received)).milestones == 1


def test_after_a_correction_puts_right_what_was_shown():
    found = after(
        TWO_DROPS,
        approved("departed", 3),
        approved("departed", 5, revision=2, action="CORRECT"),
    )
    assert (found.milestones, found.contradictions) == (1, 0)
    assert (found.premature_shipped, found.put_right) == (0, 1)


def test_after_a_retraction_leaves_nothing_shown():
    found = after(
        TWO_DROPS, approved("departed", 3), approved("departed", 3, revision=2, action="RETRACT")
    )
    assert found.contradictions == 0


def test_after_delivered_means_the_last_drop():
    first = approved("delivered", 20, MUNICH, status="partially_delivered")
    last = approved("delivered", 30, LYON, status="delivered")
    assert after(TWO_DROPS, first, last).premature_delivered == 0
    too_soon = approved("delivered", 20, MUNICH, status="delivered")
    assert after(TWO_DROPS, too_soon).premature_delivered == 1


def test_after_a_status_that_falls_is_counted():
    records = [
        approved("delivered", 20, MUNICH, status="partially_delivered"),
        approved("departed", 5, status="shipped"),
    ]
    assert after(TWO_DROPS, *records).backwards == 1


def test_after_a_status_that_falls_with_a_retraction_is_explained():
    records = [
        approved("departed", 5),
        approved("delivered", 15, MUNICH, status="delivered"),
        approved("delivered", 15, MUNICH, status="shipped", revision=2, action="RETRACT"),
        approved("delivered", 20, MUNICH, status="delivered", revision=3),
    ]
    munich_only = world(*TWO_DROPS.shipments[0].story[:3])
    found = after(munich_only, *records)
    assert (found.backwards, found.premature_delivered, found.contradictions) == (0, 0, 0)


def test_after_other_tenants_and_unknown_shipments_count_for_nothing():
    records = [approved("departed", 5, tenant="samples"), approved("departed", 5, entity_id="X")]
    assert after(TWO_DROPS, *records).milestones == 0


def test_the_erps_books_tell_what_was_booked_twice():
    shown = governed_portal(TWO_DROPS, BUNDLE, [])
    entry = {"posting": "billing-release", "entity": "acme/shipment/EU1", "key": "k1"}
    book(shown, [entry, entry | {"key": "k2"}, entry])
    found = measure(TWO_DROPS, shown)
    assert (found.postings, found.double_postings) == (3, 1)


def test_a_little_off_is_in_time():
    found = after(TWO_DROPS, approved("departed", 5 - 29 * MINUTE_MS / HOUR_MS))
    assert (found.contradictions, found.premature_shipped) == (0, 0)
