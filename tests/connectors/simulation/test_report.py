import io
from html.parser import HTMLParser

import pytest
from rehearsal import told
from rich.console import Console

from connectors.simulation.outcome import FaultRow, Outcome, Promise
from connectors.simulation.report import render, write_report
from connectors.simulation.shown import Measures
from connectors.simulation.summary import print_outcome

VOID = {"meta", "link", "br", "img", "path"}


@pytest.fixture(scope="module")
def result(rehearsal_traffic, rehearsed):
    return Outcome(
        seed=26,
        events=5000,
        shipments=200,
        samples=3,
        before=Measures(1000, 155, 122, 47, 0, 25, 1255, 410),
        after=Measures(1054, 2, 1, 0, 21, 0, 845, 0),
        dispositions=[("approved", "owner_spoke", 4000), ("held", "awaiting_owner", 1000)],
        provisional=12,
        taken_back=9,
        reversals=18,
        adjustments=4,
        bound=31,
        latency_ms={"p50": 40, "p99": 400, "records": 4000},
        latency_histogram=[(10, 0), (100, 3900), (1000, 100), (5001, 0)],
        verify={"clean": True, "records": 6000, "blocks": 99, "rules": {"chain": "hashes fit"}},
        erp={"postings": 845},
        faults=[
            FaultRow("repeated", "Sent <again>", 3, 3, {"duplicate: repeated": 3}),
            FaultRow("owner_mistaken", "The owner errs", 2, 2, {"approved: owner_spoke": 2}),
        ],
        contested=told(rehearsal_traffic, rehearsed),
        promises=[Promise("Everything settles", kept=True, detail="no claim waits")],
        fingerprint="abcdef",
        seconds={"start": 10.0, "send": 22.0},
    )


class Page(HTMLParser):
    """Tags, texts and addresses of a page; refuses tags that are not closed in order."""

    def __init__(self, text):
        super().__init__()
        self.open, self.tags, self.addresses, self.words = [], set(), [], []
        self.feed(text)

    def handle_starttag(self, tag, attrs):
        self.tags.add(tag)
        self.addresses += [value for name, value in attrs if name in {"href", "src"}]
        if tag not in VOID:
            self.open.append(tag)

    def handle_endtag(self, tag):
        if tag not in VOID:
            assert self.open.pop() == tag

    def handle_data(self, data):
        self.words.append(data)


def test_the_report_is_one_file_without_scripts_or_addresses(result):
    page = Page(render(result))
    assert not page.open
    assert "script" not in page.tags
    assert page.addresses == []
    assert "url(" not in render(result)


def test_the_report_has_a_style_for_dark_and_for_narrow_screens(result):
    text = render(result)
    assert "prefers-color-scheme: dark" in text
    assert "max-width: 44rem" in text
    assert 'name="viewport"' in text


def test_the_report_tells_every_figure_and_every_contest(result):
    words = " ".join(Page(render(result)).words)
    for figure in ("155", "122", "47", "25", "410"):
        assert figure in words
    for item in result.contested:
        assert item.sentence in words
        assert item.before in words
        assert item.after in words


def test_what_is_told_is_escaped(result):
    assert "Sent &lt;again&gt;" in render(result)


def test_what_stays_wrong_is_owned_up_to(result):
    assert "2 owners erred and never corrected themselves" in render(result)


def test_a_broken_promise_is_plain_to_see(result):
    broken = result._replace(promises=[Promise("Once", kept=False, detail="1 repeated")])
    assert not broken.kept
    assert "✗ broken" in render(broken)


def test_the_report_makes_its_folder(result, tmp_path):
    path = tmp_path / "new" / "demo.html"
    write_report(path, result)
    assert path.read_text("utf-8").startswith("<!doctype html>")


def test_the_terminal_tells_the_same_and_what_to_do_next(result, tmp_path):
    out = io.StringIO()
    print_outcome(Console(file=out, width=200), result, tmp_path / "demo.html", {}, tmp_path)
    text = out.getvalue()
    assert "155" in text
    assert "make up" in text
    assert (tmp_path / "demo.html").as_uri() in text


def test_what_stays_up_is_told_with_how_to_look_into_it(result, tmp_path):
    out = io.StringIO()
    up = {"portal": "http://127.0.0.1:4711"}
    print_outcome(Console(file=out, width=200), result, tmp_path / "demo.html", up, tmp_path)
    assert "http://127.0.0.1:4711" in out.getvalue()
    assert f"export MILEPOST_STATE_DIR={tmp_path}" in out.getvalue()


def test_the_outcome_is_a_document_too(result):
    document = result.document()
    assert document["kept"] is True
    assert document["before"]["contradictions"] == 155
    assert document["dispositions"][0] == {
        "disposition": "approved",
        "reason": "owner_spoke",
        "records": 4000,
    }
