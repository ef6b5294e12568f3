"""How the local stack tells what it is doing, without knowing who listens.

Must never print: the command line renders steps, tests ignore or collect them.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Step:
    """What is being done now; with `total`, how many bytes of it are done."""

    what: str
    done: int = 0
    total: int = 0


Report = Callable[[Step], None]
"""Called from any thread, often; must return quickly."""


def silent(_step: Step) -> None:
    """Ignore every step."""
