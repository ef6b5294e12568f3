"""Headers of records that Milepost writes, and of those it sends on.

Dead letters carry three families: ours, Kafka Connect's, Spring Kafka's and Kafka Streams', so that
tools people have can read them. Must never look into a value.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterable

from pipeline.contract.names import (
    DEAD_LETTER_PREFIX,
    HEADER_ACTION,
    HEADER_ASSURANCE,
    HEADER_EVENT_TYPE,
    HEADER_HOPS,
    HEADER_ORIGIN,
    HEADER_TENANT,
)
from pipeline.governance.claims import Origin
from pipeline.governance.reasons import MEANINGS, FailureClass, Reason

Headers = list[tuple[str, bytes]]
Given = Iterable[tuple[str, bytes | None]]

_OURS = (DEAD_LETTER_PREFIX, "__connect.errors.", "kafka_dlt-", "__streams.errors.")
_CARRIED = frozenset({HEADER_ORIGIN, HEADER_HOPS})


def approved(action: str, assurance: str, event_type: str, tenant: str) -> Headers:
    """Headers that every approved record has."""
    return [
        (HEADER_ACTION, action.encode()),
        (HEADER_ASSURANCE, assurance.encode()),
        (HEADER_EVENT_TYPE, event_type.encode()),
        (HEADER_TENANT, tenant.encode()),
    ]


def forwarded(original: Given, origin: Origin, hops: int) -> Headers:
    """Headers of a raw record that is sent on to another partition."""
    place = json.dumps(origin._asdict(), separators=(",", ":")).encode()
    kept = [(name, value or b"") for name, value in original if name not in _CARRIED]
    return [*kept, (HEADER_ORIGIN, place), (HEADER_HOPS, str(hops).encode())]


def origin_of(headers: Given) -> tuple[Origin, int] | None:
    """Where a re-keyed or replayed record came from, and its hops; None: it doesn't say.

    Raises:
        ValueError: the header is there and can't be read.

    """
    found = dict(headers)
    place = found.get(HEADER_ORIGIN)
    if place is None:
        return None
    try:
        fields = json.loads(place)
        origin = Origin(
            str(fields["topic"]),
            int(fields["partition"]),
            int(fields["offset"]),
            int(fields["received"]),
        )
        return origin, int(found.get(HEADER_HOPS) or b"0")
    except (KeyError, TypeError, ValueError) as error:
        raise ValueError(f"header {HEADER_ORIGIN} can't be read: {error}") from None


def fingerprint(reason: Reason, stage: str, topic: str, detail: str) -> str:
    """One text for dead letters that have the same cause: digits of the detail don't count."""
    shape = "".join("0" if letter.isdigit() else letter for letter in detail)
    text = f"{reason.value}|{stage}|{topic}|{shape}"
    return hashlib.blake2b(text.encode(), digest_size=8).hexdigest()


def dead_letter(
    original: Given,
    origin: Origin,
    reason: Reason,
    stage: str,
    detail: str,
    policy_version: str,
    group: str,
) -> Headers:
    """Headers of a dead letter: the origin's own, then ours and three families people's tools know.

    Args:
        original: headers of the record as it came.
        origin: where and when it first came in.
        reason: why it could not be governed.
        stage: step that refused it.
        detail: a sentence for a person.
        policy_version: bundle in force.
        group: consumer group that read it.

    """
    meaning = MEANINGS[reason]
    place = json.dumps(origin._asdict(), separators=(",", ":"))
    failure = meaning.failure or FailureClass.DATA
    text = f"{meaning.text}: {detail}"
    exception = f"milepost.{reason.value}"
    ours = {
        "reason": reason.value,
        "class": failure.value,
        "stage": stage,
        "detail": detail,
        "fingerprint": fingerprint(reason, stage, origin.topic, detail),
        "origin": place,
        "policy": policy_version,
        "retryable": str(meaning.retryable).lower(),
    }
    connect = {
        "topic": origin.topic,
        "partition": str(origin.partition),
        "offset": str(origin.offset),
        "connector.name": group,
        "task.id": str(origin.partition),
        "stage": stage.upper(),
        "class.name": "milepost",
        "exception.class.name": exception,
        "exception.message": text,
    }
    spring = {
        "original-topic": origin.topic.encode(),
        "original-partition": origin.partition.to_bytes(4, "big", signed=True),
        "original-offset": origin.offset.to_bytes(8, "big", signed=True),
        "original-timestamp": origin.received.to_bytes(8, "big", signed=True),
        "original-timestamp-type": b"LogAppendTime",
        "original-consumer-group": group.encode(),
        "exception-fqcn": exception.encode(),
        "exception-message": text.encode(),
    }
    streams = {
        "topic": origin.topic,
        "partition": str(origin.partition),
        "offset": str(origin.offset),
        "exception": exception,
        "message": text,
    }
    return [
        *((name, value or b"") for name, value in original if not name.startswith(_OURS)),
        *((DEAD_LETTER_PREFIX + name, value.encode()) for name, value in ours.items()),
        *((f"__connect.errors.{name}", value.encode()) for name, value in connect.items()),
        *((f"kafka_dlt-{name}", raw) for name, raw in spring.items()),
        *((f"__streams.errors.{name}", value.encode()) for name, value in streams.items()),
    ]
