"""The portal's API: the story, as it stands and as it was known, search, stream and health."""

from __future__ import annotations

import json
from urllib.parse import urlencode

import httpx
import pytest
from portal_records import HOUR, MINUTE, T0, approved, entity_status
from portal_site import PortalSite
from portal_turns import split, turns
from portal_world import settle
from undocumented_api import undocumented

from connectors.portal import fresh, store, tables
from connectors.portal.published import PublishedWording
from connectors.portal.store import Store
from connectors.portal.wording import Wording
from connectors.portal.writer import Batch, PublishedBundle, StoreWriter
from pipeline.contract.bundle import load_bundle

SPLIT = next(record for record in split(T0) if record.get("shipments"))


def test_a_shipments_story_with_what_it_links_to(site):
    site.fill()
    answer = site.ask("/api/shipments/SHP-1001")
    assert answer.status_code == 200
    told = answer.json()
    assert told["status"]["code"] == "at_delivery"
    assert told["status"]["provisional"]
    assert {item["state"] for item in told["milestones"]} == {
        "confirmed",
        "provisional",
        "corrected",
        "retracted",
        "unrecognised",
    }
    assert told["linked"][0]["href"] == "/api/orders/80001234?tenant=acme"
    assert site.ask(told["linked"][0]["href"]).json()["status"]["label"] == "Packed"
    assert not told["freshness"]["stale"]
    assert told["freshness"]["why"] is None


def test_an_id_in_another_spelling_is_understood_and_an_unknown_one_explained(site):
    site.fill()
    assert site.ask("/api/shipments/shp1001").json()["id"] == "SHP-1001"
    assert site.ask("/api/orders/0080001234").json()["id"] == "80001234"
    missing = site.ask("/api/shipments/NOPE")
    assert missing.status_code == 404
    assert missing.headers["content-type"] == "application/problem+json"
    assert "search for any of its references" in missing.json()["detail"]


def test_an_id_with_a_slash_has_an_address(site):
    site.add(approved(entity_id="A/B"))
    assert site.ask("/api/shipments/A%2FB").json()["id"] == "A/B"
    assert site.ask("/api/shipments/A%2FB/milestones").json()["id"] == "A/B"


def test_what_was_known_then_of_what_had_happened_by_then(site):
    at = [T0, T0 + HOUR, T0 + 2 * HOUR]
    records = [
        approved(seq=1, occurred=T0, received=at[0]),
        approved(seq=2, revision=2, occurred=T0 + 30 * MINUTE, received=at[1]),
        approved("delivered", 3, occurred=T0 + 90 * MINUTE, received=at[2]),
    ]
    for now, record in zip(at, records, strict=True):
        settle(site.engine, site.url, now, [record])

    def known(**asked):
        query = "&".join(f"{name}={value}" for name, value in asked.items())
        answer = site.ask(f"/api/shipments/SHP-1001/milestones?{query}")
        assert answer.status_code == 200, answer.text
        return [
            (item["label"], item["current"]["revision"]) for item in answer.json()["milestones"]
        ]

    assert known() == [("Shipped", 2), ("Delivered", 1)]
    assert known(known_at="2025-11-04T10:30:00Z") == [("Shipped", 1)]
    assert known(known_at="2025-11-04T11:30:00%2B00:00") == [("Shipped", 2)]
    assert known(as_of="2025-11-04T11:00:00Z") == [("Shipped", 2)]
    assert known(as_of="2025-11-04T10:10:00Z", known_at="2025-11-04T10:10:00Z") == [("Shipped", 1)]
    # The correction moved it after the time that is asked for
    assert known(as_of="2025-11-04T10:10:00Z") == []
    assert known(known_at="2025-11-04T12:30:00+01:00") == [("Shipped", 2)]  # a blank for the plus


@pytest.mark.parametrize(
    ("query", "field", "remedy"),
    [
        ("as_of=noon", "as_of", "RFC 3339"),
        ("known_at=2025-11-04T10:00:00", "known_at", "no offset from UTC"),
        ("as_of=" + "9" * 70, "as_of", "64"),
    ],
)
def test_a_time_that_cannot_be_meant_names_the_field_and_the_remedy(site, query, field, remedy):
    site.fill()
    answer = site.ask(f"/api/shipments/SHP-1001/milestones?{query}")
    assert answer.status_code == 422
    assert answer.json()["field"] == field
    assert remedy in answer.json()["detail"]


