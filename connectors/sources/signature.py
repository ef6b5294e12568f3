"""Signatures of the Standard Webhooks form: HMAC-SHA256 over id, time and raw body.

Compares in constant time and says yes or no, never why. Must never read a clock.
"""

from __future__ import annotations

import base64
import binascii
import hashlib
import hmac
import re
from collections.abc import Collection, Sequence
from typing import Final, NamedTuple

TOLERANCE_S: Final = 300
VERSION: Final = "v1"
_PREFIX: Final = "whsec_"
_SCOPED: Final = re.compile(r"([a-z0-9][a-z0-9-]*)=(.+)")
_SIGNATURES_MAX: Final = 16


class Secret(NamedTuple):
    """A shared secret, and the one platform that it is for."""

    key: bytes
    platform: str | None = None
    """None: it is for all of them."""


def secrets(text: str, platforms: Collection[str]) -> tuple[Secret, ...]:
    """Read a comma-separated list of secrets, each as `whsec_…` (base64) or as plain text.

    Args:
        text: `platform=secret` gives a secret to one platform only.
        platforms: known names, to tell that form from a secret with an equals sign.

    Raises:
        ValueError: a `whsec_` secret is no base64, or the list is empty.

    """
    found = []
    for part in filter(None, (part.strip() for part in text.split(","))):
        scoped = _SCOPED.fullmatch(part)
        if scoped is not None and scoped[1] in platforms:
            found.append(Secret(_key(scoped[2]), scoped[1]))
        else:
            found.append(Secret(_key(part)))
    if not found:
        raise ValueError("it holds no secret")
    return tuple(found)


def _key(text: str) -> bytes:
    if not text.startswith(_PREFIX):
        return text.encode()
    try:
        return base64.b64decode(text.removeprefix(_PREFIX), validate=True)
    except binascii.Error:
        raise ValueError(f"what follows {_PREFIX} is no base64") from None


def sign(key: bytes, message_id: str, timestamp: str, body: bytes) -> str:
    """The `webhook-signature` of a message."""
    signed = f"{message_id}.{timestamp}.".encode() + body
    digest = hmac.new(key, signed, hashlib.sha256).digest()
    return f"{VERSION},{base64.b64encode(digest).decode()}"


def genuine(
    known: Sequence[Secret],
    platform: str,
    message_id: str,
    timestamp: str,
    signatures: str,
    body: bytes,
    now_s: float,
) -> bool:
    """Whether one of a platform's secrets signed this message, and not too long ago.

    Args:
        known: secrets; several of one platform while one is being replaced.
        platform: on whose behalf the message is sent.
        message_id: header `webhook-id`.
        timestamp: header `webhook-timestamp`, seconds since 1970.
        signatures: header `webhook-signature`, space-separated.
        body: bytes as they came.
        now_s: seconds since 1970.

    """
    if not (message_id and timestamp.isascii() and timestamp.isdigit() and len(timestamp) <= 12):
        return False
    if abs(now_s - int(timestamp)) > TOLERANCE_S:
        return False
    given = [part.encode() for part in signatures.split(" ")[:_SIGNATURES_MAX]]
    valid = False
    for secret in known:
        if secret.platform in (None, platform):
            expected = sign(secret.key, message_id, timestamp, body).encode()
            for part in given:
                valid |= hmac.compare_digest(expected, part)
    return valid
