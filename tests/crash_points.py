"""Named moments at which a process under test kills or stops itself, with no help of the product.

Methods of the product are wrapped from outside, in the process that is to die. Used by entry
modules: `arm("before_commit", 3)` has it die at the third passage.
"""

from __future__ import annotations

import functools
import importlib
import itertools
import os
import signal
import sys
from collections.abc import Callable
from typing import NamedTuple

FLUSH_S = 5.0


def _always(*_: object) -> bool:
    return True


def _step(name: str) -> Callable[..., bool]:
    """Of the transactional calls: the one of this name."""
    return lambda _writer, what, *_: what == name


def _written(writer, *_: object) -> bool:
    """Have everything that was produced lie at the broker, in an open transaction."""
    writer._producer.flush(FLUSH_S)
    return True


def _overlapping(*_: object) -> bool:
    """The next batch is with the agent, and the lane's round has this one committed meanwhile."""
    frame = sys._getframe(1)
    while frame.f_code.co_name != "_transact":
        frame = frame.f_back
    caller = frame.f_back
    return caller.f_code.co_name == "_round" and caller.f_locals["batch"] is not None


class Point(NamedTuple):
    """A moment: before or after a function of the product, where `when` holds."""

    module: str
    name: str
    """Dotted: a method of a class, or a function of the module."""
    after: bool = False
    when: Callable[..., bool] = _always


WRITER, RESTORE = "pipeline.lane.writer", "pipeline.lane.restore"
POINTS = {
    "before_produce": Point(WRITER, "Writer.write"),
    "amid_produce": Point(WRITER, "Writer._produce", after=True, when=_written),
    "after_produce": Point(WRITER, "Writer.write", after=True, when=_written),
    "before_offsets": Point(WRITER, "Writer._attempt", when=_step("offsets")),
    "after_offsets": Point(WRITER, "Writer._attempt", after=True, when=_step("offsets")),
    "before_commit": Point(
        WRITER, "Writer._attempt", when=lambda w, what, *_: what == "commit" and _written(w)
    ),
    "after_commit": Point(WRITER, "Writer._attempt", after=True, when=_step("commit")),
    "after_overlapping_commit": Point(
        "pipeline.lane.engine", "Engine._commit", after=True, when=_overlapping
    ),
    "before_restore": Point(RESTORE, "Restorer._read_up_to"),
    "during_restore": Point(RESTORE, "Restorer._fold", after=True),
    "portal_in_transaction": Point("connectors.portal.writer", "apply", after=True),
    "portal_after_commit": Point("connectors.portal.writer", "StoreWriter.commit", after=True),
    "erp_in_transaction": Point("connectors.sinks.outbox", "Outbox.take", after=True),
    "erp_before_call": Point("connectors.sinks.courier", "ErpClient.post"),
    "erp_after_call": Point("connectors.sinks.courier", "ErpClient.post", after=True),
}
OVERLAPPING = "after_overlapping_commit"
"""Only passed with more to do than one batch takes."""
GOVERNOR = [n for n in POINTS if not n.startswith(("portal", "erp")) and n != OVERLAPPING]
PORTAL = [name for name in POINTS if name.startswith("portal")]
ERP = [name for name in POINTS if name.startswith("erp")]


def arm(point: str, passage: int = 1, number: int = signal.SIGKILL) -> None:
    """Have this process send itself a signal at the n-th passage of a point.

    Args:
        point: one of `POINTS`.
        passage: from 1.
        number: SIGKILL, or SIGSTOP: then it goes on when somebody lets it, and never stops again.

    """
    at = POINTS[point]
    owner = importlib.import_module(at.module)
    *holders, name = at.name.split(".")
    for holder in holders:
        owner = getattr(owner, holder)
    real, passages = getattr(owner, name), itertools.count(1)

    def pass_by(*given: object) -> None:
        if at.when(*given) and next(passages) == passage:
            os.kill(os.getpid(), number)

    @functools.wraps(real)
    def wrapped(*given, **named):
        if not at.after:
            pass_by(*given)
        result = real(*given, **named)
        if at.after:
            pass_by(*given)
        return result

    setattr(owner, name, wrapped)


def abort(passage: int = 1) -> None:
    """Have the n-th transaction of this process end with an abort instead of its commit."""
    writer = importlib.import_module(WRITER).Writer
    real, commits = writer._attempt, itertools.count(1)

    def attempt(self, what, *given):
        if what == "commit" and next(commits) == passage:
            raise self._abort("a test has it abort")
        return real(self, what, *given)

    writer._attempt = attempt