def test_any_reference_leads_to_its_shipment(site):
    site.fill()
    for text in ("0047-1122", "bol 99812", "mskuu", "MSKU 3065"):
        found = site.ask(f"/api/search?q={text}")
        hits = [(item["id"], item["matched"]["kind"]) for item in found.json()["results"]]
        assert bool(hits) == (text != "mskuu")
        assert not hits or hits[0][0] == "SHP-1001"
    assert len(site.ask("/api/search?q=SHP&limit=3").json()["results"]) == 3
    assert site.ask("/api/search?q=SHP&limit=500").json()["field"] == "limit"
    assert site.ask("/api/search?q=---").json()["field"] == "q"
    assert site.ask("/api/search?q=").status_code == 422


@pytest.mark.parametrize(
    ("text", "kind"),
    [
        ("shp 7000", "ID"),
        ("shp7000a", "PART"),
        ("80007000", "LINK"),
        ("0080007000", "LINK"),
        (" Shipment.Changed-1 ", "EVENT"),
        (SPLIT["event_id"], "EVENT"),
        (SPLIT["milestone_id"].upper(), "EVENT"),
    ],
)
def test_an_order_a_part_and_an_event_lead_to_the_shipment_too(site, text, kind):
    site.add(*turns(site.now))
    found = site.ask("/api/search?" + urlencode({"q": text})).json()["results"]
    assert ("SHP-7000", kind) in [(item["id"], item["matched"]["kind"]) for item in found]


def test_two_tenants_with_the_same_id_must_be_told_apart(site):
    site.add(approved(), approved(tenant="samples"))
    answer = site.ask("/api/shipments/SHP-1001")
    assert answer.status_code == 409
    assert answer.json()["tenants"] == ["acme", "samples"]
    assert site.ask("/api/shipments/SHP-1001?tenant=samples").json()["tenant"] == "samples"


def test_a_portal_for_one_tenant_shows_no_other_on_any_route(tmp_path):
    site = PortalSite(tmp_path, MILEPOST_PORTAL_TENANT="samples").fill()
    site.add(approved(tenant="samples", entity_id="SHP-9"))
    for path in (
        "/api/shipments/SHP-1001",
        "/api/shipments/SHP-1001?tenant=acme",
        "/api/shipments/SHP-1001/milestones?tenant=acme",
        "/api/orders/80001234?tenant=acme",
        "/shipments/SHP-1001?tenant=acme",
    ):
        assert site.ask(path).status_code == 404, path
    assert "SHP-1001" not in site.ask("/").text
    found = site.ask("/api/search?q=SHP").json()["results"]
    assert [item["id"] for item in found] == ["SHP-9"]
    assert site.ask("/api/search?q=SHP&tenant=acme").json()["results"] == []
    site.close()


def test_labels_in_the_callers_language(site):
    site.fill()
    asked = site.ask("/api/shipments/SHP-2002?lang=de")
    assert asked.json()["status"]["label"] == "Zugestellt"
    header = site.ask("/api/shipments/SHP-2002", **{"accept-language": "fr, de-AT;q=0.8"})
    assert header.json()["status"]["label"] == "Zugestellt"


def test_labels_are_those_of_the_bundle_that_was_published_last(site):
    site.fill()
    published = load_bundle().model_dump(mode="json", by_alias=True)
    published["heading"]["version"] = "2027.1"
    for row in published["event_types"]:
        if row["name"] == "delivered":
            row["labels"]["en"] = "Handed over"
    writer = StoreWriter(site.engine, site.url, lambda: site.now)
    document = json.dumps(published).encode()
    writer.commit(Batch(bundle=PublishedBundle("2027.1", site.now, document)), {})
    engine = tables.open_reader(site.url)
    seconds = iter(range(0, 100, 10))
    wording = PublishedWording(Store(engine), Wording(None), lambda: next(seconds))
    assert wording().event("delivered", "acme", "en") == "Handed over"
    # One that this version can't read changes nothing
    writer.commit(Batch(bundle=PublishedBundle("2027.2", site.now, b"{}")), {})
    assert wording().event("delivered", "acme", "en") == "Handed over"
    engine.dispose()


def test_health_says_how_fresh_the_store_is_and_whether_kafka_answers(site):
    site.fill()
    assert site.ask("/healthz").json()["status"] == "ok"
    writer = StoreWriter(site.engine, site.url, lambda: site.now)
    writer.tell("waiting", "Kafka does not answer", site.now)
    answer = site.ask("/healthz")
    assert answer.status_code == 200
    assert answer.json()["status"] == "degraded"
    assert answer.json()["kafka"]["reachable"] is False
    assert answer.json()["kafka"]["detail"] == "Kafka does not answer"


