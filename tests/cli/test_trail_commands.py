"""`milepost audit`, `claims` and `send`, as a person and as a script run them."""

import json
from datetime import UTC, datetime, timedelta

import pytest
from governed_stack import until

pytestmark = pytest.mark.kafka
DAY = (datetime.now(UTC) - timedelta(days=2)).date().isoformat()
"""When it all happened: within what the bundle looks back to."""


@pytest.fixture
def shipment(governed):
    return governed.name()


def said(name, shipment, status, **given):
    return {
        "event_id": name,
        "platform": "tms-na",
        "entity_type": "shipment",
        "entity_id": shipment,
        "native_status": status,
        "classifier": "ACTUAL",
        "occurred": f"{DAY}T08:00:00Z",
        "stop": {"location": "C-ATL"},
    } | given


@pytest.fixture
def send(milepost, tmp_path):
    def run(*events, options=()):
        file = tmp_path / "events.json"
        file.write_text(json.dumps(list(events)))
        return milepost("send", file, *options)

    return run


def test_an_event_of_ones_own_is_judged_and_told(governed, send, shipment):
    name = governed.name("E")
    told = send(said(name, shipment, "DELIVERED"))
    assert told.code == 0
    assert told.out.startswith(f"{name}: approved (owner_spoke): The milestone's owner said so.")
    assert f"acme/shipment/{shipment}" in told.out
    assert "transport-na of bundle" in told.out


def test_what_is_sent_comes_back_as_one_document(governed, send, shipment):
    first, second = governed.name("E"), governed.name("E")
    told = send(
        said(first, shipment, "DELIVERED"), said(second, shipment, "WOBBLY"), options=["--json"]
    )
    fates = [(item["claim"], item["fate"]) for item in told.document["events"]]
    assert fates == [(first, "approved"), (second, "dead_lettered")]


def test_an_event_that_can_not_be_sent_is_told_with_its_number_and_field(governed, send, shipment):
    good = said("e1", shipment, "DELIVERED")
    told = send(good, said("e2", shipment, "DELIVERED", platform="nobody"))
    assert (told.code, told.out) == (2, "")
    assert "event 2" in told.err
    assert "platform" in told.err
    told = send(good, good | {"occured": f"{DAY}T08:00:00Z"})
    assert told.code == 2
    assert "event 2: occured" in told.err


def test_a_story_is_told_for_a_person(governed, milepost, send, shipment):
    names = [governed.name("E") for _ in range(3)]
    send(
        said(names[0], shipment, "DELIVERED"),
        said(names[1], shipment, "WOBBLY"),
        said(names[2], shipment, "SHIPPED", stop=None, occurred=f"{DAY}T07:00:00Z"),
    )
    told = milepost("audit", "show", shipment)
    assert told.code == 0
    assert told.out.startswith(f"acme/shipment/{shipment}: delivered\n")
    assert "approved: The milestone's owner said so" in told.out
    assert "'WOBBLY' in dialect tms-na" in told.out
    assert "see `milepost dead-letters show" in told.out
    assert "it waits until 20" in told.out
    assert "Published:" in told.out


def test_a_story_has_what_was_stated_and_by_which_rule_it_was_judged(
    governed, milepost, send, shipment
):
    name = governed.name("E")
    sent = send(said(name, shipment, "DELIVERED"))
    assert "said         DELIVERED of tms-na, which means delivered" in sent.out
    told = milepost("audit", "show", name)
    assert f"tms-na: delivered  ({name})" in told.out
    assert f"      stated {DAY} 08:00:00Z; rule transport-na of bundle " in told.out


def test_what_has_no_meaning_in_the_ledger_is_given_none(governed, milepost, send, shipment):
    name, chatter = governed.name("E"), governed.name("E")
    send(said(name, shipment, "DELIVERED"))
    sent = send(said(name, shipment, "DELIVERED"))
    assert f"{name}: duplicate (repeated)" in sent.out
    assert "  said         DELIVERED of tms-na\n" in sent.out
    sent = send(said(chatter, shipment, "L1", platform="carrier-redline"))
    assert f"{chatter}: ignored (not_a_milestone)" in sent.out
    told = milepost("audit", "show", shipment)
    assert f"  tms-na  ({name})\n" in told.out
    assert f"  carrier-redline  ({chatter})\n" in told.out
    assert "means nothing" not in sent.out + told.out


