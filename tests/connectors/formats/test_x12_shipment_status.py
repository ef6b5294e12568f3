"""The 214: one claim for each AT7, native codes untouched."""

import pytest
from x12_text import codes, interchange, read, read_status

from connectors.formats.codes import Action, Code

AT7 = "AT7*D1*NS***20260301*1630*LT"


def claims(*segments, **given):
    return [claim.record for claim in read_status(*segments, **given).claims]


def with_heading(*heading, events=("LX*1", AT7), **given):
    given.setdefault("time_zone", "America/New_York")
    lines = ["ST*214*0001", *heading, *events]
    text = interchange([*lines, f"SE*{len(lines) + 1}*0001"])
    return read(text, **given)


def test_each_status_is_a_claim_numbered_in_the_document():
    found = claims("LX*1", AT7, "LX*2", AT7, "AT7*X1*NS***20260301*1600*LT")
    assert [record["event_id"] for record in found] == [
        f"SENDER:RECEIVER:260301:000000001/7/0001#{n}" for n in (1, 2, 3)
    ]
    assert [record["native_status"] for record in found] == ["D1", "D1", "X1"]
    assert [record["sequence"] for record in found] == [1, 2, 3]


def test_ids_of_events_stay_where_an_earlier_one_is_rejected():
    found = claims("LX*1", "AT7*D1*NS***20260231*1630*LT", AT7)
    assert [record["event_id"][-2:] for record in found] == ["#2"]


def test_codes_are_as_written_even_unknown_ones():
    found = claims("LX*1", "AT7*ZZ*Q9***20260301*1630*LT")
    assert (found[0]["native_status"], found[0]["native_reason"]) == ("ZZ", "Q9")
    assert found[0]["classifier"] == "ACTUAL"


def test_an_appointment_is_told_by_its_qualifier():
    (record,) = claims("LX*1", "AT7***AB*NA*20260301*1630*LT")
    assert record["native_status"] == "AB"
    assert record["native_reason"] == "NA"
    assert record["native_qualifier"] == "APPOINTMENT"
    assert record["classifier"] == "PLANNED"


def test_status_and_appointment_in_one_segment():
    reading = read_status("LX*1", "AT7*D1*NS*AB*NA*20260301*1630*ET")
    assert codes(reading.findings) == ["status_and_appointment"]
    assert reading.claims[0].record["native_status"] == "D1"
    assert reading.claims[0].record["attributes"]["appointment"] == "AB NA"


def test_a_segment_without_a_status_is_a_finding():
    reading = read_status("LX*1", "AT7*****20260301*1630*LT", AT7)
    assert "status_missing" in codes(reading.findings)
    assert len(reading.claims) == 1
    assert reading.rejected_events == 1


def test_shipment_and_references():
    (record,) = with_heading(
        "B10*PRO9*SHIP9*ABCD",
        "L11*BOL1*BM",
        "L11*PO1*PO",
        "L11*CUST1*CR",
        "L11**ZZ",
        events=("LX*1", AT7, "L11*BOL1*BM", "L11*OTHER*CN"),
    ).claims[0][:1]
    assert (record["entity_type"], record["entity_id"]) == ("shipment", "SHIP9")
    assert [tuple(reference.values()) for reference in record["references"]] == [
        ("PRO", "ABCD", "PRO9"),
        ("BOL", "", "BOL1"),
        ("PO", "", "PO1"),
        ("CR", "", "CUST1"),
        ("PRO", "ABCD", "OTHER"),
    ]


def test_a_carrier_that_only_knows_its_own_number():
    record = with_heading("B10*PRO9**ABCD").claims[0].record
    assert record["entity_type"] is None
    assert record["entity_id"] is None
    assert record["reference"] == {"kind": "PRO", "scope": "ABCD", "value": "PRO9"}


def test_neither_number_rejects_the_set():
    reading = with_heading("B10***ABCD")
    assert codes(reading.findings) == ["shipment_id_missing"]
    assert reading.rejected_events == 1
    assert with_heading("N1*DT*RNO").findings[0].code is Code.HEADING_MISSING


def test_a_set_without_events_is_said_to_be_so():
    assert codes(read_status("LX*1").findings) == ["no_events"]


def test_the_only_terminal_is_the_place():
    record = with_heading("B10*P*S*ABCD", "N1*OT*SFO", "N1*EY*JOE").claims[0].record
    assert record["stop"]["role"] == "ORIGIN"
    assert record["stop"]["location"] == "SFO"


