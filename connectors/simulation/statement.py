"""A statement: one raw event as a platform is about to send it, and what lies behind it.

Must never know which platforms there are.
"""

from __future__ import annotations

import copy
import dataclasses
from dataclasses import dataclass
from enum import StrEnum
from functools import cache
from typing import Any

from connectors.simulation.world import Happening
from pipeline.contract import codec
from pipeline.governance.vocabulary import Classifier, Precision

Record = dict[str, Any]


class Spoiling(StrEnum):
    """What happens to a record's bytes on the way."""

    NONE = ""
    NOISE = "noise"
    """Replaced by bytes without a schema id."""
    CUT = "cut"
    """The end is missing."""
    TRAILING = "trailing"
    """Something hangs on behind the end."""
    FOREIGN_SCHEMA = "foreign_schema"
    """Names a schema id that no registry gave."""


@dataclass(frozen=True, slots=True)
class Statement:
    """What one platform says, and when it sends it."""

    event: Record
    """Raw event of `schemas/raw-event.avsc`, in the platform's own codes."""
    sent_ms: int
    """When it leaves the platform, in the world's time."""
    about: Happening | None = None
    """What truly happened; None: nothing did."""
    fault: str = ""
    """Name of the fault that made it what it is; empty: an honest, timely statement."""
    delay_s: float = 0.0
    """How many seconds of the run it is held back beyond its place in the world's order."""
    spoiling: Spoiling = Spoiling.NONE
    stray: bool = False
    """Whether it is sent to another partition than its key belongs on."""

    @property
    def platform(self) -> str:
        """Who speaks."""
        return str(self.event["platform"])

    @property
    def claim(self) -> tuple[str, str]:
        """Platform and its event id."""
        return self.platform, str(self.event["event_id"])

    def but(self, **changes: Any) -> Statement:
        """The same statement with other particulars: fields of the event, or its own."""
        own = {field.name for field in dataclasses.fields(self)}
        event = copy.deepcopy(self.event)
        event.update((name, value) for name, value in changes.items() if name not in own)
        kept = {name: value for name, value in changes.items() if name in own}
        return dataclasses.replace(self, event=event, **kept)


def raw_event(**given: Any) -> Record:
    """A raw event: what is given, the schema's defaults for the rest, an ACTUAL to the second."""
    actual = {
        "classifier": Classifier.ACTUAL.value,
        "occurred_precision": Precision.SECOND.value,
    }
    return {**copy.deepcopy(_defaults()), **actual, **given}


def stop_record(**given: Any) -> Record:
    """A stop: what is given, nothing for the rest."""
    return {**_EMPTY_STOP, **given}


_EMPTY_STOP = dict.fromkeys(
    ("number", "role", "location", "name", "city", "subdivision", "country"), None
)


@cache
def _defaults() -> Record:
    fields = codec.definition("raw-event")["fields"]
    return {field["name"]: field["default"] for field in fields if "default" in field}
