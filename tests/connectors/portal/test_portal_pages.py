"""The pages as the server draws them: complete without a script, safe whatever a record says."""

from __future__ import annotations

import re

import pytest
from portal_records import T0, approved, entity_status
from portal_site import PortalSite
from portal_turns import turns
from portal_world import settle

from connectors.portal.writer import StoreWriter

NASTY = "<script>alert(1)</script>"


def test_a_monitor_may_ask_for_the_head_of_the_first_page(site):
    answer = site.ask("/", method="HEAD")
    assert (answer.status_code, answer.content) == (200, b"")


def test_a_story_is_complete_without_a_script(site):
    site.fill()
    page = site.ask("/shipments/SHP-1001").text
    for said in (
        "Arrived at destination",
        "Provisional",
        "Corrected",
        "<s>Problem reported</s>",
        "Taken back",
        "Reported late",
        "Under review",
        "was not reported",
        "Last position",
        "Transport system",
        "carrier-redline",
        "0047-1122",
        'href="/orders/80001234?tenant=acme"',
        "UTC</time>",
    ):
        assert said in page, said
    assert page.count("<h1") == 1


def words(site, path):
    """A page as it is read: without markup, blanks as one."""
    page = re.sub(r"<[^>]+>", " ", site.ask(path).text)
    return re.sub(r"\s+([.,])", r"\1", " ".join(page.split()))


@pytest.mark.parametrize(
    ("path", "said"),
    [
        ("/shipments/SHP-7000", "was split into SHP-7000-A and SHP-7000-B."),
        ("/shipments/SHP-7000", "Split into SHP-7000-A Delivered SHP-7000-B"),
        ("/shipments/SHP-7000-A", "This is a part of SHP-7000, which was split."),
        ("/shipments/SHP-7000-B", "Part of SHP-7000 Transport ordered"),
        ("/orders/80007000", "Picked Cancelled"),
        ("/orders/80007000", "What had happened by then stays as it is."),
        ("/orders/80007000", "Was 40 pieces, complete."),
        ("/shipments/SHP-7100", "Something moved after the cancellation"),
        ("/shipments/SHP-7100", "Shipped After cancellation"),
        ("/shipments/SHP-7200", "taken back by Operations desk,"),
        ("/shipments/SHP-7200", "Had been taken back"),
        ("/shipments/SHP-7200", "by the operations desk, before it was judged"),
        ("/shipments/SHP-7300", "An earlier shipment had this number"),
    ],
)
def test_a_turn_of_the_story_is_told(site, path, said):
    site.add(*turns(site.now))
    assert said in words(site, path)


def test_what_was_taken_back_is_struck(site):
    site.add(*turns(site.now))
    assert "<s>Problem reported</s>" in site.ask("/shipments/SHP-7200").text


PERSONAL = ("Ana Perez", "the driver phoned from the gate", "Ben Okafor")


@pytest.mark.parametrize("path", ["/shipments/SHP-7200", "/api/shipments/SHP-7200"])
def test_a_customer_reads_no_persons_name_and_staff_do(site, tmp_path, path):
    site.add(*turns(site.now))
    assert not [name for name in PERSONAL if name in site.ask(path).text]

    for_staff = PortalSite(
        tmp_path, MILEPOST_PORTAL_STAFF="true", MILEPOST_PORTAL_DATABASE_URL=site.url
    )
    answer = for_staff.ask(path).text
    for_staff.close()
    assert [name for name in PERSONAL if name in answer] == list(PERSONAL)


def test_what_is_under_review_is_not_the_status(site):
    site.fill()
    page = site.ask("/shipments/SHP-1001").text
    status = re.search(r'id="status"[^>]*>([^<]*)<', page).group(1)
    assert status == "Arrived at destination"


def test_billing_is_kept_apart_from_what_happened(site):
    site.fill()
    page = site.ask("/shipments/SHP-2002").text
    timeline, _, rest = page.partition("<h2>Billing</h2>")
    assert "Freight charged" not in timeline
    assert "1250.00 EUR" in rest


