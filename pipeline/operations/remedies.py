"""What to do about a reason: whose turn it is, in a sentence, and a command to begin with.

For commands that explain, and for platform teams who want to know what to fix. What a reason means
is governance's. Must never know how a reason comes about.
"""

from __future__ import annotations

from typing import Final, NamedTuple

from pipeline.governance.reasons import MEANINGS, FailureClass, Reason

SENDER, OWNER, OPERATOR, NOBODY = "its sender", "the policy's owner", "an operator", "nobody"
_WAITED: Final = "whoever knows what it waits for"
_TURNS: Final = {
    FailureClass.DATA: SENDER,
    FailureClass.POLICY: _WAITED,
    FailureClass.CONFIG: OWNER,
}

_SHOW = "milepost audit show acme/shipment/S-1001"
_LETTERS = "milepost dead-letters list --reason {reason}"
_REPLAY = "milepost dead-letters replay --reason {reason}"
_TABLE = "milepost policy table --tenant acme"
_EXPLAIN = "milepost policy explain event.json"
_CLAIMS = "milepost claims --platform tms-na"
_AT_HUB = "milepost dead-letters repair --id 2:117 --set stop.location=DAL1"
_SHIFT = "milepost dead-letters repair --reason {reason} --platform tms-na --shift=-2h"


class Remedy(NamedTuple):
    """What a person may do; both texts are for all claims of that reason."""

    todo: str
    command: str
    turn: str
    """Whose turn it is."""


def _nothing(todo: str, command: str = _SHOW, turn: str = NOBODY) -> tuple[str, str, str]:
    return todo, command, turn


