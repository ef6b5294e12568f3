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


# Repairs


def test_a_repair_only_shows_the_edit_until_it_is_told_to_go(governed, milepost, letter):
    shipment, name = letter
    told = milepost("dead-letters", "repair", "--id", name, "--set", "native_status=TENDERED")
    assert told.code == 0
    assert "1 dead letter would be repaired." in told.out
    assert "native_status: WOBBLY → TENDERED" in told.out
    assert "Nothing was sent" in told.out
    assert [item["id"] for item in listed(milepost, shipment, "--open")] == [name]


def test_a_repair_that_takes_away_what_is_needed_is_refused_with_its_field(
    governed, milepost, letter
):
    shipment, name = letter
    told = milepost("dead-letters", "repair", "--id", name, "--set", "entity_id=")
    assert told.code == 1
    assert told.out.startswith("0 dead letters would be repaired.")
    assert "left out: it would be refused again: entity_id is empty" in told.out
    assert "nothing" not in told.out.partition("left out")[0]
    go = ("--go", "--why", "x")
    assert milepost("dead-letters", "repair", "--id", name, "--set", "entity_id=", *go).code == 1
    assert [item["id"] for item in listed(milepost, shipment, "--open")] == [name]


def test_a_repair_is_governed_with_the_person_in_the_record(governed, milepost, letter):
    shipment, name = letter
    edit = ("--id", name, "--set", "native_status=DELIVERED", "--set", "stop.location=C-ATL")
    go = ("--go", "--why", "the planner typed it", "--by", "kim", "--json")
    told = milepost("dead-letters", "repair", *edit, *go)
    assert told.document["sent"] == 1
    assert told.document["dry_run"] is False
    governed.watch.until(lambda: governed.story(shipment))
    (record,) = governed.story(shipment)
    assert (record["event_type"], record["flags"]) == ("delivered", ["repaired"])
    (now,) = listed(milepost, shipment)
    assert now["since"]["state"] == "repaired"
    again = milepost("dead-letters", "repair", *edit)
    assert again.code == 1
    assert "--all" in again.err
    assert governed.verify().violations == []


def test_a_repair_of_another_entity_goes_to_its_partition(governed, milepost, letter):
    _, name = letter
    other = governed.name()
    edit = ("--set", f"entity_id={other}", "--set", "native_status=DELIVERED")
    place = ("--set", "stop.location=C-ATL", "--go", "--why", "a digit was wrong")
    assert milepost("dead-letters", "repair", "--id", name, *edit, *place).code == 0
    governed.watch.until(lambda: governed.story(other))
    assert governed.verify().violations == []


def test_a_clock_that_ran_ahead_is_offered_its_shift(governed, milepost):
    shipment = governed.name()
    event = governed.event(shipment, "DELIVERED", stop=None)
    ahead = event["occurred"] + 7_200_000
    governed.fates(governed.send(event | {"occurred": ahead}))
    (found,) = listed(milepost, shipment)
    told = milepost("dead-letters", "show", found["id"])
    assert f"milepost dead-letters repair --id {found['id']} --shift=-" in told.out


def test_an_edit_that_can_not_be_made_is_wrong_use(governed, milepost):
    told = milepost("dead-letters", "repair", "--set", "platform=tms-eu")
    assert (told.code, told.out) == (2, "")
    assert "fields are account, entity_type" in told.err
    assert milepost("dead-letters", "repair").code == 2
    told = milepost("dead-letters", "repair", "--shift=-2h", "--go")
    assert (told.code, "--why" in told.err) == (2, True)
