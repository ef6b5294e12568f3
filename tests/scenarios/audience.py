"""Portal and ERP sink as the readers of a run."""

from __future__ import annotations

import os
import tempfile
from pathlib import Path

import erp_reader
import portal_reader

from pipeline.testing.readers import Told

FAST = "/dev/shm" if os.access("/dev/shm", os.W_OK) else None
"""Nothing here has to outlive a crash of the machine."""


def read(published):
    """What a customer and an accountant are told of a run."""
    with tempfile.TemporaryDirectory(prefix="audience-", dir=FAST) as folder:
        shown, unsteady = portal_reader.pages(Path(folder), published)
        booked, broken = erp_reader.bookings(Path(folder), published)
    return Told(shown, booked, [*unsteady, *broken])
