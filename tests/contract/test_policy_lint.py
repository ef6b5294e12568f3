"""Every finding of `milepost policy check`: where, why, and what to do."""

import pytest
from policy_files import PolicyFolder

from pipeline.contract.yaml_lines import InvalidFileError


@pytest.fixture
def policy(tmp_path):
    return PolicyFolder(tmp_path)


def only(policy):
    findings = policy.findings()
    assert len(findings) == 1, [str(item) for item in findings]
    return findings[0]


def test_the_shipped_bundle_has_no_finding(policy):
    assert policy.findings() == []


UNKNOWN = {
    "predecessor": (
        "catalogue.yaml",
        "predecessors: [pick.confirmed]",
        "predecessors: [pick.confirmd]",
        "pick.confirmd",
        "no such event type",
    ),
    "closer": (
        "catalogue.yaml",
        "closed_by: [delivery.arrived, delivered]",
        "closed_by: [delivery.arrived, deliverd]",
        "deliverd",
        "no such event type",
    ),
    "dialect": (
        "platforms.yaml",
        "    dialect: tms-eu",
        "    dialect: tms-ue",
        "tms-ue",
        "no such dialect",
    ),
    "topic": (
        "platforms.yaml",
        "topics: [logistics.raw.tms-eu.v1]",
        "topics: [logistics.raw.tms-ue.v1]",
        "logistics.raw.tms-ue.v1",
        "no such raw topic",
    ),
    "owner": (
        "ownership.yaml",
        "regions: [EU]\n    owner: tms-eu",
        "regions: [EU]\n    owner: tms-ue",
        "tms-ue",
        "no such platform",
    ),
    "deputy": (
        "ownership.yaml",
        "{platform: tms-eu, after: PT2H}",
        "{platform: tms-ue, after: PT2H}",
        "tms-ue",
        "no such platform",
    ),
    "meaning": (
        "dialects/wms.yaml",
        "GI: goods.issued",
        "GI: goods.isued",
        "goods.isued",
        "no such event type",
    ),
}


@pytest.mark.parametrize("kind", UNKNOWN)
def test_a_name_that_nobody_has_is_found_with_its_line(policy, kind):
    file, old, new, name, why = UNKNOWN[kind]
    line = policy.change(file, old, new) + new.rstrip().count("\n")
    found = only(policy)
    assert (found.file, found.what, found.why) == (file, name, why)
    assert abs(found.line - line) <= 1
    assert found.remedy


def test_a_dialect_that_extends_none_is_found(policy):
    line = policy.change("dialects/tms-eu.yaml", "extends: tms-na", "extends: tms-an")
    found = only(policy)
    assert (found.file, found.line, found.what) == ("dialects/tms-eu.yaml", line, "tms-an")


def test_a_dialect_that_extends_itself_is_found(policy):
    policy.change("dialects/tms-na.yaml", "dialect: tms-na\n", "dialect: tms-na\nextends: tms-eu\n")
    found = {item.what: item for item in policy.findings()}
    assert found.keys() == {"tms-na", "tms-eu"}
    assert found["tms-na"].file == "dialects/tms-na.yaml"
    assert "extends itself" in found["tms-na"].why


@pytest.mark.parametrize(
    ("old", "new"),
    [
        ("regions: [EU]\n    owner: tms-eu", "regions: [EU]\n    owner: carrier-scac"),
        ("{platform: tms-eu, after: PT2H}", "{platform: carrier-scac, after: PT2H}"),
    ],
)
def test_an_owner_or_deputy_that_never_speaks_for_the_tenant_is_found(policy, old, new):
    policy.change("ownership.yaml", old, new)
    found = only(policy)
    assert (found.what, found.why) == ("carrier-scac", "it never speaks for tenant acme")


def test_a_tenant_that_nobody_knows_is_found(policy):
    policy.change("platforms.yaml", "accounts: {ACME-3PL: acme}", "accounts: {ACME-3PL: amce}")
    found = policy.findings()[0]  # rules that rest on it are told as well
    assert (found.what, found.why) == ("amce", "no such tenant")


