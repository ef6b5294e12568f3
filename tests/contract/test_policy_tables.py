"""From a bundle to the tables that the kernel asks."""

import pytest
from policy_files import PolicyFolder

from pipeline.contract.bundle import load_bundle
from pipeline.contract.policy_tables import FOR_EVER_MS, compile_policy

HOUR_MS = 3_600_000


@pytest.fixture(scope="module")
def policy():
    return compile_policy(load_bundle())


def owner(policy, event_type, region, tenant="acme"):
    (rule,) = policy.authorities(tenant, event_type, region)
    return rule


def test_who_owns_what_depends_on_the_region(policy):
    assert owner(policy, "departed", "NA").owner == "tms-na"
    assert owner(policy, "departed", "EU").owner == "tms-eu"
    assert policy.authorities("acme", "departed", "ASIA") is None


def test_without_a_region_only_what_is_the_same_everywhere_is_known(policy):
    assert owner(policy, "order.released", None).owner == "erp-global"
    assert policy.authorities("acme", "departed", None) is None


def test_deputies_have_their_rank_and_their_own_silence(policy):
    deputies = owner(policy, "goods.issued", "EU").deputies
    assert deputies == {"tms-eu": (1, 2 * HOUR_MS), "ops-desk": (2, 4 * HOUR_MS)}


def test_a_role_stands_for_its_platforms_of_that_tenant(policy):
    """The samples' carrier speaks for another tenant."""
    assert owner(policy, "departed", "NA").deputies.keys() == {
        "carrier-redline",
        "carrier-alpen",
        "ops-desk",
    }


def test_an_owner_is_no_deputy_of_itself(tmp_path):
    folder = PolicyFolder(tmp_path)
    folder.change("ownership.yaml", "{platform: tms-eu, after: PT2H}", "{role: WMS, after: PT2H}")
    policy = compile_policy(load_bundle(folder.path))
    assert owner(policy, "goods.issued", "EU").deputies.keys() == {"ops-desk"}


def test_a_rule_without_an_end_holds_for_ever(policy):
    assert owner(policy, "departed", "NA").until_ms == FOR_EVER_MS


def test_a_dialect_extends_and_overrides_its_base(policy):
    def meaning(dialect, status):
        return [row.event_type for row in policy.dialects[dialect][status]]

    assert meaning("tms-na", "SHIPPED") == ["departed"]
    assert meaning("tms-eu", "SHIPPED") == ["goods.issued"]
    assert meaning("tms-eu", "DELIVERED") == ["delivered"]


def test_the_most_specific_case_comes_first(tmp_path):
    folder = PolicyFolder(tmp_path)
    folder.change(
        "dialects/wms.yaml",
        "GI: goods.issued",
        "GI:\n    - {event_type: goods.issued}\n"
        "    - {reason: R, qualifier: Q, event_type: inventory.moved}\n"
        "    - {reason: R, event_type: inventory.confirmed}",
    )
    rows = compile_policy(load_bundle(folder.path)).dialects["wms"]["GI"]
    assert [row.event_type for row in rows] == [
        "inventory.moved",
        "inventory.confirmed",
        "goods.issued",
    ]


@pytest.mark.parametrize("base", ["tms-eu", "nobody"])
def test_a_dialect_that_extends_itself_or_nobody_is_refused(tmp_path, base):
    folder = PolicyFolder(tmp_path)
    folder.change(
        "dialects/tms-na.yaml", "dialect: tms-na\n", f"dialect: tms-na\nextends: {base}\n"
    )
    with pytest.raises(ValueError, match="dialect"):
        compile_policy(load_bundle(folder.path))


def test_sites_are_found_by_code_and_town_whatever_their_case(policy):
    assert policy.site_codes["acme", "acme", "C-ATL"] == "ATL1"
    assert policy.site_towns["acme", "ATLANTA", "GA", "US"] == "ATL1"
    assert policy.sites["WAW1"].region == "EU"


def test_spans_and_moments_are_milliseconds(policy):
    assert policy.horizons_ms["acme"] == 180 * 24 * HOUR_MS
    assert policy.limits.region_ms == 24 * HOUR_MS
    assert policy.platforms["tms-na"].clock_tolerance_ms == 5 * 60_000
    assert policy.platforms["tms-na"].earliest_ms == 946_684_800_000
