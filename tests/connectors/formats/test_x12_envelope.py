"""Faults of the envelope are findings with code, position and policy; reading goes on."""

import pytest
from x12_text import codes, interchange, read, status_set

from connectors.formats import x12
from connectors.formats.codes import MEANINGS, Action, Code

EVENT = ("LX*1", "AT7*D1*NS***20260301*1630*ET")
ONE = status_set(*EVENT, control="0001")
TWO = status_set(*EVENT, control="0002")
GOOD = interchange(ONE, TWO)


def changed(*replacements):
    text = GOOD
    for old, new in replacements:
        assert old in text
        text = text.replace(old, new, 1)
    return text


def found(text, **given):
    return read(text, time_zone="America/New_York", **given)


def test_a_right_envelope_has_no_findings():
    reading = found(GOOD)
    assert reading.findings == ()
    assert len(reading.claims) == 2
    assert reading.complete


FAULTS = [
    # code, what is changed, position of the finding, claims that are left by default
    ("segment_count_mismatch", [("SE*6*0001", "SE*7*0001")], (1, 8, "SE", 1), 1),
    ("segment_count_mismatch", [("SE*6*0001", "SE*X*0001")], (1, 8, "SE", 1), 1),
    ("set_control_mismatch", [("SE*6*0001", "SE*6*0001 N/L")], (1, 8, "SE", 2), 1),
    ("set_control_mismatch", [("SE*6*0001", "SE*6")], (1, 8, "SE", 2), 1),
    ("set_trailer_missing", [("SE*6*0001~\n", "")], (1, 3, "ST", None), 1),
    ("set_count_mismatch", [("GE*2", "GE*3")], (None, 15, "GE", 1), 0),
    ("group_control_mismatch", [("GE*2*7", "GE*2*8")], (None, 15, "GE", 2), 0),
    ("group_trailer_missing", [("GE*2*7~\n", "")], (None, 2, "GS", None), 0),
    ("group_count_mismatch", [("IEA*1", "IEA*2")], (None, 16, "IEA", 1), 0),
    ("interchange_control_mismatch", [("IEA*1*000000001", "IEA*1*2")], (None, 16, "IEA", 2), 0),
    ("interchange_trailer_missing", [("IEA*1*000000001~\n", "")], (None, 1, "ISA", None), 0),
    ("group_type_mismatch", [("GS*QM", "GS*IM")], (1, 3, "ST", 1), 2),
    ("segment_outside_set", [("GE*2", "ZZZ*1~GE*2")], (None, 15, "ZZZ", None), 2),
    ("segment_id_invalid", [("LX*1", "hello*1")], (1, 6, None, None), 2),
    ("test_interchange", [("*0*P*:", "*0*T*:")], (None, 1, "ISA", 15), 2),
]


@pytest.mark.parametrize(("code", "changes", "position", "left"), FAULTS)
def test_a_fault_is_a_finding_with_its_position(code, changes, position, left):
    reading = found(changed(*changes))
    finding = reading.findings[0]
    assert str(finding.code) == code
    assert (
        finding.position.set,
        finding.position.segment,
        finding.position.name,
        finding.position.element,
    ) == position
    assert len(reading.claims) == left
    assert reading.complete == (left == 2)
    assert len(reading.claims) + reading.rejected_events == 2


@pytest.mark.parametrize(("code", "changes", "position", "left"), FAULTS)
def test_a_policy_can_accept_every_fault_of_the_envelope(code, changes, position, left):
    actions = {code: Action.WARN for code in Code if MEANINGS[code].mildest is Action.ACCEPT}
    reading = found(changed(*changes), actions=actions)
    assert len(reading.claims) == 2
    assert reading.complete
    assert {finding.action.severity for finding in reading.findings} == {"warning"}


def test_a_policy_can_reject_all_for_what_is_a_warning_elsewhere():
    reading = found(
        changed(("GS*QM", "GS*IM")),
        actions={Code.GROUP_TYPE_MISMATCH: Action.REJECT_INTERCHANGE},
    )
    assert reading.claims == ()
    assert reading.rejected_events == 2


def test_leading_zeros_of_numbers_do_not_matter():
    assert found(changed(("SE*6*0001", "SE*06*1"))).findings == ()


def test_sets_without_a_group():
    text = changed(("GS*QM*SENDER*RECEIVER*20260301*0800*7*X*004010~\n", ""))
    reading = found(text)
    assert codes(reading.findings)[0] == "group_header_missing"
    assert len(reading.claims) == 2


def test_several_groups_and_interchanges():
    second = interchange(TWO, control="000000002").replace("GE*1*7", "GE*1*7")
    document = x12.parse((GOOD + second).encode())
    assert [one.control for one in document.interchanges] == ["000000001", "000000002"]
    assert [one.position.interchange for one in document.interchanges] == [1, 2]


def test_a_repeated_interchange_of_a_file_is_not_taken_twice():
    document = x12.parse((GOOD + GOOD).encode())
    first, second = document.interchanges
    assert codes(first.findings) == []
    assert codes(second.findings) == ["duplicate_interchange"]
    ids = [s.document_id for one in (first, second) for s in one.groups[0].sets]
    assert len(set(ids)) == 4


def test_a_repeated_set_number_gets_an_id_of_its_own():
    reading = found(interchange(ONE, ONE), actions={Code.DUPLICATE_SET: Action.WARN})
    assert codes(reading.findings) == ["duplicate_set"]
    assert [claim.record["event_id"] for claim in reading.claims] == [
        "SENDER:RECEIVER:260301:000000001/7/0001#1",
        "SENDER:RECEIVER:260301:000000001/7/0001~2#1",
    ]


def test_without_control_numbers_the_content_makes_the_id():
    actions = {Code.SET_CONTROL_MISSING: Action.WARN, Code.SET_CONTROL_MISMATCH: Action.WARN}
    other = status_set("LX*1", "AT7*X3*NS***20260301*0900*ET", control="0001")

    def event_id(one):
        text = interchange(one).replace("ST*214*0001", "ST*214").replace("*0001~", "*~")
        return found(text, actions=actions).claims[0].record["event_id"]

    assert event_id(ONE) == event_id(ONE)
    assert event_id(ONE) != event_id(other)


def test_other_transaction_sets_are_named():
    reading = found(changed(("ST*214*0002", "ST*315*0002"), ("GS*QM", "GS*QO")))
    assert "set_not_expected" in codes(reading.findings)
    assert len(reading.claims) == 1


def test_a_file_without_an_interchange():
    for data in (b"", b"hello", b"UNA:+.? 'UNB+UNOC:3", b"\x00" * 100):
        assert "not_x12" in codes(x12.parse(data).findings)


def test_findings_speak_to_a_clerk():
    finding = found(changed(("SE*6*0001", "SE*6*0001 N/L"))).findings[0]
    assert str(finding) == (
        "interchange 1, set 1, segment 8 (SE), element 2: The transaction set is closed with "
        "another control number than it was opened with (ST02 0001, SE02 0001 N/L); "
        "the transaction set was not taken. Remedy: ask the partner to send it again."
    )
    assert finding.document()["severity"] == "error"
    assert finding.document()["position"] == {
        "interchange": 1,
        "group": 1,
        "set": 1,
        "segment": 8,
        "name": "SE",
        "element": 2,
    }


def test_every_code_has_a_meaning_that_its_default_respects():
    assert set(MEANINGS) == set(Code)
    order = list(Action)
    for meaning in MEANINGS.values():
        assert order.index(meaning.default) >= order.index(meaning.mildest)
        assert not meaning.text.endswith(".")
        assert not meaning.remedy.endswith(".")
