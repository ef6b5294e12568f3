"""The decision ledger's arithmetic: how blocks tile the inputs, and what makes them tamper-evident.

Must never know how a block is encoded.
"""

from __future__ import annotations

import hashlib
from typing import Final, NamedTuple

BLOCK_RECORDS_MAX: Final = 2_000
"""Records of one block; keeps a block below 512 KiB with rows of up to 256 bytes."""
DIGEST_BYTES: Final = 16
MODULUS: Final = 1 << (8 * DIGEST_BYTES)
"""Running digests of state are sums modulo this."""


class Gap(NamedTuple):
    """Offsets [first, next) of an input that hold no record that could be read."""

    first: int
    next: int
    retention: bool


class InputRange(NamedTuple):
    """Offsets [first, next) of one input that a block accounts for."""

    first: int
    next: int
    gaps: tuple[Gap, ...]


def digest(value: bytes | None) -> bytes:
    """Digest of a record's value: BLAKE2b, 16 bytes."""
    return hashlib.blake2b(value or b"", digest_size=DIGEST_BYTES).digest()


def chain_hash(block: bytes) -> str:
    """Hash of an encoded block, which names the hash of the one before: SHA-256, hex."""
    return hashlib.sha256(block).hexdigest()


def approved_digest(before: bytes, value: bytes) -> bytes:
    """Running digest of a partition's approved records after one more.

    Args:
        before: the digest so far; empty before the first record.
        value: the record's value as it is written.

    """
    return hashlib.blake2b(before + value, digest_size=DIGEST_BYTES).digest()


def tile(expected: int, offsets: list[int], end: int, lost: list[Gap]) -> InputRange:
    """The range that consecutive records of one input cover.

    Args:
        expected: offset after the last that the ledger accounts for.
        offsets: of the records, ascending.
        end: offset that was reached, at least the last record's plus one.
        lost: gaps that retention made.

    """
    gaps: list[Gap] = []
    at = expected
    for offset in offsets:
        if offset > at:
            gaps.extend(_explain(at, offset, lost))
        at = offset + 1
    if end > at:
        gaps.extend(_explain(at, end, lost))
        at = end
    return InputRange(expected, at, tuple(gaps))


def _explain(first: int, until: int, lost: list[Gap]) -> list[Gap]:
    """Split a gap into what retention took and what transaction markers occupy."""
    found: list[Gap] = []
    at = first
    for gap in lost:
        if gap.first >= until or gap.next <= at:
            continue
        if gap.first > at:
            found.append(Gap(at, gap.first, retention=False))
        found.append(Gap(max(gap.first, at), min(gap.next, until), retention=True))
        at = found[-1].next
    if at < until:
        found.append(Gap(at, until, retention=False))
    return found


def state_digest(total: int, key: bytes, before: bytes | None, after: bytes | None) -> int:
    """Running digest of a partition's state after one entity changed.

    A sum over all entities, so it does not depend on the order or the batches of changes.
    """
    if before is not None:
        total -= _entity_digest(key, before)
    if after is not None:
        total += _entity_digest(key, after)
    return total % MODULUS


def _entity_digest(key: bytes, value: bytes) -> int:
    hashed = hashlib.blake2b(value, digest_size=DIGEST_BYTES, key=hashlib.sha256(key).digest())
    return int.from_bytes(hashed.digest(), "big")
