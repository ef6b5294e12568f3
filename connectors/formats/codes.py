"""The closed list of finding codes, and one table that says what each of them means.

For each code: what it says to a person, what a clerk can do, which of a profile's policies it
belongs to, what is done unless the profile says otherwise, and the mildest action that makes
sense. Must never know a format's syntax.
"""

from __future__ import annotations

from collections.abc import Mapping
from enum import StrEnum
from typing import Final, NamedTuple


class Action(StrEnum):
    """What is done about a finding, from mild to strict."""

    ACCEPT = "accept"
    WARN = "warn"
    REJECT_EVENT = "reject_event"
    REJECT_SET = "reject_set"
    REJECT_INTERCHANGE = "reject_interchange"

    @property
    def rejects(self) -> bool:
        """Whether something of the document does not become claims."""
        return self not in (Action.ACCEPT, Action.WARN)

    @property
    def severity(self) -> str:
        """`info`, `warning` or `error`."""
        if self.rejects:
            return "error"
        return "warning" if self is Action.WARN else "info"


STRICTNESS: Final = {action: rank for rank, action in enumerate(Action)}
"""Rank of each action; the greater is the stricter."""


class Code(StrEnum):
    """Every finding there is."""

    # the file
    NOT_X12 = "not_x12"
    LIMIT_EXCEEDED = "limit_exceeded"
    RECORD_REFUSED = "record_refused"
    PARTNER_UNKNOWN = "partner_unknown"
    LATIN_1 = "latin_1"
    TEXT_OUTSIDE_INTERCHANGE = "text_outside_interchange"
    # the interchange
    ISA_UNREADABLE = "isa_unreadable"
    ISA_MALFORMED = "isa_malformed"
    ISA_UNPADDED = "isa_unpadded"
    TEST_INTERCHANGE = "test_interchange"
    INTERCHANGE_TRAILER_MISSING = "interchange_trailer_missing"
    INTERCHANGE_CONTROL_MISMATCH = "interchange_control_mismatch"
    INTERCHANGE_CONTROL_MISSING = "interchange_control_missing"
    DUPLICATE_INTERCHANGE = "duplicate_interchange"
    GROUP_COUNT_MISMATCH = "group_count_mismatch"
    # the functional group
    GROUP_HEADER_MISSING = "group_header_missing"
    GROUP_TRAILER_MISSING = "group_trailer_missing"
    GROUP_CONTROL_MISMATCH = "group_control_mismatch"
    SET_COUNT_MISMATCH = "set_count_mismatch"
    # the transaction set
    SET_TRAILER_MISSING = "set_trailer_missing"
    SET_CONTROL_MISMATCH = "set_control_mismatch"
    SET_CONTROL_MISSING = "set_control_missing"
    DUPLICATE_SET = "duplicate_set"
    SEGMENT_COUNT_MISMATCH = "segment_count_mismatch"
    GROUP_TYPE_MISMATCH = "group_type_mismatch"
    SET_NOT_EXPECTED = "set_not_expected"
    # segments
    SEGMENT_OUTSIDE_SET = "segment_outside_set"
    SEGMENT_UNTERMINATED = "segment_unterminated"
    SEGMENT_ID_INVALID = "segment_id_invalid"
    # what a set says
    HEADING_MISSING = "heading_missing"
    SHIPMENT_ID_MISSING = "shipment_id_missing"
    NO_EVENTS = "no_events"
    STATUS_MISSING = "status_missing"
    STATUS_AND_APPOINTMENT = "status_and_appointment"
    STOP_AMBIGUOUS = "stop_ambiguous"
    POSITION_INVALID = "position_invalid"
    DETAIL_LEFT_OUT = "detail_left_out"
    # times
    DATE_MISSING = "date_missing"
    TIME_MISSING = "time_missing"
    TIME_IMPOSSIBLE = "time_impossible"
    TIME_IN_GAP = "time_in_gap"
    TIME_AMBIGUOUS = "time_ambiguous"
    ZONE_CODE_UNKNOWN = "zone_code_unknown"
    ZONE_UNRESOLVED = "zone_unresolved"
    ZONE_ASSUMED = "zone_assumed"
    ZONE_CONTRADICTS_STOP = "zone_contradicts_stop"
    RECORDED_UNUSABLE = "recorded_unusable"


class Family(StrEnum):
    """Which of a profile's policies a code belongs to."""

    ENVELOPE = "envelope"
    CONTENT = "content"
    TIME = "time"


class Meaning(NamedTuple):
    """What a finding says to a person, and what is done unless a profile says otherwise."""

    text: str
    remedy: str
    family: Family
    default: Action
    mildest: Action = Action.ACCEPT
    """Below this there would be nothing sound to go on with."""


_ENVELOPE, _CONTENT, _TIME = Family.ENVELOPE, Family.CONTENT, Family.TIME
_RESEND = "ask the partner to send it again"
_COUNTS = "ask the partner whether something is missing"
_REPAIR = "ask the partner for the right value"

