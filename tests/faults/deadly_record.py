"""Runs a governor whose decoder dies of records that hold a mark, as fastavro does of some bytes.

Needs MILEPOST_PURE: a compiled decoder can't be spoiled from outside.
"""

from __future__ import annotations

import os
import signal
import sys

from pipeline.cli.main import main
from pipeline.contract import codec

MARK = b"KILLS-THE-DECODER"
REAL = codec.decode


def decode(value: bytes, *given):
    if MARK in value:
        os.kill(os.getpid(), signal.SIGSEGV)
    return REAL(value, *given)


if __name__ == "__main__":
    codec.decode = decode
    sys.argv = ["milepost", *sys.argv[sys.argv.index("--") + 1 :]]
    main()
