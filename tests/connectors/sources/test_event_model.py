"""The JSON form of a raw event, made from the schema."""

from datetime import UTC, datetime

import pytest
from pydantic import ValidationError

from connectors.formats.reading import raw_event, stop
from connectors.sources.event_model import event_model, to_record
from pipeline.contract import codec

LEAST = {
    "event_id": "e1",
    "platform": "tms-na",
    "native_status": "SHIPPED",
    "occurred": "2026-03-01T08:00:00-08:00",
}


def record(**given):
    return to_record(event_model().model_validate(LEAST | given))


def ms(text):
    return int(datetime.fromisoformat(text).replace(tzinfo=UTC).timestamp() * 1000)


def complaint(**given):
    with pytest.raises(ValidationError) as caught:
        event_model().model_validate(LEAST | given)
    return [(".".join(map(str, item["loc"])), item["msg"]) for item in caught.value.errors()]


def test_the_least_event_has_every_other_field_at_its_default():
    assert record() == raw_event(
        event_id="e1",
        platform="tms-na",
        native_status="SHIPPED",
        classifier="UNRECOGNISED",
        occurred=ms("2026-03-01T16:00"),
        occurred_precision="SECOND",
        occurred_offset_minutes=-480,
    )


def test_a_full_event_can_be_encoded():
    full = record(
        entity_type="shipment",
        entity_id="S1",
        reference={"kind": "PRO", "value": "1"},
        classifier="ACTUAL",
        recorded="2026-03-01T16:00Z",
        stop={"number": 1, "role": "ORIGIN", "city": "Reno"},
        quantity={"value": "12.5", "unit": "EA", "basis": "DELTA"},
        amount="-12.50",
        currency="EUR",
        orders=["O1"],
        stops=[{"number": 1}],
        references=[{"kind": "BOL", "scope": "x", "value": "2"}],
        attributes={"a": "b"},
    )
    assert full["amount"] == -125_000
    assert full["quantity"]["value"] == 12_500_000
    assert full["reference"] == {"kind": "PRO", "scope": "", "value": "1"}
    assert full["stops"] == [stop(number=1)]
    schema = codec.committed("raw-event")
    assert codec.decode(codec.encode(full, schema, 1), schema) == full


@pytest.mark.parametrize(
    ("text", "precision", "offset", "at"),
    [
        ("2026-03-01T08:00-08:00", "MINUTE", -480, "2026-03-01T16:00"),
        ("2026-03-01T08:00:30Z", "SECOND", 0, "2026-03-01T08:00:30"),
        ("2026-03-01 08:00:30.5+05:30", "MILLISECOND", 330, "2026-03-01T02:30:30.500"),
        ("2026-03-01T08:00:00.123456789+01", "MILLISECOND", 60, "2026-03-01T07:00:00.123"),
    ],
)
def test_precision_and_offset_are_those_of_the_text(text, precision, offset, at):
    found = record(occurred=text)
    assert found["occurred"] == ms(at)
    assert (found["occurred_precision"], found["occurred_offset_minutes"]) == (precision, offset)


def test_precision_and_offset_that_are_given_stay():
    found = record(occurred_precision="DAY", occurred_offset_minutes=60)
    assert (found["occurred_precision"], found["occurred_offset_minutes"]) == ("DAY", 60)


@pytest.mark.parametrize(
    ("given", "field", "says"),
    [
        ({"occurred": "2026-03-01T08:00:00"}, "occurred", "with its offset"),
        ({"occurred": "2026-03-01"}, "occurred", "with its offset"),
        ({"occurred": 1_700_000_000}, "occurred", "as a string"),
        ({"occurred": "2026-02-30T08:00Z"}, "occurred", "no such date"),
        ({"amount": 12.5}, "amount", "JSON numbers lose digits"),
        ({"amount": "12.50001"}, "amount", "decimal places"),
        ({"amount": "1e400"}, "amount", "digits before the point"),
        ({"amount": "NaN"}, "amount", "no number"),
        ({"amount": "x"}, "amount", "no number"),
        ({"event_id": 7}, "event_id", "string"),
        ({"event_id": "x" * 2_001}, "event_id", "2000"),
        ({"classifier": "ACT"}, "classifier", "ACTUAL"),
        ({"sequence": "1"}, "sequence", "integer"),
        ({"sequence": 2**63}, "sequence", "less than"),
        ({"statuss": "x"}, "statuss", "Extra"),
        ({"stop": {"role": 1}}, "stop.role", "string"),
        ({"orders": ["x"] * 501}, "orders", "500"),
        ({"attributes": {"a": 1}}, "attributes.a", "string"),
    ],
)
def test_what_is_wrong_is_named(given, field, says):
    ((where, message),) = complaint(**given)
    assert where == field
    assert says in message


def test_what_is_missing_is_named():
    with pytest.raises(ValidationError) as caught:
        event_model().model_validate({})
    missing = {item["loc"][0] for item in caught.value.errors()}
    assert missing == {"event_id", "platform", "native_status", "occurred"}