MEANINGS: Final[Mapping[Code, Meaning]] = {
    Code.NOT_X12: Meaning(
        "No interchange begins anywhere in the file",
        "see what the file is; if it is an X12 document, ask the partner to send it as plain text",
        _ENVELOPE,
        Action.REJECT_INTERCHANGE,
        Action.REJECT_INTERCHANGE,
    ),
    Code.LIMIT_EXCEEDED: Meaning(
        "The file is larger than is read",
        "ask the partner to send it in parts",
        _ENVELOPE,
        Action.REJECT_INTERCHANGE,
        Action.REJECT_INTERCHANGE,
    ),
    Code.RECORD_REFUSED: Meaning(
        "An event of the file could not be sent on and never can be",
        "show this to who runs Milepost; after the repair put the file into the mailbox again",
        _ENVELOPE,
        Action.REJECT_INTERCHANGE,
        Action.REJECT_INTERCHANGE,
    ),
    Code.PARTNER_UNKNOWN: Meaning(
        "No partner profile has this sender",
        "add the sender to a profile under partners/, then put the file into the mailbox again",
        _ENVELOPE,
        Action.REJECT_INTERCHANGE,
        Action.REJECT_INTERCHANGE,
    ),
    Code.LATIN_1: Meaning(
        "The text is not UTF-8 and was read as Latin-1",
        "check names with accents; nothing else is affected",
        _ENVELOPE,
        Action.ACCEPT,
    ),
    Code.TEXT_OUTSIDE_INTERCHANGE: Meaning(
        "There is text before, between or after the interchanges",
        "see whether it is a mail footer or part of a document",
        _ENVELOPE,
        Action.WARN,
    ),
    Code.ISA_UNREADABLE: Meaning(
        "An interchange begins here, but its header can't be made out",
        _RESEND,
        _ENVELOPE,
        Action.REJECT_INTERCHANGE,
        Action.REJECT_INTERCHANGE,
    ),
    Code.ISA_MALFORMED: Meaning(
        "The interchange header has not its 16 elements",
        _RESEND,
        _ENVELOPE,
        Action.REJECT_INTERCHANGE,
    ),
    Code.ISA_UNPADDED: Meaning(
        "Elements of the interchange header are not padded to their fixed widths",
        "nothing to do: it is read by its delimiters",
        _ENVELOPE,
        Action.ACCEPT,
    ),
    Code.TEST_INTERCHANGE: Meaning(
        "The interchange is marked as test data (ISA15 = T)",
        "ask the partner whether these are real shipments",
        _ENVELOPE,
        Action.WARN,
    ),
    Code.INTERCHANGE_TRAILER_MISSING: Meaning(
        "The interchange has no trailer (IEA): the file may have been cut off",
        _RESEND,
        _ENVELOPE,
        Action.REJECT_INTERCHANGE,
    ),
    Code.INTERCHANGE_CONTROL_MISMATCH: Meaning(
        "The interchange is closed with another control number than it was opened with",
        _RESEND,
        _ENVELOPE,
        Action.REJECT_INTERCHANGE,
    ),
    Code.INTERCHANGE_CONTROL_MISSING: Meaning(
        "The interchange has no control number (ISA13)",
        _RESEND,
        _ENVELOPE,
        Action.REJECT_INTERCHANGE,
    ),
    Code.DUPLICATE_INTERCHANGE: Meaning(
        "The file holds this interchange control number twice",
        "compare the two; send the second again under a new number if it says something else",
        _ENVELOPE,
        Action.REJECT_INTERCHANGE,
    ),
    Code.GROUP_COUNT_MISMATCH: Meaning(
        "The interchange does not hold as many groups as its trailer says",
        _COUNTS,
        _ENVELOPE,
        Action.REJECT_INTERCHANGE,
    ),
    Code.GROUP_HEADER_MISSING: Meaning(
        "Transaction sets stand outside of any functional group", _RESEND, _ENVELOPE, Action.WARN
    ),
    Code.GROUP_TRAILER_MISSING: Meaning(
        "The functional group has no trailer (GE)", _RESEND, _ENVELOPE, Action.REJECT_SET
    ),
    Code.GROUP_CONTROL_MISMATCH: Meaning(
        "The group is closed with another control number than it was opened with",
        _RESEND,
        _ENVELOPE,
        Action.REJECT_SET,
    ),
    Code.SET_COUNT_MISMATCH: Meaning(
        "The group does not hold as many transaction sets as its trailer says",
        _COUNTS,
        _ENVELOPE,
        Action.REJECT_SET,
    ),
    Code.SET_TRAILER_MISSING: Meaning(
        "The transaction set has no trailer (SE)", _RESEND, _ENVELOPE, Action.REJECT_SET
    ),
    Code.SET_CONTROL_MISMATCH: Meaning(
        "The transaction set is closed with another control number than it was opened with",
        _RESEND,
        _ENVELOPE,
        Action.REJECT_SET,
    ),
    Code.SET_CONTROL_MISSING: Meaning(
        "The transaction set has no control number (ST02)", _RESEND, _ENVELOPE, Action.REJECT_SET
    ),
    Code.DUPLICATE_SET: Meaning(
        "The group holds this set control number twice",
        "compare the two; send the second again under a new number if it says something else",
        _ENVELOPE,
        Action.REJECT_SET,
    ),
    Code.SEGMENT_COUNT_MISMATCH: Meaning(
        "The transaction set does not hold as many segments as its trailer says",
        _COUNTS,
        _ENVELOPE,
        Action.REJECT_SET,
    ),
    Code.GROUP_TYPE_MISMATCH: Meaning(
        "The group's type (GS01) is not that of its transaction set (ST01)",
        "tell the partner; the transaction set is read for what it says it is",
        _ENVELOPE,
        Action.WARN,
    ),
    Code.SET_NOT_EXPECTED: Meaning(
        "This kind of transaction set is not read from this partner",
        "take it to who expects it, or add it to `sets` in the partner's profile",
        _ENVELOPE,
        Action.REJECT_SET,
        Action.REJECT_SET,
    ),
    Code.SEGMENT_OUTSIDE_SET: Meaning(
        "A segment stands outside of any transaction set", _COUNTS, _ENVELOPE, Action.WARN
    ),
    Code.SEGMENT_UNTERMINATED: Meaning(
        "The file ends within a segment: it may have been cut off", _RESEND, _ENVELOPE, Action.WARN
    ),
    Code.SEGMENT_ID_INVALID: Meaning(
        "A segment does not begin with a segment name",
        "see whether a delimiter stands inside of a value",
        _ENVELOPE,
        Action.WARN,
    ),
    Code.HEADING_MISSING: Meaning(
        "The transaction set lacks its beginning segment",
        _RESEND,
        _CONTENT,
        Action.REJECT_SET,
        Action.REJECT_SET,
    ),
    Code.SHIPMENT_ID_MISSING: Meaning(
        "The transaction set names neither a shipment nor the carrier's own number",
        _REPAIR,
        _CONTENT,
        Action.REJECT_SET,
        Action.REJECT_SET,
    ),
    Code.NO_EVENTS: Meaning(
        "The transaction set reports no status", "nothing to do", _CONTENT, Action.WARN
    ),
    Code.STATUS_MISSING: Meaning(
        "A status segment names neither a status nor an appointment",
        _REPAIR,
        _CONTENT,
        Action.REJECT_EVENT,
        Action.REJECT_EVENT,
    ),
    Code.STATUS_AND_APPOINTMENT: Meaning(
        "One segment names a status and an appointment; the status is taken",
        "ask the partner which of the two is meant",
        _CONTENT,
        Action.WARN,
    ),
    Code.STOP_AMBIGUOUS: Meaning(
        "The status does not say at which of several places it happened",
        "ask the partner to state the place with each status (MS1)",
        _CONTENT,
        Action.ACCEPT,
    ),
    Code.POSITION_INVALID: Meaning(
        "Longitude and latitude can't be read", _REPAIR, _CONTENT, Action.WARN
    ),
    Code.DETAIL_LEFT_OUT: Meaning(
        "There are more places, references or remarks than are kept; the first ones are",
        "ask the partner whether they all belong to one shipment",
        _CONTENT,
        Action.WARN,
    ),
    Code.DATE_MISSING: Meaning(
        "The status has no date", _REPAIR, _TIME, Action.REJECT_EVENT, Action.REJECT_EVENT
    ),
    Code.TIME_MISSING: Meaning(
        "The status has a date but no time: it is taken as that whole day",
        _REPAIR,
        _TIME,
        Action.WARN,
    ),
    Code.TIME_IMPOSSIBLE: Meaning(
        "The date or time does not exist", _REPAIR, _TIME, Action.REJECT_EVENT, Action.REJECT_EVENT
    ),
    Code.TIME_IN_GAP: Meaning(
        "The local time was skipped when summer time began there",
        _REPAIR,
        _TIME,
        Action.REJECT_EVENT,
        Action.REJECT_EVENT,
    ),
    Code.TIME_AMBIGUOUS: Meaning(
        "The local time came twice when summer time ended there",
        "ask the partner which of the two is meant, or for times with an offset",
        _TIME,
        Action.REJECT_EVENT,
        Action.REJECT_EVENT,
    ),
    Code.ZONE_CODE_UNKNOWN: Meaning(
        "The time zone code is not in the standard",
        _REPAIR,
        _TIME,
        Action.REJECT_EVENT,
        Action.REJECT_EVENT,
    ),
    Code.ZONE_UNRESOLVED: Meaning(
        "The time is local to a place whose time zone is not known",
        "add the place to policy/sites.yaml, or `time_zone` to the partner's profile",
        _TIME,
        Action.REJECT_EVENT,
        Action.REJECT_EVENT,
    ),
    Code.ZONE_ASSUMED: Meaning(
        "The place's time zone is not known; the partner's was taken",
        "add the place to policy/sites.yaml",
        _TIME,
        Action.WARN,
    ),
    Code.ZONE_CONTRADICTS_STOP: Meaning(
        "The stated zone is not the one in force at the place; the stated one was taken",
        "ask the partner whether it means local time",
        _TIME,
        Action.WARN,
    ),
    Code.RECORDED_UNUSABLE: Meaning(
        "When the document was written can't be told from it", "nothing to do", _TIME, Action.ACCEPT
    ),
}
