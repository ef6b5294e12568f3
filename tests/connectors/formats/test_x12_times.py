"""Zone of the event, the stop, the partner, in that order; what stays open is a finding."""

from datetime import UTC, datetime

import pytest
from x12_text import codes, read_status

from connectors.formats.codes import Code
from connectors.formats.x12.times import moment, recorded
from pipeline.governance.vocabulary import Precision

NEW_YORK, PHOENIX = "America/New_York", "America/Phoenix"


def utc(text):
    return int(datetime.fromisoformat(text).replace(tzinfo=UTC).timestamp() * 1000)


def at(date, time, code="LT", stop=None, partner=None):
    return moment(date, time, code, stop, partner)


@pytest.mark.parametrize(
    ("code", "stop", "partner", "offset"),
    [
        ("LT", NEW_YORK, PHOENIX, -240),
        ("", NEW_YORK, PHOENIX, -240),
        ("LT", None, PHOENIX, -420),
        ("UT", NEW_YORK, PHOENIX, 0),
        ("GM", None, None, 0),
        ("ET", None, None, -240),
        ("CT", None, None, -300),
        ("MT", None, None, -360),
        ("PT", None, None, -420),
        ("AT", None, None, -480),
        ("HT", None, None, -600),
        ("NT", None, None, -150),
        ("TT", None, None, -180),
        ("MT", PHOENIX, None, -420),  # Mountain time without summer time
        ("ES", None, None, -300),
        ("ED", None, None, -240),
        ("EST", None, None, -300),
        ("EDT", None, None, -240),
        ("CS", None, None, -360),
        ("PS", None, None, -480),
        ("PD", None, None, -420),
        ("01", None, None, 60),
        ("12", None, None, 720),
        ("13", None, None, -720),
        ("20", None, None, -300),
        ("24", None, None, -60),
        ("27", None, None, 330),
        ("lt", NEW_YORK, None, -240),
    ],
)
def test_zone_codes_in_summer(code, stop, partner, offset):
    found = at("20260701", "1200", code, stop, partner)
    assert found.instant.offset_minutes == offset
    assert found.instant.utc_ms == utc("2026-07-01T12:00") - offset * 60_000


@pytest.mark.parametrize(
    ("time", "precision", "extra_ms"),
    [
        ("", Precision.DAY, -43_200_000),
        ("1200", Precision.MINUTE, 0),
        ("120030", Precision.SECOND, 30_000),
        ("1200305", Precision.MILLISECOND, 30_500),
        ("12003055", Precision.MILLISECOND, 30_550),
    ],
)
def test_precision_is_what_was_written(time, precision, extra_ms):
    found = at("20260701", time, "UT")
    assert found.precision is precision
    assert found.instant.utc_ms == utc("2026-07-01T12:00") + extra_ms


def test_dates_of_six_digits():
    assert at("060301", "0800", "UT").instant.utc_ms == utc("2006-03-01T08:00")
    assert at("990301", "0800", "UT").instant.utc_ms == utc("1999-03-01T08:00")


@pytest.mark.parametrize(
    ("date", "time"),
    [
        ("20260231", "1200"),
        ("20261301", "1200"),
        ("20260701", "2400"),
        ("20260701", "1260"),
        ("20260701", "120"),
        ("2026071", "1200"),
        ("00000000", "0000"),
        ("20260701", "12:00"),
        ("٢٠٢٦٠٧٠١", "1200"),
        ("99991231", "2359"),
    ],
)
def test_what_does_not_exist_is_a_finding(date, time):
    found = at(date, time, "24")
    assert found.instant is None
    assert [oddity.code for oddity in found.oddities] == [Code.TIME_IMPOSSIBLE]


def test_a_time_that_was_skipped_is_no_guess():
    # Second Sunday of March 2026: 02:00 to 03:00 did not happen in New York
    found = at("20260308", "0230", "LT", NEW_YORK)
    assert (found.instant, found.oddities[0].code) == (None, Code.TIME_IN_GAP)
    assert at("20260308", "0159", "LT", NEW_YORK).instant.offset_minutes == -300
    assert at("20260308", "0300", "LT", NEW_YORK).instant.offset_minutes == -240


def test_a_time_that_came_twice_is_no_guess():
    # First Sunday of November 2026: 01:00 to 02:00 came twice
    found = at("20261101", "0130", "ET")
    assert (found.instant, found.oddities[0].code) == (None, Code.TIME_AMBIGUOUS)
    assert at("20261101", "0130", "ED").instant.utc_ms == utc("2026-11-01T05:30")
    assert at("20261101", "0130", "ES").instant.utc_ms == utc("2026-11-01T06:30")
    assert at("20261101", "0130", "LT", PHOENIX).instant.offset_minutes == -420


def test_the_partners_zone_is_said_to_be_an_assumption():
    assert [oddity.code for oddity in at("20260701", "1200", "", None, PHOENIX).oddities] == [
        Code.ZONE_ASSUMED
    ]


def test_no_zone_at_all():
    found = at("20260701", "1200")
    assert (found.instant, found.oddities[0].code) == (None, Code.ZONE_UNRESOLVED)


def test_an_unknown_code():
    found = at("20260701", "1200", "QQ", NEW_YORK)
    assert (found.instant, found.oddities[0].code) == (None, Code.ZONE_CODE_UNKNOWN)


def test_a_stated_zone_that_is_not_the_stops_is_taken_and_said():
    found = at("20260701", "1200", "ES", NEW_YORK)
    assert found.instant.offset_minutes == -300
    assert [oddity.code for oddity in found.oddities] == [Code.ZONE_CONTRADICTS_STOP]
    assert at("20260101", "1200", "ES", NEW_YORK).oddities == ()


def test_a_bad_time_rejects_its_event_and_not_the_message():
    reading = read_status(
        "LX*1", "AT7*X3*NS***20260308*0230*ET", "AT7*AF*NS***20260308*0330*ET", "AT7*D1*NS"
    )
    assert [claim.record["native_status"] for claim in reading.claims] == ["AF"]
    assert codes(reading.findings) == ["time_in_gap", "date_missing"]
    assert [finding.position.element for finding in reading.findings] == [5, 5]
    assert reading.rejected_events == 2


def test_the_zone_of_the_stop_is_asked_for():
    asked = []

    def zone_of(stop):
        asked.append(stop["location"])
        return "America/Los_Angeles"

    reading = read_status("LX*1", "AT7*D1*NS***20260301*1630*LT", zone_of=zone_of)
    assert asked == ["RNO"]
    assert reading.claims[0].record["occurred_offset_minutes"] == -480
    assert reading.findings == ()


def test_a_documents_own_time():
    assert recorded("20260701", "1200", NEW_YORK) == utc("2026-07-01T16:00")
    assert recorded("20260701", "1200", None) is None
    assert recorded("20260230", "1200", NEW_YORK) is None
    assert recorded("20260308", "0230", NEW_YORK) is None
    assert recorded("20260701", "", NEW_YORK) is None
