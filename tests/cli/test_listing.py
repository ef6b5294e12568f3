"""Tables and sentences for a person in a hurry: words stay whole on eighty columns."""

import pytest

from pipeline.cli.listing import iso, table, wrapped

HEADINGS = ("id", "reason", "key", "detail")
ROWS = [
    ("3:0", "unmapped_status", "acme/shipment/S77", "'WOBBLY' in dialect tms-na"),
    ("1:12", "undecodable", "acme/shipment/4711", "no Confluent header: first bytes 3c68746d6c"),
]


def test_without_a_terminal_nothing_is_cut():
    lines = list(table(HEADINGS, ROWS, cut=(3,)))
    assert lines[0].split() == list(HEADINGS)
    assert all(cell in line for line, row in zip(lines[1:], ROWS, strict=True) for cell in row)


def test_columns_stand_below_each_other():
    first, second, third = table(HEADINGS, ROWS)
    assert first.index("key") == second.index("acme") == third.index("acme")


@pytest.mark.parametrize("width", [60, 72, 80])
def test_only_columns_that_may_be_cut_are_and_lines_fit(width):
    lines = list(table(HEADINGS, ROWS, cut=(2, 3), width=width))
    assert all(len(line) <= width for line in lines)
    assert "unmapped_status" in lines[1]
    assert "…" in lines[2]


def test_what_does_not_fit_beside_goes_below_its_row_with_whole_words():
    lines = list(table(HEADINGS, ROWS, below=(2, 3), width=60))
    assert lines[0].split() == ["id", "reason"]
    assert lines[1].split() == ["3:0", "unmapped_status"]
    assert lines[2] == "    acme/shipment/S77: 'WOBBLY' in dialect tms-na"
    assert all(len(line) <= 60 for line in lines)


def test_where_all_fits_beside_nothing_goes_below():
    assert len(list(table(HEADINGS, ROWS, below=(2, 3), width=200))) == 3


def test_a_table_without_rows_has_its_heading():
    assert list(table(HEADINGS, [], below=(2,), width=10)) != []
    assert list(table(HEADINGS, [])) == ["id  reason  key  detail"]


def test_sentences_are_broken_between_words_only():
    text = "The dialect does not map this native status: logistics.raw.tms-na.v1-value"
    lines = wrapped(text, "  ", 40)
    assert " ".join(line.strip() for line in lines) == text
    assert wrapped(text, "  ") == ["  " + text]


def test_times_are_told_to_the_second_and_nonsense_as_it_is():
    assert iso(1_790_000_000_000) == "2026-09-21 14:13:20Z"
    assert iso(None) == ""
    assert iso(1 << 62).endswith(" ms")
