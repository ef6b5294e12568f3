"""The doctor's check of which form of the hot path runs. Must never import another form."""

from __future__ import annotations

from collections.abc import Iterator

from pipeline.native import PLAIN_BECAUSE, PURE_BECAUSE
from pipeline.operations.findings import Check, Finding, Patient, Severity


def compiled(patient: Patient) -> Iterator[Finding]:
    """See whether the hot path runs compiled, and the plain path before it."""
    if not PURE_BECAUSE:
        if PLAIN_BECAUSE:
            yield Finding(
                f"The plain path does not run: {PLAIN_BECAUSE}",
                "A worker decides the same, and governs fewer events a second",
                "Install Rust (cargo), then Milepost again",
                Severity.WARNING,
            )
        return
    remedy = "Install a C compiler and Python's headers, then Milepost again"
    if patient.settings.pure:
        remedy = "Unset MILEPOST_PURE, unless it was set to compare the two"
    yield Finding(
        f"The hot path runs in pure Python: {PURE_BECAUSE}",
        "A worker decides the same, and governs fewer events a second",
        remedy,
        Severity.WARNING,
    )


CHECK = Check("The hot path runs compiled", compiled)
