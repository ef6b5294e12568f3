"""Headers of records that Milepost writes, and of those it sends on.

Dead letters carry three families: ours, Kafka Connect's, Spring Kafka's and Kafka Streams', so that
tools people have can read them. Must never look into a value.
"""

from __future__ import annotations

import hashlib
import json
import re
from collections.abc import Iterable
from datetime import UTC, datetime
from functools import lru_cache
from typing import Any, Final

from pipeline.contract.names import (
    DEAD_LETTER_PREFIX,
    HEADER_ACTION,
    HEADER_ASSURANCE,
    HEADER_EVENT_TYPE,
    HEADER_HOPS,
    HEADER_KEY,
    HEADER_ORIGIN,
    HEADER_TENANT,
    HEADER_TRACE,
)
from pipeline.governance.claims import Origin, Raw
from pipeline.governance.ledger import digest
from pipeline.governance.reasons import MEANINGS, FailureClass, Reason

Headers = list[tuple[str, bytes | None]]
Given = Iterable[tuple[str, bytes | None]]

FAMILIES: Final = (DEAD_LETTER_PREFIX, "__connect.errors.", "kafka_dlt-", "__streams.errors.")
"""Prefixes of the headers that a dead letter gets; an origin's own ones of these are replaced."""
DETAIL_CHARACTERS_MAX: Final = 300
LETTER_BYTES_MAX: Final = 2_000_000
"""Key, value and headers of a dead letter; what its topic takes, less Kafka's own overhead."""
RECORD_OVERHEAD_BYTES: Final = 16
"""What Kafka adds to a record, and to each of its headers, at most."""
OMITTED: Final = f"{DEAD_LETTER_PREFIX}omitted"
DIGEST: Final = f"{DEAD_LETTER_PREFIX}value-digest"
SIZE: Final = f"{DEAD_LETTER_PREFIX}value-bytes"
HOPS_MAX: Final = 127
RECEIVED_MS_MAX: Final = (1 << 47) - 1
"""Year 6429: waits can be added to it, and calendars reach it."""
_OFFSET_MAX: Final = (1 << 63) - 1
_PARTITION_MAX: Final = (1 << 31) - 1
_PLACE_BYTES_MAX: Final = 1_000
_TOPIC: Final = re.compile(r"(?!\.{1,2}$)[A-Za-z0-9._-]{1,249}")
CONTENT_TYPE: Final = "application/vnd.confluent.avro"
"""Of values in Avro behind the five bytes that name their schema."""
_UNSAFE: Final = re.compile(rb"[^A-Za-z0-9._~-]")
"""What a URI has percent-encoded."""
_TRACE: Final = re.compile(
    rb"(?!ff)[0-9a-f]{2}-(?!0{32})[0-9a-f]{32}-(?!0{16})[0-9a-f]{16}-[0-9a-f]{2}"
)
_CARRIED = frozenset({HEADER_ORIGIN, HEADER_KEY, HEADER_HOPS})


@lru_cache(10_000)
def approved(action: str, assurance: str, event_type: str, tenant: str) -> Headers:
    """Headers that every approved record has; the same list each time, not to be changed."""
    return [
        (HEADER_ACTION, action.encode()),
        (HEADER_ASSURANCE, assurance.encode()),
        (HEADER_EVENT_TYPE, event_type.encode()),
        (HEADER_TENANT, tenant.encode()),
    ]


def cloud_event(record: dict[str, Any], key: bytes) -> Headers:
    """Headers of an approved record as a CloudEvent in Kafka's binary content mode.

    `time` is when it happened, the extension `recordedtime` when it first came in.

    Args:
        record: shaped as `schemas/approved-milestone.avsc`.
        key: of the entity, which is the subject.

    """
    return [
        ("ce_specversion", b"1.0"),
        ("ce_id", record["event_id"].encode()),
        ("ce_source", b"/milepost/" + _UNSAFE.sub(_escaped, record["tenant"].encode())),
        ("ce_type", f"milepost.logistics.{record['event_type']}".encode()),
        ("ce_subject", key),
        ("ce_time", _rfc3339(record["occurred"])),
        ("ce_recordedtime", _rfc3339(record["received"])),
        ("content-type", CONTENT_TYPE.encode()),
    ]


def _escaped(found: re.Match[bytes]) -> bytes:
    return b"%%%02X" % found[0][0]


def _rfc3339(at_ms: int) -> bytes:
    seconds, ms = divmod(at_ms, 1_000)
    told = datetime.fromtimestamp(seconds, UTC).replace(microsecond=ms * 1_000)
    return told.isoformat(timespec="milliseconds").replace("+00:00", "Z").encode()


def trace_of(given: Given) -> bytes | None:
    """The `traceparent` of a record; None: it has none, several, or none that is well-formed."""
    found = [value for name, value in given if name == HEADER_TRACE]
    if len(found) != 1 or found[0] is None or _TRACE.fullmatch(found[0]) is None:
        return None
    return found[0]


def forwarded(original: Raw, key: bytes | None, origin: Origin, hops: int) -> Headers:
    """Headers of a raw record that is sent on.

    Args:
        original: the record as it first came.
        key: that it is sent on under; where it is another one, a header keeps the original's.
        origin: where and when the record first came in.
        hops: how often it has been sent on, this time included.

    """
    place = json.dumps(origin._asdict(), separators=(",", ":")).encode()
    kept = _own(original.headers)
    if original.key != key:
        kept.append((HEADER_KEY, original.key))
    return [*kept, (HEADER_ORIGIN, place), (HEADER_HOPS, str(hops).encode())]


