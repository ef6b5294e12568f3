"""The demo's policy: the shipped bundle with hours that pass in seconds, and a hand-over.

Derived, never written down twice: an hour of silence becomes a second, and what waits, waits
seconds. Europe's transport goes over from one TMS to another. Must never change who owns what else.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from datetime import UTC, datetime, timedelta
from typing import Any, Final

from connectors.simulation.platforms import TMS_EU, TMS_NA
from pipeline.contract.bundle import Bundle

SUFFIX: Final = "-demo"
HOUR_IN_SECONDS: Final = 1
WAIT: Final = timedelta(seconds=16)
"""Longest wait for a region, a stop, a predecessor or a statement that is taken back."""
REFERENCE_WAIT: Final = timedelta(seconds=35)
"""Longest wait for a reference: what binds it is judged on another partition, perhaps later."""


def demo_bundle(bundle: Bundle, handover_ms: int | None = None) -> Bundle:
    """The same owners, deputies and dialects, with short silences and waits.

    Args:
        bundle: the shipped one.
        handover_ms: what is tendered in Europe from then on is North America's TMS's to follow,
            what was tendered before stays with Europe's; None: no hand-over.

    """
    content: dict[str, Any] = bundle.model_dump(by_alias=True)
    content["heading"]["version"] = bundle.version + SUFFIX
    waits = content["heading"]["waits"]
    content["heading"]["waits"] = {
        name: min(wait, REFERENCE_WAIT if name == "reference" else WAIT)
        for name, wait in waits.items()
    }
    for rule in content["rules"]:
        for deputy in rule["deputies"]:
            deputy["after"] *= HOUR_IN_SECONDS / 3600
    if handover_ms is not None:
        content["rules"] = list(_handed_over(content["rules"], handover_ms))
    return Bundle.model_validate(content)


def _handed_over(rules: Iterable[dict[str, Any]], at_ms: int) -> Iterator[dict[str, Any]]:
    line = datetime.fromtimestamp(at_ms / 1000, UTC)
    for rule in rules:
        if rule["owner"] != TMS_EU:
            yield rule
            continue
        yield rule | {"until": line}
        later = {"rule": f"{rule['rule']}-{TMS_NA}", "owner": TMS_NA, "from": line}
        yield rule | later | {"handover": "by_shipment_start"}
