"""Changes of entities as server-sent events.

One task looks into the store for all who listen; whoever comes back with a Last-Event-ID gets each
entity that changed meanwhile once. Must never hold what changed: the store does.
"""

from __future__ import annotations

import asyncio
import contextlib
import threading
from collections.abc import AsyncIterator, Callable
from typing import Final, NamedTuple

import orjson
import structlog
from anyio import to_thread
from sqlalchemy.exc import SQLAlchemyError

from connectors.portal.store import Store
from connectors.portal.views import Change, Freshness
from pipeline.governance.identity import Key

LOOK_S: Final = 0.25
"""How often the store is looked into."""
BEAT_S: Final = 5.0
"""How often a listener hears that the connection lives, and how fresh the store is."""
LISTENERS_MAX: Final = 500
_PORTION = 200
_log = structlog.get_logger(__name__)


class Interest(NamedTuple):
    """What a listener wants to hear of."""

    tenant: str | None = None
    type: str | None = None
    id: str | None = None

    def covers(self, key: Key) -> bool:
        """Whether an entity is of interest."""
        return self.type in (None, key.type) and self.id in (None, key.id)


class Live:
    """Tells listeners of changes.

    Args:
        store: where changes are read.
        stop: set when the server stops; ends every stream.

    """

    def __init__(self, store: Store, stop: threading.Event) -> None:
        self._store = store
        self._stop = stop
        self._newest = 0
        self._news = asyncio.Condition()
        self.listeners = 0

    async def look(self) -> None:
        """Look for changes until cancelled."""
        while True:
            try:
                newest = await to_thread.run_sync(self._store.newest_change)
            except SQLAlchemyError as error:
                _log.warning("portal store can't be read", error=str(error).partition("\n")[0])
            else:
                if newest != self._newest:
                    self._newest = newest
                    async with self._news:
                        self._news.notify_all()
            await asyncio.sleep(LOOK_S)

    async def listen(
        self,
        last: int | None,
        interest: Interest,
        describe: Callable[[Key, str], Change],
        fresh: Callable[[], Freshness],
    ) -> AsyncIterator[bytes]:
        """Events for one listener, until it goes or the server stops.

        Args:
            last: number of the last change it has; None: only what comes from now on.
            interest: what it wants to hear of.
            describe: data of an event, from an entity and its status.
            fresh: how fresh the store is; may block.

        """
        self.listeners += 1
        try:
            newest = await to_thread.run_sync(self._store.newest_change)
            # A number from before the store was built anew means nothing in this one
            position = newest if last is None or last > newest else last
            yield b"retry: 2000\n\n"
            while not self._stop.is_set():
                yield event("freshness", await to_thread.run_sync(fresh), position)
                beat = asyncio.get_running_loop().time() + BEAT_S
                while not self._stop.is_set() and asyncio.get_running_loop().time() < beat:
                    changed = await to_thread.run_sync(
                        self._store.changed_after, position, _PORTION, interest.tenant
                    )
                    for number, key, status in changed:
                        position = number
                        if interest.covers(key):
                            yield event("changed", describe(key, status), number)
                    if len(changed) < _PORTION:
                        await self._wait(position)
        finally:
            self.listeners -= 1

    async def _wait(self, position: int) -> None:
        """Return when there may be more, or after a while."""
        if self._newest > position:
            await asyncio.sleep(LOOK_S)
            return
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(LOOK_S * 2), self._news:
                await self._news.wait()


def event(name: str, data: Change | Freshness, number: int) -> bytes:
    """One event in the wire form of server-sent events."""
    content = orjson.dumps(data.model_dump(mode="json"))
    return b"id: %d\nevent: %s\ndata: %s\n\n" % (number, name.encode(), content)
