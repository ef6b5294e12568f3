"""`milepost dead-letters`: list, show, replay; nothing is sent unless one says so."""

import pytest

pytestmark = pytest.mark.kafka


@pytest.fixture
def letter(governed, milepost):
    """A dead letter of this test's own: its shipment and its id."""
    shipment = governed.name()
    governed.fates(governed.send(governed.event(shipment, "WOBBLY")))
    (found,) = listed(milepost, shipment)
    return shipment, found["id"]


def listed(milepost, shipment, *options):
    told = milepost("dead-letters", "list", "--key", shipment, "--json", *options)
    return told.document["letters"]


def test_letters_are_listed_by_cause_and_one_by_one(governed, milepost, letter):
    shipment, name = letter
    told = milepost("dead-letters", "list", "--key", shipment)
    assert told.code == 0
    assert told.out.startswith("1 dead letter: 1 open")
    assert "unmapped_status" in told.out
    assert name in told.out


def test_filters_narrow_the_list(governed, milepost, letter):
    shipment, name = letter
    (found,) = listed(milepost, shipment)
    for option, value in (
        ("--reason", "unmapped_status"),
        ("--platform", "tms-na"),
        ("--fingerprint", found["fingerprint"]),
        ("--since", "10m"),
    ):
        assert [item["id"] for item in listed(milepost, shipment, option, value)] == [name]
    assert listed(milepost, shipment, "--reason", "undecodable") == []
    assert listed(milepost, shipment, "--until", "2020-01-01") == []


def test_a_reason_that_is_none_is_wrong_use(governed, milepost):
    told = milepost("dead-letters", "list", "--reason", "bad_luck")
    assert told.code == 2
    assert "'bad_luck' is no reason" in told.err


def test_one_letter_is_shown_in_full_with_what_to_do(governed, milepost, letter):
    shipment, name = letter
    told = milepost("dead-letters", "show", name)
    assert told.code == 0
    assert "'WOBBLY' in dialect tms-na" in told.out
    assert "Our turn" in told.out
    assert f"replay --id {name} --go" in told.out
    document = milepost("dead-letters", "show", name, "--json").document
    assert document["event"]["entity_id"] == shipment
    told = milepost("dead-letters", "show", "9:9999")
    assert told.code == 1
    assert "dead-letters list" in told.err


def test_bytes_that_are_no_record_are_shown_as_they_are(governed, milepost):
    shipment = governed.name()
    place = governed.put("logistics.raw.tms-na.v1", governed.key(shipment), b"<html>\0\xff")
    governed.fate(place)
    (found,) = listed(milepost, shipment)
    told = milepost("dead-letters", "show", found["id"])
    assert "3c 68 74 6d 6c 3e 00 ff" in told.out
    assert "<html>.." in told.out
    assert "Its sender's turn" in told.out


def test_a_replay_only_counts_until_it_is_told_to_go(governed, milepost, letter):
    shipment, name = letter
    told = milepost("dead-letters", "replay", "--id", name)
    assert told.code == 0
    assert "1 dead letter would be sent through again." in told.out
    assert "Nothing was sent" in told.out
    assert [item["id"] for item in listed(milepost, shipment, "--open")] == [name]


def test_a_replay_needs_a_reason_and_letters_that_are_there(governed, milepost, letter):
    told = milepost("dead-letters", "replay", "--id", letter[1], "--go")
    assert (told.code, told.out) == (2, "")
    assert "--why" in told.err
    told = milepost("dead-letters", "replay", "--id", "9:9999")
    assert told.code == 1
    assert "Not among them: 9:9999" in told.err


def test_a_replay_is_done_told_and_counted(governed, milepost, letter):
    """The status is still unknown, so it fails again: the list says so, and how often."""
    shipment, name = letter
    told = milepost(
        "dead-letters", "replay", "--id", name, "--go", "--why", "trying", "--by", "kim", "--json"
    )
    assert told.document["sent"] == 1
    assert told.document["dry_run"] is False
    governed.watch.until(lambda: len(listed(milepost, shipment)) == 2)
    first, second = listed(milepost, shipment)
    assert (first["since"]["state"], second["since"]["state"]) == ("failed again", "open")
    assert second["replays"] == 1
    assert second["replay"]["by"] == "kim"
    assert "failed 2 times" in milepost("dead-letters", "list", "--key", shipment).out
    # The older letter is no more to be sent, unless one insists
    told = milepost("dead-letters", "replay", "--id", name)
    assert told.code == 1
    assert "--all" in told.err
    assert governed.verify().violations == []
