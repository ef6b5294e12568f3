"""Findings about what is well formed and makes no sense: rules, deputies, codes, numbers."""

import pytest
from policy_files import PolicyFolder

from pipeline.contract.yaml_lines import InvalidFileError


@pytest.fixture
def policy(tmp_path):
    return PolicyFolder(tmp_path)


def only(policy):
    findings = policy.findings()
    assert len(findings) == 1, [str(item) for item in findings]
    assert findings[0].remedy
    return findings[0]


# Rules that never decide


def test_a_rule_that_another_has_all_of_is_found_once(policy):
    line = policy.add(
        "ownership.yaml",
        """
  - rule: departures-eu
    tenants: [acme]
    event_types: [departed, delivered]
    regions: [EU]
    owner: carrier-alpen
    from: 2024-01-01T00:00:00Z
    until: 2026-01-01T00:00:00Z
""",
    )
    found = only(policy)
    assert (found.file, found.line, found.what) == ("ownership.yaml", line + 1, "departures-eu")
    assert found.why == (
        "it never decides anything: rule transport-eu has all of it, for all its time"
    )


@pytest.mark.parametrize("field", ["tenants", "regions"])
def test_a_rule_without_tenants_or_regions_is_found(policy, field):
    policy.add(
        "ownership.yaml",
        f"""
  - rule: idle
    tenants: {[] if field == "tenants" else "[acme]"}
    event_types: [departed]
    regions: {[] if field == "regions" else "[EU]"}
    owner: carrier-alpen
    from: 2020-01-01T00:00:00Z
""",
    )
    found = only(policy)
    assert (found.what, found.why) == ("idle", f"it never decides anything: {field} is empty")


def test_a_region_where_nothing_can_happen_is_found(policy):
    policy.change("bundle.yaml", "  NA: [US, CA, MX]", "  NA: [US, CA, MX]\n  MOON: []")
    policy.change(
        "ownership.yaml",
        "regions: [NA]\n    owner: tms-na",
        "regions: [NA, MOON]\n    owner: tms-na",
    )
    policy.change(
        "ownership.yaml",
        "regions: [NA]\n    owner: wms-3pl",
        "regions: [NA, MOON]\n    owner: wms-3pl",
    )
    found = policy.findings()
    assert {(item.what, item.why) for item in found} == {
        ("MOON", "nothing can happen there: the region has no country and no site")
    }


# Deputies that could never speak

DEPUTY = "{platform: tms-eu, after: PT2H}"


@pytest.mark.parametrize(
    ("deputy", "name", "why"),
    [
        ("{platform: erp-global, after: PT2H}", "erp-global", "dialect erp has no code for any"),
        ("{platform: wms-3pl, after: PT2H}", "wms-3pl", "it is the owner"),
        ("{role: WMS, after: PT2H}", "role WMS", "no WMS but the owner speaks for acme"),
        (f"{DEPUTY}, {DEPUTY}", "tms-eu", "it stands in at rank 1 already"),
    ],
)
def test_a_deputy_that_could_never_stand_in_is_found(policy, deputy, name, why):
    line = policy.change("ownership.yaml", DEPUTY, deputy)
    found = only(policy)
    assert (found.file, found.line, found.what) == ("ownership.yaml", line, name)
    assert found.why.startswith(f"it could never speak: {why}")


def test_a_role_of_which_one_can_speak_is_fine(policy):
    policy.change("ownership.yaml", DEPUTY, "{role: TMS, after: PT2H}")
    assert policy.findings() == []


def test_what_a_base_dialect_maps_counts(policy):
    policy.change("dialects/tms-eu.yaml", "codes:", "codes:\n  SHIPPED_AGAIN: ignore")
    assert policy.findings() == []


# Codes


def test_a_code_that_is_written_twice_is_found_though_yaml_takes_the_last(policy):
    line = policy.change("dialects/x12-214.yaml", "  X4: ", "  X3: delivered\n  X4: ")
    with pytest.raises(InvalidFileError) as refused:
        policy.findings()
    (found,) = refused.value.findings
    assert (found.file, found.line, found.what) == ("dialects/x12-214.yaml", line, "X3")
    assert found.why == "given twice: it is in line 5 already"


def test_a_case_with_the_conditions_of_another_is_found(policy):
    case = "    - {stop_role: ORIGIN, event_type: departed}\n"
    line = policy.change(
        "dialects/x12-214.yaml", case, case + case.replace("departed", "pickup.arrived")
    )
    found = only(policy)
    assert (found.file, found.line, found.what) == ("dialects/x12-214.yaml", line + 1, "AF")
    assert found.why == "mapped twice: under the same conditions it means departed"


# Labels and references


