"""Who is who: keys of entities and references, ids of milestones, and the partition of a key.

Texts formed here are on disk for years: their forms never change. Must never know a policy.
"""

from __future__ import annotations

import hashlib
import struct
import uuid
from collections.abc import Iterable
from typing import Final, NamedTuple

NAMESPACE: Final = uuid.UUID("6d1f5e2e-6b1c-5a63-9d9c-6f0f3b8f5a11")
"""Namespace of all milestone ids."""

REFERENCE: Final = "ref"
_PARTS = 3


class Key(NamedTuple):
    """A key taken apart. For a reference `type` is `ref` and `id` is `kind:scope:value`."""

    tenant: str
    type: str
    id: str


def entity_key(tenant: str, entity_type: str, entity_id: str) -> str:
    """Key text of an entity: `tenant/type/id`, the parts escaped."""
    return f"{quoted(tenant)}/{quoted(entity_type)}/{quoted(entity_id)}"


def reference_key(tenant: str, kind: str, scope: str, value: str) -> str:
    """Key text of a reference: `tenant/ref/kind:scope:value`."""
    return f"{quoted(tenant)}/{REFERENCE}/{quoted(f'{kind}:{scope}:{value}')}"


def parse_key(text: str) -> Key:
    """Take a key text apart.

    Raises:
        ValueError: it is no key.

    """
    parts = text.split("/")
    if len(parts) != _PARTS or not (parts[0] and parts[1] and parts[2]):
        raise ValueError(f"{text[:80]!r} is no key: expected tenant/type/id")
    return Key(_unescape(parts[0]), _unescape(parts[1]), _unescape(parts[2]))


def normalise(entity_id: str, rules: Iterable[str]) -> str:
    """One spelling of an id.

    Args:
        entity_id: the id as the platform writes it.
        rules: of `trim`, `upper`, `strip_zeros` (leading), `no_blanks`, `alphanumeric`.

    """
    for rule in rules:
        if rule == "trim":
            entity_id = entity_id.strip()
        elif rule == "upper":
            entity_id = entity_id.upper()
        elif rule == "strip_zeros":
            entity_id = entity_id.lstrip("0") or entity_id
        elif rule == "no_blanks":
            entity_id = "".join(entity_id.split())
        elif rule == "alphanumeric":
            entity_id = "".join(letter for letter in entity_id if letter.isalnum())
    return entity_id


def milestone_id(entity: str, event_type: str, discriminator: str, generation: int) -> str:
    """Id of a milestone: UUIDv5 (RFC 9562, 5.5) of the occurrence's text and the generation."""
    named = f"{entity}|{event_type}|{discriminator}|{generation}".encode()
    digits = hashlib.sha1(NAMESPACE.bytes + named, usedforsecurity=False).hexdigest()
    variant = "89ab"[int(digits[16], 16) & 3]
    return f"{digits[:8]}-{digits[8:12]}-5{digits[13:16]}-{variant}{digits[17:20]}-{digits[20:32]}"


def murmur2(data: bytes) -> int:
    """The 32-bit murmur2 hash with which Java's Kafka clients partition keys."""
    length = len(data)
    multiplier = 0x5BD1E995
    value = 0x9747B28C ^ length
    whole = length & ~3
    for (word,) in struct.iter_unpack("<I", data[:whole]):
        mixed = word * multiplier & 0xFFFFFFFF
        mixed = (mixed ^ mixed >> 24) * multiplier & 0xFFFFFFFF
        value = value * multiplier & 0xFFFFFFFF ^ mixed
    if length & 3:
        value ^= int.from_bytes(data[whole:], "little")
        value = value * multiplier & 0xFFFFFFFF
    value = (value ^ value >> 13) * multiplier & 0xFFFFFFFF
    return value ^ value >> 15


def partition_of(key: bytes, partitions: int) -> int:
    """Partition on which a record with this key belongs."""
    return (murmur2(key) & 0x7FFFFFFF) % partitions


def quoted(part: str) -> str:
    """A part of a key as the key writes it."""
    if "%" not in part and "/" not in part:
        return part
    return part.replace("%", "%25").replace("/", "%2F")


def _unescape(part: str) -> str:
    return part.replace("%2F", "/").replace("%25", "%") if "%" in part else part
