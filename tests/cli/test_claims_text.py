"""The text of `milepost claims`: by reason, in 80 columns, what asks for something first."""

from pipeline.cli.claims import grouped, told
from pipeline.operations.trail import Entry

NOW_MS = 1_790_000_000_000


def entry(number, disposition, reason, **given):
    verdict = {
        "disposition": disposition,
        "reason": reason,
        "entity": "acme/shipment/S1",
        "event_type": "delivered",
        "claim": f"e{number}",
        "received": NOW_MS + number * 1_000,
        "deadline": None,
    }
    return Entry(0, number, "logistics.raw.tms-na.v1", number, NOW_MS, "1", verdict | given, [])


def text(*entries, limit=5):
    return list(told("tms-na", NOW_MS, grouped(list(entries)), {}, limit))


def test_what_asks_for_something_comes_before_what_went_well():
    groups = grouped(
        [
            entry(1, "approved", "owner_spoke"),
            entry(2, "approved", "owner_spoke"),
            entry(3, "held", "awaiting_owner"),
            entry(4, "dead_lettered", "unmapped_status"),
            entry(5, "dead_lettered", "field_invalid"),
            entry(6, "dead_lettered", "field_invalid"),
        ]
    )
    assert list(groups) == [
        ("dead_lettered", "field_invalid"),
        ("dead_lettered", "unmapped_status"),
        ("held", "awaiting_owner"),
        ("approved", "owner_spoke"),
    ]


def test_a_reason_is_told_in_words_with_whose_turn_it_is():
    lines = text(entry(1, "held", "region_unresolved", deadline=NOW_MS))
    assert lines[2] == "1 waiting (held, region_unresolved)"
    assert lines[3] == "  Where it happened is not known yet."
    assert lines[4].startswith("  Turn of whoever knows what it waits for: Send the tender")
    assert lines[-3] == "        until 2026-09-21 14:13:20Z"


def test_what_was_taken_back_and_what_took_it_back_are_told_apart():
    lines = text(
        entry(1, "retracted", "retracted_by_author"),
        entry(2, "approved", "retracted_by_author"),
        entry(3, "stale", "retracted_by_author"),
    )
    told = [lines[at + 1] for at, line in enumerate(lines) if "retracted_by_author)" in line]
    assert told == [
        "  It took back what did not stand: nothing else changed.",
        "  Its author or its owner took it back.",
        "  It took back what its author or its owner had said.",
    ]


def test_what_needs_nobody_is_told_without_a_remedy():
    assert not any("Turn of" in line for line in text(entry(1, "approved", "owner_spoke")))


def test_the_newest_of_each_reason_are_shown():
    lines = text(*(entry(number, "duplicate", "repeated") for number in range(9)), limit=2)
    assert sum("  e" in line for line in lines) == 2
    assert any("e8" in line for line in lines)
    assert "    and 7 before; --limit shows more" in lines


def test_lines_have_eighty_columns_and_a_reason_of_a_newer_milepost_its_name():
    lines = text(
        entry(1, "overruled", "differs_from_owner", entity=f"acme/shipment/{'X' * 40}"),
        entry(2, "approved", "made_up_later"),
    )
    assert max(map(len, lines)) <= 80
    assert "  made_up_later." in lines


def test_no_claims_are_told_as_that():
    first, second = text()
    assert first == "0 claims of tms-na since 2026-09-21 14:13:20Z"
    assert "--since" in second
