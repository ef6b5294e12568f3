"""Why: the closed list of reasons that dispositions, transitions and dead letters give.

One table: what each means to a person, and for those that end in the dead letter, whose fault it
is and whether sending the record through again can help. The reference page is made from it.
Must never know when a reason is given.
"""

from __future__ import annotations

from enum import StrEnum
from typing import Final, NamedTuple


class FailureClass(StrEnum):
    """Whose turn it is after a dead letter."""

    DATA = "DATA"
    POLICY = "POLICY"
    CONFIG = "CONFIG"


class Reason(StrEnum):
    """Every reason Milepost can give."""

    # what stands
    OWNER_SPOKE = "owner_spoke"
    OWNER_CORRECTED = "owner_corrected"
    OWNER_CONFIRMED_DEPUTY = "owner_confirmed_deputy"
    OWNER_CORRECTED_DEPUTY = "owner_corrected_deputy"
    OWNER_CHANGED = "owner_changed"
    REDECIDED = "redecided"
    OWNER_SILENT = "owner_silent"
    OWNER_SOURCE_DOWN = "owner_source_down"
    BETTER_DEPUTY = "better_deputy"
    DEPUTY_CORRECTED = "deputy_corrected"
    ASSERTED_ANEW = "asserted_anew"
    RETRACTED_BY_AUTHOR = "retracted_by_author"
    NO_LONGER_ENTITLED = "no_longer_entitled"
    ESTIMATE_UPDATED = "estimate_updated"
    STOP_CHANGED = "stop_changed"
    # what does not
    AGREES_WITH_OWNER = "agrees_with_owner"
    DIFFERS_FROM_OWNER = "differs_from_owner"
    NOT_OWNER = "not_owner"
    NOT_OWNER_AT_OCCURRENCE = "not_owner_at_occurrence"
    OWNER_RETRACTED = "owner_retracted"
    REPEATED = "repeated"
    RESTATED = "restated"
    ID_REUSED = "id_reused"
    OLDER_THAN_CURRENT = "older_than_current"
    REPLACED_BY_NEWER = "replaced_by_newer"
    ACTUAL_KNOWN = "actual_known"
    BEYOND_HORIZON = "beyond_horizon"
    NOT_A_MILESTONE = "not_a_milestone"
    # what waits
    AWAITING_OWNER = "awaiting_owner"
    REGION_UNRESOLVED = "region_unresolved"
    STOP_UNRESOLVED = "stop_unresolved"
    AWAITING_PREDECESSOR = "awaiting_predecessor"
    UNCORRELATED = "uncorrelated"
    REFERENCE_CONFLICT = "reference_conflict"
    AWAITING_TARGET = "awaiting_target"
    PLATFORM_SUSPENDED = "platform_suspended"
    PLATFORM_BRAKED = "platform_braked"
    # where it went
    WRONG_PARTITION = "wrong_partition"
    REFERENCE_BOUND = "reference_bound"
    TOO_MANY_HOPS = "too_many_hops"
    # what can't be governed: data
    UNDECODABLE = "undecodable"
    DECODER_DIED = "decoder_died"
    TRAILING_BYTES = "trailing_bytes"
    RECORD_TOO_LARGE = "record_too_large"
    KEY_INVALID = "key_invalid"
    ENTITY_MISSING = "entity_missing"
    FIELD_INVALID = "field_invalid"
    DOCUMENT_MISSING = "document_missing"
    OCCURRED_IN_FUTURE = "occurred_in_future"
    IMPLAUSIBLE_TIME = "implausible_time"
    RETRACTION_TARGET_UNKNOWN = "retraction_target_unknown"
    OPEN_CLAIMS_FULL = "open_claims_full"
    # what can't be governed: configuration
    UNKNOWN_SCHEMA = "unknown_schema"
    SCHEMA_NOT_ALLOWED = "schema_not_allowed"
    UNKNOWN_PLATFORM = "unknown_platform"
    WRONG_TOPIC = "wrong_topic"
    UNKNOWN_TENANT = "unknown_tenant"
    UNMAPPED_STATUS = "unmapped_status"
    UNKNOWN_EVENT_TYPE = "unknown_event_type"
    NO_ESTIMATES = "no_estimates"
    UNKNOWN_REGION = "unknown_region"
    NO_OWNER_THEN = "no_owner_then"
    # control and links
    CLOCK_TICK = "clock_tick"
    POLICY_ACTIVATED = "policy_activated"
    POLICY_UNCHANGED = "policy_unchanged"
    PAST_REDECIDED = "past_redecided"
    PLATFORM_HELD_BACK = "platform_held_back"
    PLATFORM_RELEASED = "platform_released"
    WATERMARK_MOVED = "watermark_moved"
    LINK_APPLIED = "link_applied"
    LINK_REPEATED = "link_repeated"
    LINK_UNKNOWN = "link_unknown"
    LINKS_FULL = "links_full"
    CONTROL_UNKNOWN = "control_unknown"