def test_a_link_is_called_a_link(governed, milepost, send, shipment):
    order = governed.name("SO")
    send(said(governed.name("E"), shipment, "TENDERED", orders=[order]))

    def linked():
        told = milepost("audit", "show", f"acme/order/{order}")
        return told.out if told.code == 0 and "not decided yet" not in told.out else ""

    told = until(linked, what="the link")
    assert "logistics.links.v1: a link between entities  (logistics.links.v1[" in told


def test_a_story_is_one_document(governed, milepost, send, shipment):
    send(said(governed.name("E"), shipment, "DELIVERED"))
    document = milepost("audit", "show", shipment, "--json").document
    assert document["found"]
    assert [item["fate"] for item in document["entries"]] == ["approved"]
    assert [item["event_type"] for item in document["approved"]] == ["delivered"]


def test_what_never_came_is_told_and_ends_with_one(governed, milepost, send, shipment):
    send(said(governed.name("E"), shipment, "DELIVERED"))
    missing = shipment[:-1] + "#"
    told = milepost("audit", "show", missing)
    assert (told.code, told.out) == (1, "")
    assert f"Nothing about {missing!r} was ever received" in told.err
    assert f"acme/shipment/{shipment}" in told.err
    told = milepost("audit", "show", missing, "--json")
    assert told.code == 1
    assert told.document["found"] is False


def test_what_stood_is_told_with_its_rule(governed, milepost, send, shipment):
    send(said(governed.name("E"), shipment, "DELIVERED"))
    told = milepost("audit", "state-at", shipment)
    assert told.code == 0
    assert f"acme/shipment/{shipment}: delivered" in told.out
    assert "transport-na (2026.11.1)" in told.out or "transport-na (t-" in told.out
    told = milepost("audit", "state-at", shipment, "--as-of", "2020-01-01", "--json")
    assert (told.code, told.document["entities"]) == (1, [])
    told = milepost("audit", "state-at", shipment, "--known-at", "2020-01-01")
    assert (told.code, "had nothing that stood then" in told.err) == (1, True)


def test_a_time_that_is_none_is_wrong_use(governed, milepost):
    told = milepost("audit", "state-at", "S1", "--as-of", "yesterday")
    assert told.code == 2
    assert "--as-of: 'yesterday' is no ISO 8601 time" in told.err
    told = milepost("claims", "--platform", "tms-na", "--since", "soon")
    assert told.code == 2
    assert "2h" in told.err


@pytest.fixture
def since():
    """Now: what other tests send to the same stack is older."""
    return datetime.now(UTC).isoformat()


def test_a_platform_sees_its_own_claims(governed, milepost, send, shipment, since):
    name = governed.name("E")
    send(said(name, shipment, "DELIVERED"), said(governed.name("E"), governed.name(), "DELIVERED"))
    told = milepost("claims", "--platform", "tms-na", "--since", since, "--json")
    assert name in {item["claim"] for item in told.document["claims"]}
    reasons = {(row["fate"], row["reason"]) for row in told.document["reasons"]}
    assert ("approved", "owner_spoke") in reasons
    told = milepost("claims", "--platform", "tms-na", "--since", since, "--limit", 1)
    assert "; --limit shows more" in told.out
    assert max(map(len, told.out.splitlines())) <= 80
    told = milepost("claims", "--platform", "nobody")
    assert (told.code, told.out) == (2, "")
    assert "No platform 'nobody' in bundle" in told.err
    assert "carrier-redline" in told.err


def test_claims_that_could_not_be_governed_come_first_with_what_to_fix(
    governed, milepost, send, shipment, since
):
    send(said(governed.name("E"), shipment, "WOBBLY"))
    told = milepost("claims", "--platform", "tms-na", "--since", since)
    first = told.out.split("\n\n")[1]
    assert "could not be governed (dead_lettered, unmapped_status)" in first
    assert "  Turn of the policy's owner: Map the code in the platform's dialect" in first
    assert "        'WOBBLY' in dialect tms-na (letter " in first
    assert f"acme/shipment/{shipment}" in first


@pytest.mark.parametrize(
    "command",
    [("audit", "show", "x"), ("claims", "--platform", "x"), ("verify",), ("dead-letters", "list")],
)
def test_a_stack_that_is_away_is_a_sentence_and_exit_code_three(milepost, monkeypatch, command):
    monkeypatch.setenv("MILEPOST_BOOTSTRAP_SERVERS", "127.0.0.1:1")
    monkeypatch.setenv("MILEPOST_REGISTRY_URL", "http://127.0.0.1:1")
    monkeypatch.setattr("pipeline.kafka.reading._CALL_S", 1.0)
    told = milepost(*command)
    assert (told.code, told.out) == (3, "")
    assert "can't be reached" in told.err
    assert "Traceback" not in told.err