def test_a_label_that_a_tenant_misses_is_found(policy):
    policy.change("bundle.yaml", "language: en", "language: fr")
    found = policy.findings()
    assert len(found) == 28
    assert {item.file for item in found} == {"catalogue.yaml"}
    assert {item.why for item in found} == {"no label in 'fr', the language of acme"}
    assert found[0].remedy == "Add `fr: …` to its labels"


def test_a_tenants_own_label_is_enough(policy):
    policy.change("catalogue.yaml", "labels: {en: Ordered, de: Bestellt}", "labels: {de: Bestellt}")
    found = only(policy)
    assert (found.what, found.why) == (
        "order.released",
        "no label in 'en', the language of acme, samples",
    )
    own = "labels: {de: Bestellt}, tenant_labels: {acme: {en: Sold}, samples: {en: Sold}}"
    policy.change("catalogue.yaml", "labels: {de: Bestellt}", own)
    assert policy.findings() == []


def test_a_label_of_a_tenant_that_nobody_knows_is_found(policy):
    own = "labels: {en: Ordered, de: Bestellt}, tenant_labels: {amce: {en: Sold}}"
    policy.change("catalogue.yaml", "labels: {en: Ordered, de: Bestellt}", own)
    found = only(policy)
    assert (found.what, found.why) == ("amce", "no such tenant")


def test_a_kind_of_reference_that_nobody_knows_is_found(policy):
    policy.change("platforms.yaml", "binds: [BOL, PARCEL]", "binds: [BOL, PARCELS]")
    found = only(policy)
    assert (found.file, found.what) == ("platforms.yaml", "PARCELS")
    assert "PARCEL, BOOKING" in found.remedy


# How event types relate


STOP_BY_STOP = "cardinality: stop, domain: transport, physical: true, rank: 50"
RELATIONS = {
    "contests: deliverd,": ("contests: delivered,", "delivery.refused", "is no event type"),
    "contests: departed,": ("contests: delivered,", "delivery.refused", "not told stop by stop"),
    "contests: pick.confirmed,": ("contests: delivered,", "delivery.refused", "about a order"),
    "contests: delivery.refused,": ("contests: delivered,", "delivery.refused", "itself"),
    "cancels: true, physical: true,": ("cancels: true,", "order.cancelled", "something that moved"),
    "cancels: true, closes: true,": ("cancels: true,", "order.cancelled", "doesn't deliver"),
    f"closes: true, {STOP_BY_STOP}": (STOP_BY_STOP, "in_transit.arrived", "and has none"),
    "partial_rank: 20,": (
        "partial_rank: 20, partial_status: picking,",
        "pick.confirmed",
        "belong together",
    ),
    "partial_rank: 27,": ("partial_rank: 20,", "pick.confirmed", "a part ranks above the whole"),
    "true,\n     predecessors: [pick.confirmed]": (
        "true,\n     predecessors: [delivered]",
        "charge.posted",
        "which it never sees",
    ),
    "shipment.tendered, entity: shipment, cardinality: leg,": (
        "shipment.tendered, entity: shipment, cardinality: once,",
        "shipment.tendered",
        "not per leg",
    ),
}


@pytest.mark.parametrize("new", RELATIONS)
def test_event_types_that_contradict_themselves_are_found(policy, new):
    old, what, why = RELATIONS[new]
    policy.change("catalogue.yaml", old, new)
    found = only(policy)
    assert (found.file, found.what) == ("catalogue.yaml", what)
    assert why in found.why


def test_strict_types_that_wait_for_each_other_are_found(policy):
    policy.change(
        "catalogue.yaml",
        "strict: true,\n     predecessors: [delivered]",
        "strict: true,\n     predecessors: [invoice.approved]",
    )
    assert {(item.what, item.why) for item in policy.findings()} == {
        ("charge.posted", "it waits for itself, by what it waits for"),
        ("invoice.approved", "it waits for itself, by what it waits for"),
    }


# The brake


@pytest.mark.parametrize(
    ("old", "new", "why"),
    [
        ("run: 200 ", "run: 1 ", "a single bad record would hold a platform back"),
        ("run: 200 ", "run: 2000 ", "the share of the window is exceeded before"),
        ("ratio: 0.5 ", "ratio: 1.0 ", "the share never holds a platform back"),
        ("window: 1000 ", "window: 5 ", "a share of so few records says nothing"),
    ],
)
def test_brake_numbers_that_can_not_be_meant_are_found(policy, old, new, why):
    if "window" in new:
        policy.change("bundle.yaml", "run: 200 ", "run: 5 ")
    line = policy.change("bundle.yaml", old, new)
    found = only(policy)
    assert (found.file, found.line) == ("bundle.yaml", line)
    assert why in found.why
