"""The order of judgement as a table: what each step asks, and how a claim can leave there.

The kernel names these steps in dead letters; the reference's drawing is made of this table, and
tests hold every decision of every run against it. Must never decide anything.
"""

from __future__ import annotations

from enum import StrEnum
from typing import Final, NamedTuple

from pipeline.governance.reasons import Reason
from pipeline.governance.vocabulary import Disposition


class Stage(StrEnum):
    """A step of judgement, as dead letters name it."""

    DECODE = "decode"
    IDENTITY = "identity"
    BOUNDS = "bounds"
    REPETITION = "repetition"
    TRUST = "trust"
    REFERENCE = "reference"
    DIALECT = "dialect"
    PLAUSIBILITY = "plausibility"
    OCCURRENCE = "occurrence"
    OWNERSHIP = "ownership"
    CONFLICT = "conflict"
    SEQUENCE = "sequence"
    HOLD = "hold"


class Step(NamedTuple):
    """What is asked, and with which reasons a claim leaves here; else it goes on."""

    stage: Stage
    asks: str
    leaves: dict[Disposition, tuple[Reason, ...]]


_D, _R = Disposition, Reason

STEPS: Final = (
    Step(
        Stage.DECODE,
        "Can its bytes be read, by a schema that the topic allows?",
        {
            _D.DEAD_LETTERED: (
                _R.UNDECODABLE,
                _R.DECODER_DIED,
                _R.TRAILING_BYTES,
                _R.RECORD_TOO_LARGE,
                _R.UNKNOWN_SCHEMA,
                _R.SCHEMA_NOT_ALLOWED,
                _R.FIELD_INVALID,
            )
        },
    ),
    Step(
        Stage.IDENTITY,
        "Who speaks, for which tenant, of which entity? Is this its partition?",
        {
            _D.DEAD_LETTERED: (
                _R.UNKNOWN_PLATFORM,
                _R.WRONG_TOPIC,
                _R.UNKNOWN_TENANT,
                _R.ENTITY_MISSING,
                _R.FIELD_INVALID,
                _R.TOO_MANY_HOPS,
            ),
            _D.REROUTED: (_R.WRONG_PARTITION,),
        },
    ),
    Step(
        Stage.BOUNDS,
        "Can its values be kept?",
        {_D.DEAD_LETTERED: (_R.FIELD_INVALID,)},
    ),
    Step(
        Stage.REPETITION,
        "Was this record read before?",
        {_D.DUPLICATE: (_R.REPEATED,)},
    ),
    Step(
        Stage.TRUST,
        "Is its platform trusted at present?",
        {_D.HELD: (_R.PLATFORM_SUSPENDED, _R.PLATFORM_BRAKED)},
    ),
    Step(
        Stage.REFERENCE,
        "If it knows a reference only: what did that name then?",
        {
            _D.HELD: (_R.UNCORRELATED, _R.REFERENCE_CONFLICT),
            _D.REROUTED: (_R.REFERENCE_BOUND,),
            _D.DEAD_LETTERED: (_R.TOO_MANY_HOPS,),
        },
    ),
    Step(
        Stage.DIALECT,
        "Which event type does the platform mean by its status?",
        {
            _D.DEAD_LETTERED: (_R.UNMAPPED_STATUS, _R.UNKNOWN_EVENT_TYPE, _R.NO_ESTIMATES),
            _D.HELD: (_R.STOP_UNRESOLVED,),
            _D.IGNORED: (_R.NOT_A_MILESTONE,),
        },
    ),
    Step(
        Stage.PLAUSIBILITY,
        "Can the time be meant, and is it within the horizon?",
        {
            _D.DEAD_LETTERED: (_R.OCCURRED_IN_FUTURE, _R.IMPLAUSIBLE_TIME),
            _D.STALE: (_R.BEYOND_HORIZON,),
        },
    ),
    Step(
        Stage.OCCURRENCE,
        "Which occurrence is it: which stop, attempt, document? What does it take back?",
        {
            _D.HELD: (_R.STOP_UNRESOLVED, _R.AWAITING_TARGET),
            _D.STALE: (_R.ACTUAL_KNOWN, _R.OLDER_THAN_CURRENT),
            _D.DUPLICATE: (_R.REPEATED, _R.RESTATED, _R.ID_REUSED),
            _D.DEAD_LETTERED: (_R.DOCUMENT_MISSING, _R.FIELD_INVALID, _R.UNKNOWN_PLATFORM),
        },
    ),
    Step(
        Stage.OWNERSHIP,
        "Who owns this, here, then?",
        {
            _D.HELD: (_R.REGION_UNRESOLVED,),
            _D.DEAD_LETTERED: (_R.UNKNOWN_REGION, _R.NO_OWNER_THEN),
        },
    ),
    Step(
        Stage.SEQUENCE,
        "Has what must come first stood? Is there room to wait?",
        {
            _D.HELD: (_R.AWAITING_PREDECESSOR,),
            _D.DEAD_LETTERED: (_R.OPEN_CLAIMS_FULL,),
        },
    ),
    Step(
        Stage.CONFLICT,
        "What stands, now that it has been said?",
        {
            _D.APPROVED: (_R.OWNER_SPOKE, _R.RETRACTED_BY_AUTHOR),
            _D.PROVISIONAL: (_R.OWNER_SILENT, _R.OWNER_SOURCE_DOWN),
            _D.HELD: (_R.AWAITING_OWNER,),
            _D.CORROBORATED: (_R.AGREES_WITH_OWNER,),
            _D.OVERRULED: (
                _R.DIFFERS_FROM_OWNER,
                _R.NOT_OWNER,
                _R.NOT_OWNER_AT_OCCURRENCE,
                _R.OWNER_RETRACTED,
            ),
            _D.STALE: (_R.RETRACTED_BY_AUTHOR,),
        },
    ),
)
"""In order. A claim that waited and could not be judged in time leaves at `hold`."""
