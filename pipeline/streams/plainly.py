"""The plain path: claims whose judgement changes nothing but their own occurrence, judged natively.

Most traffic is of that kind. Whatever is not is handed back, one record at a time, and judged by
`pipeline/governance`, which is the law: the plain path writes the same bytes or nothing at all. It
is compiled from `native/` where there is a Rust compiler (`hatch_build.py`); all works without.
Must never decide what governance would not.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from functools import lru_cache
from typing import Any, Final

from pipeline.contract import codec, headers, names
from pipeline.contract.codec import Schema
from pipeline.governance.outputs import Transition
from pipeline.governance.policy import Policy
from pipeline.governance.settlement import Work
from pipeline.native import PLAIN
from pipeline.streams.arriving import SchemaMap, Taken

_POLICIES_KEPT: Final = 64


def look(records: Sequence[Taken], record_bytes_max: int, schemas: SchemaMap) -> Any:
    """Look at records: which of them are raw events that can be read plainly.

    Returns:
        None: there is no plain path.

    """
    if PLAIN is None:
        return None
    raw = codec.committed("raw-event").fingerprint
    known = [
        name
        for name, schema in schemas.items()
        if isinstance(schema, Schema)
        and schema.fingerprint == raw
        and name[0] not in names.INTERNAL
    ]
    return PLAIN.Batch(list(records), record_bytes_max, known)


@lru_cache(_POLICIES_KEPT)
def tables(policy: Policy) -> Any:
    """A bundle as the plain path reads it."""
    return PLAIN.Tables(policy)


@lru_cache(_POLICIES_KEPT)
def writing(approved_id: int, link_id: int, status_id: int, partitions: int) -> Any:
    """What the plain path writes, and with which schema ids."""
    return PLAIN.Writing(
        headers.approved,
        Transition,
        names.APPROVED,
        approved_id,
        names.LINKS,
        link_id,
        status_id,
        partitions,
    )


def judge(
    work: Work,
    plain: Any,
    written: Any,
    batch: Any,
    span: tuple[int, int],
    seq: int,
    inputs: Mapping[str, int],
) -> Any:
    """Judge claims until one is not plain.

    Args:
        work: takes what they bring.
        plain: the entities of the partition.
        written: what is written, and how.
        batch: the records.
        span: index of the first and behind the last that may be judged.
        seq: of the first in the ledger.
        inputs: index of each topic's range in the block.

    """
    judged = plain.judge(
        tables(work.policy),
        written,
        batch,
        span[0],
        span[1],
        seq,
        inputs,
        work.clock,
        list(work.time.ahead.items()),
        work.trust.held_back,
        work.trust.counts,
    )
    work.approved.extend(judged.approved)
    work.links.extend(judged.links)
    work.transitions.extend(judged.transitions)
    for key in judged.touched:
        work.touched.setdefault(key, None)
    for key in judged.told:
        work.told.setdefault(key, None)
    return judged
