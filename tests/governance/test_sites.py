"""Places are their tenant's: two tenants in one town, or with one code, don't see each other's."""

import pytest

from pipeline.contract import names
from pipeline.contract.bundle import SiteModel, load_bundle
from pipeline.contract.policy_tables import compile_policy
from pipeline.governance.claims import raw_event
from pipeline.testing.driver import TopologyDriver

BUNDLE = load_bundle()
NOW_MS = 1_790_000_000_000
STOP = dict.fromkeys(("number", "role", "location", "name", "city", "subdivision", "country"))
ATLANTA = STOP | {"city": "atlanta", "subdivision": "ga", "country": "us"}


def site(name, tenant, **given):
    return SiteModel(
        **{
            "id": name,
            "tenant": tenant,
            "name": f"{name} of {tenant}",
            "city": "Atlanta",
            "subdivision": "GA",
            "country": "US",
            "zone": "Europe/Oslo",
            "region": "EU",
        }
        | given
    )


def policy_with(*sites, **platform):
    """The shipped bundle with more sites, and a carrier that serves more tenants."""
    platforms = [
        row.model_copy(update=platform) if row.name == "carrier-redline" else row
        for row in BUNDLE.platforms
    ]
    changes = {"sites": [*BUNDLE.sites, *sites], "platforms": platforms}
    return compile_policy(BUNDLE.model_copy(update=changes))


def found(policy, tenant, stop, platform="carrier-redline"):
    site = policy.site_of(policy.platforms[platform], tenant, stop)
    return None if site is None else site.id


@pytest.mark.parametrize("first", [True, False])
def test_a_town_is_the_site_of_whoever_has_one_there(first):
    others = site("OTHER", "samples")
    policy = policy_with(others)
    if first:
        changed = BUNDLE.model_copy(update={"sites": [others, *BUNDLE.sites]})
        policy = compile_policy(changed)
    assert found(policy, "acme", ATLANTA) == "ATL1"
    assert found(policy, "samples", ATLANTA) == "OTHER"
    assert found(policy, "nobody", ATLANTA) is None


def test_a_code_of_one_list_is_the_site_of_the_tenant_that_is_spoken_for():
    """A carrier that serves both uses one list."""
    policy = policy_with(site("OTHER", "samples", codes={"acme": ["C-ATL"], "": ["X"]}))
    assert found(policy, "acme", STOP | {"location": "c-atl"}) == "ATL1"
    assert found(policy, "samples", STOP | {"location": "c-atl"}) == "OTHER"
    assert found(policy, "samples", STOP | {"location": "C-SEA"}) is None
    assert found(policy, "samples", STOP | {"location": "x"}) == "OTHER"
    assert found(policy, "acme", STOP | {"location": "x"}) is None


def test_a_site_of_no_tenant_is_everybodys_unless_a_tenant_has_its_own():
    shared = site("PORT", None, codes={"": ["P", "C-ATL"], "acme": ["C-ATL"]})
    policy = policy_with(shared)
    assert found(policy, "samples", ATLANTA) == "PORT"
    assert found(policy, "acme", ATLANTA) == "ATL1"
    assert found(policy, "acme", STOP | {"location": "P"}) == "PORT"
    assert found(policy, "acme", STOP | {"location": "C-ATL"}) == "ATL1"
    assert policy.site("samples", "PORT").name == policy.site("acme", "PORT").name


def test_the_id_of_anothers_site_is_nobodys():
    policy = policy_with()
    assert policy.site("acme", "ATL1").id == "ATL1"
    assert policy.site("samples", "ATL1") is None


def say(driver, platform, status, **given):
    event = {
        "event_id": f"{platform}-{status}-{given.get('account')}",
        "platform": platform,
        "entity_type": "shipment",
        "entity_id": "S1",
        "native_status": status,
        "classifier": "ACTUAL",
        "occurred": NOW_MS - 60_000,
        "occurred_precision": "SECOND",
    }
    event |= given
    topic = min(driver.policies[BUNDLE.version].platforms[platform].topics)
    driver.pipe(topic, raw_event(**event))


def stops(driver, event_type):
    return {
        record["tenant"]: (record["stop"]["location"], record["stop"]["zone"], record["region"])
        for record in driver.records(names.APPROVED)
        if record["event_type"] == event_type
    }


def test_one_carriers_words_for_two_tenants_mean_each_ones_own_place():
    accounts = {"A": "acme", "B": "samples"}
    policy = policy_with(site("OTHER", "samples", region="NA"), tenant=None, accounts=accounts)
    driver = TopologyDriver([policy], start_ms=NOW_MS)
    for account in accounts:
        say(driver, "carrier-redline", "D1", account=account, stop=ATLANTA)
    places = {
        entity.name.tenant: [occurrence.discriminator for occurrence in entity.occurrences.values()]
        for state in driver.states
        for entity in state.entities()
    }
    assert places == {"acme": ["ATL1"], "samples": ["OTHER"]}


def test_a_town_where_another_tenant_has_its_site_keeps_zone_and_region():
    driver = TopologyDriver([policy_with(site("OTHER", "samples"))], start_ms=NOW_MS)
    say(driver, "tms-na", "DELIVERED", stop=ATLANTA)
    assert stops(driver, "delivered") == {"acme": ("ATL1", "America/New_York", "NA")}


def test_a_place_that_is_only_called_like_anothers_site_is_not_it():
    driver = TopologyDriver([policy_with(site("THERE", "samples"))], start_ms=NOW_MS)
    plan = [
        STOP | {"number": 1, "role": "PICKUP", "location": "DAL1"},
        STOP | {"number": 2, "role": "DELIVERY", "location": "THERE"},
    ]
    say(driver, "tms-na", "TENDERED", stops=plan)
    say(driver, "tms-na", "DELIVERED", stop=STOP | {"number": 2})
    assert stops(driver, "delivered") == {"acme": ("THERE", None, "NA")}