@pytest.mark.parametrize(
    ("old", "new"),
    [
        ("accounts: {ACME-3PL: acme}", "tenant: acme\n    accounts: {ACME-3PL: acme}"),
        ("accounts: {ACME-3PL: acme}", "accounts: {}"),
    ],
)
def test_a_platform_without_one_clear_tenant_is_found(policy, old, new):
    policy.change("platforms.yaml", old, new)
    found = policy.findings()[0]  # rules that rest on it are told as well
    assert found.what == "wms-3pl"
    assert "exactly one way" in found.why


TWICE = {
    "catalogue.yaml": (
        "  - {name: inventory.moved,",
        "  - {name: inventory.confirmed,",
        "inventory.confirmed",
    ),
    "sites.yaml": ("  - {id: SEA1,", "  - {id: ATL1,", "ATL1"),
}


@pytest.mark.parametrize("file", TWICE)
def test_a_name_that_is_used_twice_is_found_at_its_second_place(policy, file):
    old, new, name = TWICE[file]
    line = policy.change(file, old, new)
    found = [item for item in policy.findings() if item.why == "the name is used twice"]
    assert [(item.file, item.line, item.what) for item in found] == [(file, line, name)]


def test_a_code_that_means_two_sites_is_found(policy):
    policy.change("sites.yaml", "codes: {acme: [SEA1, C-SEA]}", "codes: {acme: [SEA1, c-atl]}")
    found = only(policy)
    assert (found.what, found.why) == ("code c-atl of list 'acme'", "it means ATL1 already")


def test_two_tenants_may_use_one_code(policy):
    policy.change("sites.yaml", "codes: {samples: [SFO]}", "codes: {samples: [SFO], acme: [C-ATL]}")
    assert policy.findings() == []


def test_a_code_of_everybodys_site_is_nobodys_own(policy):
    policy.change("sites.yaml", "id: SFO, tenant: samples,", "id: SFO,")
    policy.change("sites.yaml", "codes: {samples: [SFO]}", "codes: {samples: [SFO], acme: [C-ATL]}")
    found = only(policy)
    assert (found.what, found.why) == ("code C-ATL of list 'acme'", "it means ATL1 already")


def test_a_site_in_no_region_is_found(policy):
    policy.change("sites.yaml", "country: PL,", "country: LT,")
    found = only(policy)
    assert (found.what, found.why) == ("WAW1", "country LT belongs to no region")


def test_a_rank_without_a_status_is_found(policy):
    policy.change("catalogue.yaml", "rank: 10, status: released,", "rank: 10,")
    found = only(policy)
    assert (found.what, found.why) == ("order.released", "rank and status belong together")


def test_a_strict_type_that_waits_for_nothing_is_found(policy):
    policy.change(
        "catalogue.yaml",
        "strict: true,\n     predecessors: [delivered],",
        "strict: true,",
    )
    found = only(policy)
    assert (found.what, found.why) == (
        "charge.posted",
        "strict, but there is nothing it waits for",
    )


# Exactly one owner


def test_a_combination_that_nobody_owns_is_found(policy):
    policy.change(
        "ownership.yaml", "event_types: [charge.posted, invoice.approved]", "event_types: []"
    )
    idle, *findings = policy.findings()
    assert (idle.what, idle.why) == ("finance", "it never decides anything: event_types is empty")
    assert {item.why for item in findings} == {"nobody owns it"}
    assert {item.what for item in findings} == {
        f"{name} of tenant acme in {region}"
        for name in ("charge.posted", "invoice.approved")
        for region in ("NA", "EU")
    }
    assert "there is no default owner" in findings[0].remedy


def test_two_owners_at_one_time_are_found_with_the_remedy(policy):
    line = policy.add(
        "ownership.yaml",
        """
  - rule: transport-eu-next
    tenants: [acme]
    event_types: [departed]
    regions: [EU]
    owner: carrier-alpen
    from: 2027-01-01T00:00:00Z
""",
    )
    found = only(policy)
    assert found.what == "departed of tenant acme in EU"
    assert found.why == "rules transport-eu and transport-eu-next overlap in time"
    assert "until: 2027-01-01T00:00:00+00:00" in found.remedy
    assert found.line == line + 6