_R = Reason
_GIVEN: Final[dict[Reason, tuple[str, str] | tuple[str, str, str]]] = {
    # what stands
    _R.OWNER_SPOKE: _nothing("Nothing: it stands"),
    _R.OWNER_CORRECTED: _nothing("Nothing: the newer word stands"),
    _R.OWNER_CONFIRMED_DEPUTY: _nothing("Nothing: what was provisional is vouched for now"),
    _R.OWNER_CORRECTED_DEPUTY: _nothing("Nothing here; if it is often so, ask the deputy why"),
    _R.OWNER_CHANGED: _nothing("Nothing: the policy gives it to another owner now", _TABLE),
    _R.REDECIDED: _nothing(
        "Nothing: somebody asked for it; the control record says who and why",
        "milepost policy redecide --entity acme/shipment/S-1001",
    ),
    _R.OWNER_SILENT: _nothing("Ask the owner to say it, if it should have", _CLAIMS, SENDER),
    _R.OWNER_SOURCE_DOWN: _nothing(
        "See that the owner's source runs; what it says later confirms or corrects",
        "milepost platforms status",
        OPERATOR,
    ),
    _R.BETTER_DEPUTY: _nothing("Nothing: the owner's word is still awaited"),
    _R.DEPUTY_CORRECTED: _nothing("Nothing: the owner's word is still awaited"),
    _R.ASSERTED_ANEW: _nothing("Nothing: it stands again"),
    _R.RETRACTED_BY_AUTHOR: _nothing("Nothing: it stands no more, until its owner says it again"),
    _R.NO_LONGER_ENTITLED: _nothing("Nothing, if the policy is meant so", _TABLE, OWNER),
    _R.ESTIMATE_UPDATED: _nothing("Nothing: the newest estimate counts"),
    _R.STOP_CHANGED: _nothing("Nothing: the newer stop list is right"),
    # what does not
    _R.AGREES_WITH_OWNER: _nothing("Nothing: it says the same"),
    _R.DIFFERS_FROM_OWNER: _nothing(
        "Ask both which is right; the wrong one corrects or takes back", _SHOW, SENDER
    ),
    _R.NOT_OWNER: _nothing(
        "Nothing, if others own it there; else give the platform a rule or a deputy's place",
        _TABLE,
        OWNER,
    ),
    _R.NOT_OWNER_AT_OCCURRENCE: _nothing("Nothing, if the hand-over is dated right", _TABLE, OWNER),
    _R.OWNER_RETRACTED: _nothing("Nothing: deputies wait until the owner speaks again"),
    _R.REPEATED: _nothing("Nothing: sending twice is harmless"),
    _R.RESTATED: _nothing("Nothing: saying it twice is harmless"),
    _R.ID_REUSED: _nothing("Give every statement an event id of its own", _CLAIMS, SENDER),
    _R.OLDER_THAN_CURRENT: _nothing("Nothing, if it came late; else see the platform's clock"),
    _R.REPLACED_BY_NEWER: _nothing("Nothing: the newer word counts"),
    _R.ACTUAL_KNOWN: _nothing("Stop sending estimates of what has happened", _CLAIMS, SENDER),
    _R.BEYOND_HORIZON: _nothing(
        "Nothing, if it is history; else lengthen the tenant's horizon in bundle.yaml",
        "milepost policy check",
        OWNER,
    ),
    _R.NOT_A_MILESTONE: _nothing("Nothing, if the dialect is meant so", _EXPLAIN, OWNER),
    # what waits
    _R.AWAITING_OWNER: _nothing("Nothing: at the deadline the deputy stands in"),
    _R.REGION_UNRESOLVED: (
        "Send the tender with its stops, or give the site a place in sites.yaml; then replay",
        _REPLAY,
    ),
    _R.STOP_UNRESOLVED: (
        "Send the stop list, or add the site's code to sites.yaml; then replay or repair",
        _AT_HUB,
    ),
    _R.AWAITING_PREDECESSOR: ("Have its owner state what must come first; then replay", _REPLAY),
    _R.UNCORRELATED: (
        "Have the tender name the reference, from a platform that `binds` its kind; then replay",
        _REPLAY,
    ),
    _R.REFERENCE_CONFLICT: (
        "Have the platform that is wrong send its reference anew; then replay",
        _REPLAY,
    ),
    _R.AWAITING_TARGET: _nothing("Send what is taken back, or nothing", _CLAIMS, SENDER),
    _R.PLATFORM_SUSPENDED: (
        "Release the platform once it is put right; what ended is replayed",
        "milepost platforms status",
        OPERATOR,
    ),
    _R.PLATFORM_BRAKED: (
        "Repair what made it bad, then release the platform",
        "milepost platforms status",
        OPERATOR,
    ),
    # where it went
    _R.WRONG_PARTITION: _nothing(
        "Set the producer's partitioner to murmur2 and its key to the entity's", _CLAIMS, SENDER
    ),
    _R.REFERENCE_BOUND: _nothing("Nothing: it was judged under what the reference names"),
    _R.TOO_MANY_HOPS: ("Name the entity itself instead of a chain of references", _LETTERS),
    # what can't be governed: data
    _R.UNDECODABLE: ("Send Avro by the registered schema, in Confluent's format", _LETTERS),
    _R.DECODER_DIED: ("Tell its platform, and us; replay once a release can read it", _REPLAY),
    _R.TRAILING_BYTES: ("Write one record a message, nothing behind it", _LETTERS),
    _R.RECORD_TOO_LARGE: ("Send less: attributes and lists make the size", _LETTERS),
    _R.KEY_INVALID: ("Key records as docs/produce.md says: tenant/type/id", _LETTERS),
    _R.ENTITY_MISSING: ("Give entity_type and entity_id, or a reference", _LETTERS),
    _R.FIELD_INVALID: ("Correct the field that the detail names", _LETTERS),
    _R.DOCUMENT_MISSING: (
        "Give the document's number, or the leg's",
        "milepost dead-letters repair --id 2:117 --set document=4711",
    ),
    _R.OCCURRED_IN_FUTURE: ("Put the clock or its zone right; shift what was refused", _SHIFT),
    _R.IMPLAUSIBLE_TIME: (
        "Correct the time: the year, the unit (milliseconds), an empty value",
        _SHIFT,
    ),
    _R.RETRACTION_TARGET_UNKNOWN: ("Name the event id as it was sent; then replay", _LETTERS),
    _R.OPEN_CLAIMS_FULL: ("Give what its claims wait for (tender, owner); then replay", _REPLAY),
    # what can't be governed: configuration
    _R.UNKNOWN_SCHEMA: ("Register the schema under the topic's subject; then replay", _REPLAY),
    _R.SCHEMA_NOT_ALLOWED: (
        "Register it under the topic's own subject, if it is compatible; then replay",
        "milepost schemas check",
    ),
    _R.UNKNOWN_PLATFORM: ("Add the platform to platforms.yaml, or correct its name", _EXPLAIN),
    _R.WRONG_TOPIC: ("Send to the platform's own topic, or add this one to it", _EXPLAIN),
    _R.UNKNOWN_TENANT: ("Add the account to the platform in platforms.yaml", _EXPLAIN),
    _R.UNMAPPED_STATUS: ("Map the code in the platform's dialect, publish; then replay", _REPLAY),
    _R.UNKNOWN_EVENT_TYPE: (
        "Add it to catalogue.yaml and to a rule, publish; then replay",
        _REPLAY,
    ),
    _R.NO_ESTIMATES: ("Send the actual only, or give the event type `estimate_as`", _EXPLAIN),
    _R.UNKNOWN_REGION: ("Give the region an owner in ownership.yaml; then replay", _REPLAY),
    _R.NO_OWNER_THEN: ("Let a rule begin earlier in ownership.yaml; then replay", _REPLAY),
    # control and links
    _R.CLOCK_TICK: _nothing("Nothing", "milepost status"),
    _R.POLICY_ACTIVATED: _nothing("Nothing", "milepost policy status"),
    _R.POLICY_UNCHANGED: _nothing("Nothing", "milepost policy status"),
    _R.PAST_REDECIDED: _nothing("Nothing", "milepost policy redecide --since 7d"),
    _R.PLATFORM_HELD_BACK: _nothing("Release it once it is put right", "milepost platforms status"),
    _R.PLATFORM_RELEASED: _nothing("Nothing", "milepost platforms status"),
    _R.WATERMARK_MOVED: _nothing("Nothing", "milepost platforms status"),
    _R.LINK_APPLIED: _nothing("Nothing"),
    _R.LINK_REPEATED: _nothing("Nothing: links are applied once"),
    _R.LINK_UNKNOWN: _nothing("Bring all workers to one version", "milepost doctor", OPERATOR),
    _R.LINKS_FULL: _nothing("Split the order or shipment", _SHOW, SENDER),
    _R.CONTROL_UNKNOWN: _nothing(
        "See that the platform is in the bundle, and all workers are of one version",
        "milepost policy status",
        OPERATOR,
    ),
}


def remedy(reason: Reason) -> Remedy:
    """What to do about a reason."""
    todo, command, *turn = _GIVEN[reason]
    failure = MEANINGS[reason].failure
    default = NOBODY if failure is None else _TURNS[failure]
    return Remedy(todo, command.format(reason=reason.value), turn[0] if turn else default)
