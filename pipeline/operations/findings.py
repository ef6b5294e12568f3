"""What the checks of `milepost doctor` have in common: who is examined, and what is found.

Must never examine anything.
"""

from __future__ import annotations

import functools
import time
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass, field
from enum import StrEnum
from typing import Any, Final

from pipeline.contract import topics as contract_topics
from pipeline.contract.topics import Declared
from pipeline.operations.platforms import HeldBack
from pipeline.settings import Settings

NAMED_MAX: Final = 8


class Severity(StrEnum):
    """How bad a finding is."""

    WARNING = "warning"
    PROBLEM = "problem"
    UNREACHABLE = "unreachable"


class Dependency(StrEnum):
    """What a check talks to; if one check can't reach it, the others that need it are left out."""

    KAFKA = "kafka"
    REGISTRY = "registry"


@dataclass(frozen=True, slots=True)
class Finding:
    """Something that is not as it should be."""

    what: str
    why: str
    remedy: str
    severity: Severity = Severity.PROBLEM


@dataclass(frozen=True)
class Patient:
    """What is examined."""

    settings: Settings
    bootstrap: str
    registry_url: str
    now_ms: Callable[[], int] = field(default=lambda: time.time_ns() // 1_000_000)
    wait: Callable[[float], None] = field(default=time.sleep)
    """Called with seconds, to see whether something is still so later."""
    held_back: Callable[[], Sequence[HeldBack]] = field(default=list)
    """Tells the platforms that are suspended or braked."""

    @functools.cached_property
    def declared(self) -> Declared:
        """What topics.yaml declares.

        Raises:
            InvalidFileError: the file can't be used.

        """
        return contract_topics.load(self.settings.topics_file)


@dataclass(frozen=True, slots=True)
class Check:
    """One examination, by the name that people see."""

    name: str
    run: Callable[[Patient], Iterator[Finding]]
    needs: Dependency | None = None


def listed(items: Iterable[Any], separator: str = ", ") -> str:
    """Names in one finding; what is more than a few is counted."""
    texts = [str(item) for item in items]
    more = len(texts) - NAMED_MAX
    return separator.join(texts[:NAMED_MAX]) + (f" and {more} more" if more > 0 else "")
