"""`milepost platforms` on a real Kafka: whom to trust, told and changed."""

import pytest

pytestmark = pytest.mark.kafka


@pytest.fixture
def alpen(governed, milepost):
    """A platform that is trusted again when the test is over, and when it starts."""
    yield "carrier-alpen"
    milepost("platforms", "release", "carrier-alpen", "--why", "the test is over")


def held(milepost):
    told = milepost("platforms", "status", "--json")
    assert told.code == (1 if told.document["held_back"] else 0)
    return [row for row in told.document["held_back"] if row["platform"] == "carrier-alpen"]


def test_a_platform_is_suspended_and_released_on_every_partition(governed, milepost, alpen):
    told = milepost("platforms", "suspend", alpen, "--why", "codes are shifted", "--by", "kim")
    assert (told.code, told.err) == (0, "")
    assert told.out == "carrier-alpen is suspended: partitions 0, 1, 2, 3.\n"
    assert {(row["reason"], row["by"], row["why"]) for row in held(milepost)} == {
        ("platform_suspended", "kim", "codes are shifted")
    }

    again = milepost("platforms", "suspend", alpen, "--why", "twice")
    assert again.out == "carrier-alpen was suspended everywhere: nothing was written.\n"

    shipment = governed.name()
    event = governed.event(shipment, "13", platform=alpen)
    (fate,) = governed.fates(governed.send(event))
    assert fate.verdict == ("held", "platform_suspended")
    governed.watch.until(lambda: sum(row["claims"] for row in held(milepost)) == 1)
    told = milepost("platforms", "status")
    assert "carrier-alpen: suspended, 1 claim waits" in told.out
    assert "by kim: codes are shifted" in told.out
    assert max(map(len, told.out.splitlines())) <= 80

    told = milepost("platforms", "release", alpen, "--why", "put right", "--json")
    assert [row["reason"] for row in told.document["written"]] == ["platform_released"] * 4
    assert held(milepost) == []
    governed.watch.until(lambda: fate.now != ("held", "platform_suspended"))


def test_a_watermark_is_written_once_and_told(governed, milepost):
    at = "2026-01-01T00:00:00Z"
    told = milepost("platforms", "watermark", "erp-global", "--complete-to", at)
    assert told.code == 0
    assert "set `watermarks: true` in its row of platforms.yaml" in told.err
    assert told.out == "erp-global has said that it is complete: partitions 0, 1, 2, 3.\n"
    again = milepost("platforms", "watermark", "erp-global", "--complete-to", at)
    assert again.out == "erp-global had said so already: nothing was written.\n"
    assert "erp-global is complete up to 2026-01-01" in milepost("platforms", "status").out


def test_nobody_is_complete_up_to_a_time_that_has_not_come(governed, milepost):
    at = "2099-01-01T00:00Z"
    told = milepost("platforms", "watermark", "erp-global", "--complete-to", at)
    assert (told.code, told.out) == (2, "")
    assert "it lies in the future, and can't be moved back" in told.err
    assert "Give a time that has passed: it is " in told.err
    assert "2099" not in milepost("platforms", "status").out


def test_a_platform_that_nobody_knows_is_refused_with_those_that_are(governed, milepost):
    told = milepost("platforms", "suspend", "tms-n", "--why", "x")
    assert (told.code, told.out) == (2, "")
    assert "did you mean tms-na?" in told.err
    assert "carrier-redline" in told.err


def test_a_suspension_needs_a_reason(milepost):
    assert milepost("platforms", "suspend", "tms-na").code == 2
    told = milepost("platforms", "suspend", "tms-na", "--why", " ")
    assert (told.code, told.err) == (2, "--why: say why, for the record\n")