def test_a_search_with_one_answer_leads_there_and_others_list_or_help(site):
    site.fill()
    only = site.ask("/search?q=msku")
    assert only.status_code == 303
    assert only.headers["location"] == "/shipments/SHP-1001?tenant=acme"
    assert "11 match" in site.ask("/search?q=SHP").text
    assert "Nothing begins with" in site.ask("/search?q=zzzz").text
    assert site.ask("/search?q=%20").headers["location"] == "/"


def test_an_empty_portal_says_what_to_expect(site):
    page = site.ask("/").text
    assert "Nothing to show yet" in page
    assert "Nothing has been read from Kafka yet." in page


def test_while_kafka_is_away_the_page_says_what_time_it_shows_and_why(site):
    settle(site.engine, site.url, T0, [approved(), entity_status()])
    StoreWriter(site.engine, site.url, lambda: site.now).tell(
        "waiting", "Kafka at a:1 can't be reached (x)", T0
    )
    page = site.ask("/shipments/SHP-1001").text
    assert "You see what was known at" in page
    assert "Kafka does not answer, since 2025-11-04 10:00:00 UTC." in page
    assert "Shipped" in page


def test_a_browser_gets_errors_as_a_page_and_a_program_as_a_document(site):
    site.fill()
    page = site.ask("/shipments/NOPE", accept="text/html,*/*")
    assert page.status_code == 404
    assert page.headers["content-type"].startswith("text/html")
    assert "No such shipment" in page.text
    other = site.ask("/nowhere", accept="text/html")
    assert "There is nothing at /nowhere." in other.text
    assert site.ask("/api/shipments/NOPE", accept="text/html").json()["status"] == 404


@pytest.mark.parametrize("path", ["/shipments/N%2F%3Cscript%3E", "/search?q=%3Cscript%3Ealert(1)"])
def test_what_a_caller_writes_is_shown_as_text(site, path):
    assert "<script>alert" not in site.ask(path, accept="text/html").text
    assert "<script>" not in site.ask(path, accept="text/html").text.replace('<script src="', "")


def test_what_a_partner_writes_is_shown_as_text(site):
    stop = {**approved()["stop"], "location": None, "name": NASTY, "city": NASTY}
    reference = {"kind": NASTY, "scope": NASTY, "value": NASTY}
    site.add(
        approved(
            platform=NASTY,
            role=NASTY,
            native_status=NASTY,
            stop=stop,
            reason=NASTY,
            document=NASTY,
            event_type=NASTY,
            agree=[NASTY],
            references=[reference],
        ),
        entity_status(status=NASTY, references=[reference]),
    )
    page = site.ask("/shipments/SHP-1001").text
    assert NASTY not in page
    assert "&lt;script&gt;" in page


def test_pages_hold_no_inline_script_or_style_and_load_nothing_from_elsewhere(site):
    site.fill()
    for path in ("/", "/shipments/SHP-1001", "/search?q=SHP", "/search?q=zzzz"):
        page = site.ask(path).text
        assert re.findall(r"<script(?![^>]*\bsrc=)[^>]*>", page) == []
        assert re.findall(r"\s(?:style|on[a-z]+)=", page) == []
        assert re.findall(r"<style", page) == []
        for address in re.findall(r'(?:src|href|action)="([^"]*)"', page):
            assert address.startswith(("/", "#")), address


def test_ids_with_odd_letters_have_working_addresses(site):
    odd = "A/B 1%?&ü"
    site.add(approved(entity_id=odd), entity_status(entity_id=odd))
    listed = site.ask("/").text
    href = re.search(r'href="(/shipments/A[^"]*)"', listed).group(1)
    page = site.ask(href.replace("&amp;", "&"))
    assert page.status_code == 200
    assert "A/B 1%?&amp;ü" in page.text
