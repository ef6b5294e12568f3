"""The wording in force: of the bundle that was published last, else of the files beside the portal.

A bundle that this version can't read leaves the wording as it is. Must never read Kafka: the sink
keeps the bundle in the store.
"""

from __future__ import annotations

import time
from collections.abc import Callable
from typing import Final

import structlog
from sqlalchemy.exc import SQLAlchemyError

from connectors.portal.store import Store
from connectors.portal.wording import Wording
from pipeline.contract.bundle import from_document

LOOK_S: Final = 2.0
"""How old the answer to "is there another bundle?" may be."""
_log = structlog.get_logger(__name__)


class PublishedWording:
    """Gives the wording in force, looking into the store now and then.

    Args:
        store: where the sink keeps the published bundle.
        fallback: wording until one is published.
        clock_s: seconds, monotonic.

    """

    def __init__(
        self, store: Store, fallback: Wording, clock_s: Callable[[], float] = time.monotonic
    ) -> None:
        self._store = store
        self._wording = fallback
        self._clock_s = clock_s
        self._version: str | None = None
        self._due = clock_s()

    def __call__(self) -> Wording:
        """The wording in force."""
        now = self._clock_s()
        if now >= self._due:
            self._due = now + LOOK_S
            self._look()
        return self._wording

    def _look(self) -> None:
        try:
            version = self._store.bundle_version()
            if version is None or version == self._version:
                return
            self._version = version
            self._wording = Wording(from_document(self._store.bundle_document()))
        except SQLAlchemyError as error:
            _log.warning("published bundle can't be looked up", error=str(error).partition("\n")[0])
        except ValueError as error:
            _log.warning(
                "published bundle is left out", version=version, error=str(error).partition("\n")[0]
            )
