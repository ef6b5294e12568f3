"""The demo's policy: the shipped bundle with hours that pass in seconds.

Derived, never written down twice: an hour of silence becomes a second, and what waits, waits
seconds. Must never change who owns what.
"""

from __future__ import annotations

from datetime import timedelta
from typing import Any, Final

from pipeline.contract.bundle import Bundle

SUFFIX: Final = "-demo"
HOUR_IN_SECONDS: Final = 1
WAIT: Final = timedelta(seconds=16)
"""Longest wait for a region, a stop, a predecessor or a reference."""


def demo_bundle(bundle: Bundle) -> Bundle:
    """The same owners, deputies and dialects, with short silences and waits."""
    content: dict[str, Any] = bundle.model_dump(by_alias=True)
    content["heading"]["version"] = bundle.version + SUFFIX
    waits = content["heading"]["waits"]
    content["heading"]["waits"] = {name: min(wait, WAIT) for name, wait in waits.items()}
    for rule in content["rules"]:
        for deputy in rule["deputies"]:
            deputy["after"] *= HOUR_IN_SECONDS / 3600
    return Bundle.model_validate(content)