def test_while_kafka_is_away_stories_are_served_and_say_what_keeps_them_from_being_fresh(site):
    settle(site.engine, site.url, T0, [approved(), entity_status()])
    writer = StoreWriter(site.engine, site.url, lambda: site.now)
    writer.tell("waiting", "Kafka does not answer", T0)
    told = site.ask("/api/shipments/SHP-1001").json()
    assert told["status"]["label"] == "Shipped"
    assert told["freshness"] == {
        "verified_at": "2025-11-04T10:00:00Z",
        "stale": True,
        "why": "Kafka does not answer, since 2025-11-04 10:00:00 UTC.",
    }


@pytest.mark.parametrize(
    ("state", "heard", "behind", "why"),
    [
        ("waiting", T0, 0, "New records can't be taken in, since 2025-11-04 10:00:00 UTC."),
        ("absent", 0, 0, "Nothing has been read from Kafka yet."),
        ("stopped", T0, 0, "The portal's reader was stopped at 2025-11-04 10:00:00 UTC."),
        ("reading", T0 - HOUR, 0, "has not been heard of since 2025-11-04 09:00:00 UTC."),
        ("reading", T0, 1_234, "Catching up: 1,234 offsets still to read."),
        ("reading", T0, 0, "Kafka has not confirmed for a while"),
    ],
)
def test_why_an_answer_is_stale_is_said_in_words(state, heard, behind, why):
    found = store.Freshness(None, state, "", T0, heard, behind, 0)
    said = fresh.freshness(found, T0, 30_000)
    assert said.stale
    assert why in said.why


def test_a_store_that_cannot_be_read_is_the_only_failure(site):
    site.fill()
    with site.engine.begin() as connection:
        tables.sink.drop(connection)
    answer = site.ask("/healthz")
    assert (answer.status_code, answer.json()["status"]) == (503, "failing")


class Listener:
    """A client of the stream."""

    def __init__(self, base, query="", **headers):
        self._stream = httpx.stream("GET", f"{base}/api/stream{query}", headers=headers, timeout=30)
        self._lines = None

    def __enter__(self):
        self._lines = self._stream.__enter__().iter_lines()
        return self

    def __exit__(self, *_):
        self._stream.__exit__(*_)

    def next(self, name):
        """The next event of that name: its number and its data."""
        number = event = None
        for line in self._lines:
            kind, _, value = line.partition(": ")
            if kind == "id":
                number = int(value)
            elif kind == "event":
                event = value
            elif kind == "data" and event == name:
                return number, json.loads(value)
        raise AssertionError("the stream ended")


def test_changes_arrive_as_they_happen_and_none_is_missed_after_a_break(site):
    site.fill().serve()
    with Listener(site.base, "?type=shipment") as listener:
        start, freshness = listener.next("freshness")
        assert freshness["stale"] is False
        site.add(approved(entity_id="SHP-7", seq=1))
        number, change = listener.next("changed")
        assert number == start + 1
        assert (change["id"], change["status_label"]) == ("SHP-7", "Shipped")
        assert change["href"] == "/api/shipments/SHP-7?tenant=acme"
    site.add(approved("delivered", 2, entity_id="SHP-7", status_after="delivered"))
    site.add(approved(entity_id="SHP-8", seq=1))
    with Listener(site.base, "?type=shipment", **{"last-event-id": str(number)}) as listener:
        missed = [listener.next("changed") for _ in range(2)]
        assert [(change["id"], change["status"]) for _, change in missed] == [
            ("SHP-7", "delivered"),
            ("SHP-8", "shipped"),
        ]


def test_a_listener_hears_of_what_it_asked_for_only(site):
    site.serve()
    with Listener(site.base, "?type=shipment&id=SHP-2&tenant=acme") as listener:
        listener.next("freshness")
        site.add(approved(entity_id="SHP-1"), approved(entity_id="SHP-2", tenant="other"))
        site.add(approved(entity_id="SHP-2"))
        assert listener.next("changed")[1]["tenant"] == "acme"


def test_a_number_from_another_store_starts_with_what_comes_now(site):
    site.serve()
    with Listener(site.base, **{"last-event-id": "999999"}) as listener:
        listener.next("freshness")
        site.add(approved())
        assert listener.next("changed")[0] == 1


def test_the_api_documents_itself(site):
    document = site.ask("/openapi.json").json()
    assert document["info"]["title"] == "Milepost portal"
    assert {
        "/api/shipments/{id}",
        "/api/orders/{id}",
        "/api/shipments/{id}/milestones",
        "/api/search",
        "/api/stream",
        "/healthz",
    } <= set(document["paths"])
    assert undocumented(document) == []
