"""Runs a governor that dies of records which hold a mark: `deadly_record.py DECODER|PLAIN -- run`.

As native code may of some bytes. The plain path dies of them, where there is one; so does whoever
reads records one by one behind such a death, unless only the plain path is at fault. Without it
MILEPOST_PURE is needed: a compiled decoder can't be spoiled from outside.
"""

from __future__ import annotations

import os
import signal
import sys
from collections.abc import Callable
from typing import Any

from pipeline.cli.main import main
from pipeline.contract import codec
from pipeline.streams import plainly, quarantine

MARK = b"KILLS-THE-DECODER"
DECODER, PLAIN = "decoder", "plain path"
HAS_PLAIN = plainly.PLAIN is not None


def _die_of(value: bytes | None) -> None:
    if value is not None and MARK in value:
        os.kill(os.getpid(), signal.SIGSEGV)


class _SpoiledPlain:
    """The library of the plain path."""

    def __init__(self, real: Any) -> None:
        self._real = real

    def __getattr__(self, name: str) -> Any:
        return getattr(self._real, name)

    def Batch(self, records: Any, *given: Any) -> Any:  # noqa: N802  as the library has it
        for record in records:
            _die_of(record.value)
        return self._real.Batch(records, *given)


def _spoiled(decode: Callable[..., Any], value_of: Callable[..., bytes | None]) -> Any:
    def dying(first: Any, second: Any, *given: Any) -> Any:
        _die_of(value_of(first, second))
        return decode(first, second, *given)

    return dying


if __name__ == "__main__":
    if HAS_PLAIN:
        plainly.PLAIN = _SpoiledPlain(plainly.PLAIN)
    if sys.argv[1] == DECODER:
        codec.decode = _spoiled(codec.decode, lambda value, _: value)
        quarantine.decode = _spoiled(quarantine.decode, lambda _, came: came.record.value)
    sys.argv = ["milepost", *sys.argv[sys.argv.index("--") + 1 :]]
    main()