def restored(sent: Raw) -> Raw:
    """A record that was sent on, as it first came: its own key and headers again."""
    key = dict(sent.headers).get(HEADER_KEY, sent.key)
    return Raw(key, sent.value, tuple(_own(sent.headers)))


def _own(given: Given) -> Headers:
    """Headers without those that sending on adds."""
    return [item for item in given if item[0] not in _CARRIED]


def origin_of(headers: Given) -> tuple[Origin, int] | None:
    """Where a re-keyed or replayed record came from, and its hops; None: it doesn't say.

    Raises:
        ValueError: a header is there and can't be read, whatever its bytes.

    """
    found = dict(headers)
    place = found.get(HEADER_ORIGIN)
    if place is None:
        return None
    hops = found.get(HEADER_HOPS) or b"0"
    if len(hops) > len(str(HOPS_MAX)) or not hops.isdigit() or int(hops) > HOPS_MAX:
        raise ValueError(f"header {HEADER_HOPS} can't be read: no number up to {HOPS_MAX}")
    try:
        return read_origin(place), int(hops)
    except ValueError as error:
        raise ValueError(f"header {HEADER_ORIGIN} can't be read: {error}") from None


def read_origin(place: bytes) -> Origin:
    """The origin in a header's value.

    Raises:
        ValueError: it is none, whatever its bytes; the message is short.

    """
    if len(place) > _PLACE_BYTES_MAX:
        raise ValueError(f"{len(place)} bytes")
    try:
        fields = json.loads(place)
    except (ValueError, RecursionError):
        raise ValueError("no JSON") from None
    if not isinstance(fields, dict):
        raise ValueError("no object")  # noqa: TRY004  content of a header, no mistake of a caller
    topic = fields.get("topic")
    if not isinstance(topic, str) or _TOPIC.fullmatch(topic) is None:
        raise ValueError("topic is no name of a topic")
    return Origin(
        topic,
        _number(fields, "partition", _PARTITION_MAX),
        _number(fields, "offset", _OFFSET_MAX),
        _number(fields, "received", RECEIVED_MS_MAX),
    )


def _number(fields: dict[str, Any], name: str, most: int) -> int:
    number = fields.get(name)
    if type(number) is not int or not 0 <= number <= most:
        raise ValueError(f"{name} is no integer from 0 to {most}")
    return number


def fingerprint(reason: Reason, stage: str, topic: str, detail: str) -> str:
    """One text for dead letters that have the same cause: digits of the detail don't count."""
    shape = "".join("0" if letter.isdigit() else letter for letter in detail)
    text = f"{reason.value}|{stage}|{topic}|{shape}"
    return hashlib.blake2b(text.encode(), digest_size=8).hexdigest()


def size_of(key: bytes | None, value: bytes | None, headers: Given) -> int:
    """Bytes of a record as Kafka counts them, rounded up."""
    size = RECORD_OVERHEAD_BYTES + len(key or b"") + len(value or b"")
    for name, content in headers:
        size += RECORD_OVERHEAD_BYTES + len(name.encode()) + len(content or b"")
    return size


def dead_letter(
    raw: Raw,
    origin: Origin,
    reason: Reason,
    stage: str,
    detail: str,
    policy_version: str,
    group: str,
) -> tuple[bytes | None, bytes | None, Headers]:
    """Key, value and headers of a dead letter.

    Key, value and headers are the origin's, byte for byte; then come ours and three families that
    people's tools know. Compression lets a record through to a raw topic that is larger than any
    dead letter may be. Then value, original headers and key are left out, in this order, as far as
    it takes; `milepost.dlq.omitted` names them, and digest and origin stand for the value.

    Args:
        raw: the record as it came.
        origin: where and when it first came in.
        reason: why it could not be governed.
        stage: step that refused it.
        detail: a sentence for a person, cut to `DETAIL_CHARACTERS_MAX`.
        policy_version: bundle in force.
        group: consumer group that read it.

    """
    if len(detail) > DETAIL_CHARACTERS_MAX:
        detail = detail[: DETAIL_CHARACTERS_MAX - 1] + "…"
    told = _told(origin, reason, stage, detail, policy_version, group)
    key, value = raw.key, raw.value
    kept = [item for item in raw.headers if not item[0].startswith(FAMILIES)]
    omitted = []
    if size_of(key, value, [*kept, *told]) > LETTER_BYTES_MAX:
        omitted.append("value")
        told.append((DIGEST, digest(value).hex().encode()))
        told.append((SIZE, str(len(value or b"")).encode()))
        value = None
        if size_of(key, value, [*kept, *told]) > LETTER_BYTES_MAX:
            omitted.append("headers")
            kept = []
        if size_of(key, value, [*kept, *told]) > LETTER_BYTES_MAX:
            omitted.append("key")
            key = None
        told.append((OMITTED, ",".join(omitted).encode()))
    return key, value, [*kept, *told]


def _told(
    origin: Origin, reason: Reason, stage: str, detail: str, policy_version: str, group: str
) -> Headers:
    """Every header of ours."""
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
        *((DEAD_LETTER_PREFIX + name, value.encode()) for name, value in ours.items()),
        *((f"__connect.errors.{name}", value.encode()) for name, value in connect.items()),
        *((f"kafka_dlt-{name}", raw) for name, raw in spring.items()),
        *((f"__streams.errors.{name}", value.encode()) for name, value in streams.items()),
    ]