@pytest.mark.parametrize(
    ("party", "role"),
    [
        ("OT", "ORIGIN"),
        ("SH", "ORIGIN"),
        ("SF", "ORIGIN"),
        ("DT", "DESTINATION"),
        ("CN", "DESTINATION"),
        ("ST", "DESTINATION"),
    ],
)
def test_roles_of_parties(party, role):
    heading = ("B10*P*S*ABCD", f"N1*{party}*NAME*93*CODE7", "N4*RENO*NV*89501*US")
    stop = with_heading(*heading).claims[0].record["stop"]
    assert stop == {
        "number": None,
        "role": role,
        "location": "CODE7",
        "name": "NAME",
        "city": "RENO",
        "subdivision": "NV",
        "country": "US",
    }


BOTH = (
    "B10*P*S*ABCD",
    "N1*SH*SHIPPER*93*A1",
    "N4*RUMFORD*ME*04276",
    "N1*CN*CONSIGNEE*93*B2",
    "N4*BRATTLEBORO*VT*05301",
    "N1*BT*PAYER",
    "N4*BRATTLEBORO*VT*05301",
)


def test_the_town_of_a_status_finds_its_place():
    events = ("LX*1", AT7, "MS1*Brattleboro*VT", "AT7*AF*NS***20260301*0900*LT", "MS1*RUMFORD*ME")
    found = with_heading(*BOTH, events=events, country="US").claims
    assert [claim.record["stop"]["role"] for claim in found] == ["DESTINATION", "ORIGIN"]
    assert [claim.record["stop"]["location"] for claim in found] == ["B2", "A1"]
    assert [claim.record["stop"]["country"] for claim in found] == ["US", "US"]


def test_a_town_on_the_way_has_no_role():
    events = ("LX*1", "AT7*X6*NS***20260301*0900*LT", "MS1*ALBANY*NY*US")
    stop = with_heading(*BOTH, events=events).claims[0].record["stop"]
    assert (stop["city"], stop["role"], stop["location"]) == ("ALBANY", None, None)


def test_a_town_with_shipper_and_consignee_says_no_role():
    heading = (*BOTH[:3], "N1*CN*CONSIGNEE", "N4*RUMFORD*ME")
    stop = with_heading(*heading, events=("LX*1", AT7, "MS1*RUMFORD*ME")).claims[0].record["stop"]
    assert stop["role"] is None


def test_without_a_town_two_places_are_not_chosen_between():
    reading = with_heading(*BOTH)
    assert "stop_ambiguous" in codes(reading.findings)
    assert reading.claims[0].record["stop"] is None
    strict = with_heading(*BOTH, actions={Code.STOP_AMBIGUOUS: Action.REJECT_EVENT})
    assert strict.claims == ()


def test_a_stop_number_is_kept():
    stop = with_heading(*BOTH, events=("LX*1", "L11*2*QN", AT7)).claims[0].record["stop"]
    assert stop["number"] == 2


def test_longitude_and_latitude():
    (record,) = claims("LX*1", AT7, "MS1****0895230*0301530*W*N")
    assert record["attributes"]["longitude"] == "-89.87500"
    assert record["attributes"]["latitude"] == "30.25833"
    assert record["stop"] is None
    (record,) = claims("LX*1", AT7, "MS1*********-89.875*30.2583")
    assert record["attributes"]["longitude"] == "-89.87500"


@pytest.mark.parametrize(
    "town", ["MS1****ABC*0301530*W*N", "MS1****0895230*0301530*X*N", "MS1****9995230*0301530*W*N"]
)
def test_a_bad_position_is_a_finding_and_the_event_stays(town):
    reading = read_status("LX*1", "AT7*D1*NS***20260301*1630*ET", town)
    assert codes(reading.findings) == ["position_invalid"]
    assert "longitude" not in reading.claims[0].record["attributes"]


def test_what_else_the_carrier_sent_is_kept():
    (record,) = claims(
        "LX*1",
        AT7,
        "MS1*RENO*NV",
        "MS2*ABCD*30402",
        "Q7*S*PCS*2",
        "AT8*G*L*320*4",
        "K1*LEFT AT*DOCK",
    )
    assert record["attributes"] == {
        "document": "214",
        "version": "004010",
        "scac": "ABCD",
        "equipment_owner": "ABCD",
        "equipment": "30402",
        "lading_exception_S": "2 PCS",
        "weight_G": "320 L",
        "lading_quantity": "4",
        "remark": "LEFT AT DOCK",
    }


def test_a_status_without_a_loop_is_read():
    assert len(claims(AT7, AT7)) == 2


def test_more_references_than_make_sense_are_cut_and_said_to_be():
    reading = read_status("LX*1", AT7, *(f"L11*R{n}*ZZ" for n in range(400)))
    assert "detail_left_out" in codes(reading.findings)
    assert len(reading.claims[0].record["references"]) == 301


def test_when_it_was_recorded():
    assert read_status(AT7).claims[0].record["recorded"] == 1_772_370_000_000
    nowhere = read_status("AT7*D1*NS***20260301*1630*UT", time_zone=None)
    assert nowhere.claims[0].record["recorded"] is None
    assert codes(nowhere.findings) == ["recorded_unusable"]
