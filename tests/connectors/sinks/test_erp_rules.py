"""Posting rules as a file, and how the sink is told to start."""

from __future__ import annotations

import shutil

import pytest
from erp_records import T0, approved

from connectors.protocols import ConfigurationError
from connectors.sinks.erp import ErpSink, cut_over_ms
from connectors.sinks.postings import carried, load_postings
from pipeline.contract.names import data_root
from pipeline.contract.yaml_lines import InvalidFileError
from pipeline.settings import Settings


@pytest.fixture
def policy(tmp_path):
    for name in ("erp-postings.yaml", "catalogue.yaml"):
        shutil.copy(data_root() / "policy" / name, tmp_path / name)
    return tmp_path


def change(policy, before: str, after: str) -> None:
    path = policy / "erp-postings.yaml"
    text = path.read_text(encoding="utf-8")
    assert before in text
    path.write_text(text.replace(before, after, 1), encoding="utf-8")


@pytest.mark.parametrize(
    ("before", "after", "message"),
    [
        ("event_type: goods.issued", "event_type: goods.isued", "no event type of the catalogue"),
        ("requires: [departed,", "requires: [departet,", "no event type of the catalogue"),
        ("honours_keys: true", "honors_keys: true", "Remove it, or correct the spelling"),
        ("posting: proof-of-delivery", "posting: goods-issue", "named twice"),
        ("adjusts_on: [occurred, quantity, document]", "adjusts_on: [amount]", "does not carry it"),
        ("timeout: PT10S", "timeout: PT1H", "less than or equal to"),
        ("event_type: goods.issued", "event_type: goods.issued\n    endpoint: other", "no such"),
    ],
)
def test_a_mistake_is_named_with_its_line(policy, before, after, message):
    change(policy, before, after)
    with pytest.raises(InvalidFileError, match=message) as caught:
        load_postings(policy)
    assert str(caught.value).startswith("erp-postings.yaml:")


def test_a_policy_without_posting_rules_says_what_to_create(tmp_path):
    with pytest.raises(InvalidFileError, match=r"Create erp-postings\.yaml"):
        load_postings(tmp_path)


def test_positions_and_estimates_without_end_are_not_remembered():
    rules = load_postings(data_root() / "policy")
    assert not rules.remembers("position.reported")
    assert rules.remembers("departed")
    assert rules.remembers("a.type.of.a.later.bundle")


def test_decimals_reach_the_erp_exactly():
    rule = load_postings(data_root() / "policy").of("charge.posted")[0]
    record = approved("charge.posted", amount=12_345_678_901_234_567, currency="EUR", document="F")
    assert carried(rule, record)["amount"] == "1234567890123.4567"


def test_the_erp_is_told_the_site_and_not_which_visit_to_it():
    rule = load_postings(data_root() / "policy").named("proof-of-delivery")
    stop = {"location": "DEN1#2", "name": "Denver", "city": "Denver"}
    assert carried(rule, approved("delivered", stop=stop))["location"] == "DEN1"
    named = stop | {"location": None}
    assert carried(rule, approved("delivered", stop=named))["location"] == "Denver"


def test_a_quantity_keeps_its_unit_and_basis():
    rule = load_postings(data_root() / "policy").of("goods.issued")[0]
    quantity = {"value": 1_500_000, "unit": "KGM", "basis": "DELTA", "completeness": "PARTIAL"}
    assert carried(rule, approved(quantity=quantity))["quantity"] == {**quantity, "value": "1.5"}


@pytest.mark.parametrize(
    ("start", "expected_ms"),
    [("beginning", 0), ("now", T0), ("2025-11-24T16:00:00Z", T0), ("2025-11-24T17:00+01:00", T0)],
)
def test_a_new_sink_starts_where_it_is_told(start, expected_ms):
    assert cut_over_ms(start, T0) == expected_ms


@pytest.mark.parametrize("start", ["yesterday", "2025-11-24T16:00:00", ""])
def test_a_start_that_is_none_is_explained(start):
    with pytest.raises(ConfigurationError, match="a time with its zone"):
        cut_over_ms(start, T0)


@pytest.mark.parametrize("url", [None, "erp.example.com", "ftp://erp.example.com"])
def test_without_an_address_the_setting_is_named(url):
    with pytest.raises(ConfigurationError, match="MILEPOST_ERP_URL"):
        ErpSink(Settings(erp_url=url), "localhost:1", "http://localhost:1")