class Meaning(NamedTuple):
    """What a reason says to a person."""

    text: str
    failure: FailureClass | None = None
    retryable: bool = False


_DATA, _CONFIG = FailureClass.DATA, FailureClass.CONFIG

MEANINGS: Final[dict[Reason, Meaning]] = {
    Reason.OWNER_SPOKE: Meaning("The milestone's owner said so"),
    Reason.OWNER_CORRECTED: Meaning("The owner changed its own statement"),
    Reason.OWNER_CONFIRMED_DEPUTY: Meaning("The owner said what its deputy had said"),
    Reason.OWNER_CORRECTED_DEPUTY: Meaning("The owner said otherwise than its deputy"),
    Reason.OWNER_SILENT: Meaning("The owner kept silent past the deadline, its deputy stands in"),
    Reason.OWNER_CHANGED: Meaning("Another platform owns it here, and says so"),
    Reason.REDECIDED: Meaning("Decided again, on request, under the bundle in force"),
    Reason.OWNER_SOURCE_DOWN: Meaning(
        "The owner's source has not reported that it is complete so far, its deputy stands in"
    ),
    Reason.BETTER_DEPUTY: Meaning("A deputy of better rank spoke"),
    Reason.DEPUTY_CORRECTED: Meaning("The deputy that stands in changed its own statement"),
    Reason.ASSERTED_ANEW: Meaning("Said again after it had been retracted"),
    Reason.RETRACTED_BY_AUTHOR: Meaning("Its author or its owner took it back"),
    Reason.NO_LONGER_ENTITLED: Meaning("Whoever said it may not say it here any more"),
    Reason.ESTIMATE_UPDATED: Meaning("A newer estimate or position"),
    Reason.STOP_CHANGED: Meaning("A later stop list shows that it was at another stop"),
    Reason.AGREES_WITH_OWNER: Meaning("Says the same as what stands, within the tolerance"),
    Reason.DIFFERS_FROM_OWNER: Meaning("Says otherwise than the owner; the conflict is recorded"),
    Reason.NOT_OWNER: Meaning("This platform may not state this milestone here"),
    Reason.NOT_OWNER_AT_OCCURRENCE: Meaning("Another platform owned the milestone at that time"),
    Reason.OWNER_RETRACTED: Meaning("The owner took it back, deputies wait for the owner"),
    Reason.REPEATED: Meaning("The same event of the same platform again"),
    Reason.RESTATED: Meaning("The same statement of the same platform under another event id"),
    Reason.ID_REUSED: Meaning("An event id that was used before, with other content"),
    Reason.OLDER_THAN_CURRENT: Meaning("Older than what the same platform said since"),
    Reason.REPLACED_BY_NEWER: Meaning("The same platform said something newer meanwhile"),
    Reason.ACTUAL_KNOWN: Meaning("An estimate of what has already happened"),
    Reason.BEYOND_HORIZON: Meaning("Happened longer ago than the bundle looks back"),
    Reason.NOT_A_MILESTONE: Meaning("The dialect says that this status is no milestone"),
    Reason.AWAITING_OWNER: Meaning("A deputy spoke; the owner has until the deadline"),
    Reason.REGION_UNRESOLVED: Meaning(
        "Where it happened is not known yet", FailureClass.POLICY, retryable=True
    ),
    Reason.STOP_UNRESOLVED: Meaning(
        "Which stop is meant is not known yet", FailureClass.POLICY, retryable=True
    ),
    Reason.AWAITING_PREDECESSOR: Meaning(
        "A milestone that must come first has not stood yet", FailureClass.POLICY, retryable=True
    ),
    Reason.UNCORRELATED: Meaning(
        "Which entity the reference belongs to is not known", FailureClass.POLICY, retryable=True
    ),
    Reason.REFERENCE_CONFLICT: Meaning(
        "Two entities claim the reference for that time", FailureClass.DATA, retryable=True
    ),
    Reason.AWAITING_TARGET: Meaning("What it takes back has not been said yet"),
    Reason.PLATFORM_SUSPENDED: Meaning(
        "The platform is not trusted at present", FailureClass.POLICY, retryable=True
    ),
    Reason.PLATFORM_BRAKED: Meaning(
        "Most of what the platform sends can't be governed", FailureClass.POLICY, retryable=True
    ),
    Reason.WRONG_PARTITION: Meaning("Not on the partition of its key; sent to the right one"),
    Reason.REFERENCE_BOUND: Meaning("Sent on to the entity that the reference names"),
    Reason.TOO_MANY_HOPS: Meaning("Sent on more than three times", _DATA),
    Reason.UNDECODABLE: Meaning("The bytes are no record of the schema they name", _DATA),
    Reason.DECODER_DIED: Meaning(
        "The decoder died of it twice, it was not tried again", _DATA, True
    ),
    Reason.TRAILING_BYTES: Meaning("There are bytes after the end of the record", _DATA),
    Reason.RECORD_TOO_LARGE: Meaning("Larger than a raw record may be", _DATA),
    Reason.KEY_INVALID: Meaning("Neither an entity's nor a reference's key", _DATA),
    Reason.ENTITY_MISSING: Meaning("Names neither an entity nor a reference", _DATA),
    Reason.FIELD_INVALID: Meaning("A field has a value that can't be used", _DATA),
    Reason.DOCUMENT_MISSING: Meaning("The event type is per document and names none", _DATA),
    Reason.OCCURRED_IN_FUTURE: Meaning("Said to have happened after it was received", _DATA),
    Reason.IMPLAUSIBLE_TIME: Meaning("A time that can't be meant", _DATA),
    Reason.RETRACTION_TARGET_UNKNOWN: Meaning("Takes back what was never said", _DATA, True),
    Reason.OPEN_CLAIMS_FULL: Meaning("The entity has too many open claims", _DATA, True),
    Reason.UNKNOWN_SCHEMA: Meaning("The registry does not know the schema id", _CONFIG, True),
    Reason.SCHEMA_NOT_ALLOWED: Meaning("The schema is not allowed on this topic", _CONFIG, True),
    Reason.UNKNOWN_PLATFORM: Meaning("The bundle does not know the platform", _CONFIG, True),
    Reason.WRONG_TOPIC: Meaning("The platform may not write to this topic", _CONFIG, True),
    Reason.UNKNOWN_TENANT: Meaning("The account belongs to no known tenant", _CONFIG, True),
    Reason.UNMAPPED_STATUS: Meaning("The dialect does not map this native status", _CONFIG, True),
    Reason.UNKNOWN_EVENT_TYPE: Meaning("The catalogue lacks the event type", _CONFIG, True),
    Reason.NO_ESTIMATES: Meaning(
        "The event type has no estimates, the record is one", _CONFIG, True
    ),
    Reason.UNKNOWN_REGION: Meaning("No rule of ownership covers the region", _CONFIG, True),
    Reason.NO_OWNER_THEN: Meaning("No rule of ownership covers that time", _CONFIG, True),
    Reason.CLOCK_TICK: Meaning("Moves the partition's clock"),
    Reason.POLICY_ACTIVATED: Meaning("From here on another bundle is in force"),
    Reason.POLICY_UNCHANGED: Meaning("The bundle was already in force"),
    Reason.PAST_REDECIDED: Meaning("The past of the entities named was decided again"),
    Reason.PLATFORM_HELD_BACK: Meaning("From here on the platform's claims are held"),
    Reason.PLATFORM_RELEASED: Meaning("From here on the platform's claims are judged again"),
    Reason.WATERMARK_MOVED: Meaning("The platform says up to when it has told everything"),
    Reason.LINK_APPLIED: Meaning("Took over what the linked entity says"),
    Reason.LINK_REPEATED: Meaning("A link that was applied before"),
    Reason.LINK_UNKNOWN: Meaning("A link of a kind this version does not know"),
    Reason.LINKS_FULL: Meaning("The entity is linked to as many others as it may be"),
    Reason.CONTROL_UNKNOWN: Meaning("A control record of a kind this version does not know"),
}