HANDED_OVER = """
  - rule: goods-issue-eu-next
    tenants: [acme]
    event_types: [goods.issued]
    regions: [EU]
    owner: tms-eu
    from: {since}
"""
GOODS_ISSUE_EU = (
    "{platform: ops-desk, after: PT4H}]\n    tolerance: PT30M\n    from: 2024-01-01T00:00:00Z\n"
    "\n  - rule: transport-na"
)


def hand_over(policy, until, since):
    policy.change(
        "ownership.yaml",
        GOODS_ISSUE_EU,
        GOODS_ISSUE_EU.replace(
            "00Z\n\n  - rule: transport-na", f"00Z\n    until: {until}\n\n  - rule: transport-na"
        ),
    )
    policy.add("ownership.yaml", HANDED_OVER.format(since=since))


def test_a_handover_without_a_gap_is_fine(policy):
    hand_over(policy, "2027-01-01T00:00:00Z", "2027-01-01T00:00:00Z")
    assert policy.findings() == []


def test_a_gap_in_a_handover_is_found(policy):
    hand_over(policy, "2027-01-01T00:00:00Z", "2027-02-01T00:00:00Z")
    found = only(policy)
    assert found.what == "goods.issued of tenant acme in EU"
    assert found.why.startswith("nobody owns it from 2027-01-01")


def test_an_ownership_that_just_ends_is_found(policy):
    policy.change(
        "ownership.yaml",
        "owner: wms-3pl\n    from: 2024-01-01T00:00:00Z",
        "owner: wms-3pl\n    from: 2024-01-01T00:00:00Z\n    until: 2030-01-01T00:00:00Z",
    )
    findings = policy.findings()
    assert {item.why for item in findings} == {"nobody owns it after 2030-01-01 00:00:00+00:00"}
    assert len(findings) == 8  # four event types, two regions


def test_a_rule_that_ends_before_it_begins_is_found(policy):
    policy.change(
        "ownership.yaml",
        "owner: wms-3pl\n    from: 2024-01-01T00:00:00Z",
        "owner: wms-3pl\n    from: 2024-01-01T00:00:00Z\n    until: 2023-01-01T00:00:00Z",
    )
    assert "ends before it begins" in {item.why for item in policy.findings()}


@pytest.mark.parametrize("deputy", ["{after: PT1H}", "{platform: tms-eu, role: TMS, after: PT1H}"])
def test_a_deputy_that_is_named_in_no_clear_way_is_found(policy, deputy):
    policy.change("ownership.yaml", "{platform: tms-eu, after: PT2H}", deputy)
    found = only(policy)
    assert found.why == "a deputy is named by platform or by role"


def test_a_sync_class_that_a_topic_names_and_nobody_describes_is_found(policy):
    policy.change("sync-classes.yaml", "name: exception-only", "name: exceptions-only")
    found = only(policy)
    assert found.file == "sync-classes.yaml"
    assert found.what == "exception-only"


# Files that can't be read at all


@pytest.mark.parametrize(
    ("file", "old", "new", "what"),
    [
        ("bundle.yaml", "horizon: P180D", "horizon: soon", "tenants.acme.horizon"),
        ("sites.yaml", "zone: Europe/Paris", "zone: Europe/Lyon", "sites.8.zone"),
        ("platforms.yaml", "role: WMS", "role: WHS", "platforms.3.role"),
        ("ownership.yaml", "owner: erp-global", "owned: erp-global", "rules.0.owned"),
    ],
)
def test_a_value_that_can_not_be_is_found_with_file_and_line(policy, file, old, new, what):
    line = policy.change(file, old, new)
    with pytest.raises(InvalidFileError) as refused:
        policy.findings()
    places = {(item.file, item.line, item.what) for item in refused.value.findings}
    assert (file, line, what) in places


def test_a_file_that_is_no_yaml_or_not_there_is_found(policy):
    line = policy.change("bundle.yaml", 'version: "2026', 'version: ["2026')
    (policy.path / "sites.yaml").unlink()
    with pytest.raises(InvalidFileError) as refused:
        policy.findings()
    found = {item.file: item for item in refused.value.findings}
    assert found["bundle.yaml"].what == "no YAML"
    assert found["bundle.yaml"].line >= line
    assert found["sites.yaml"].what == "missing"
