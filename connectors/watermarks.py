"""Watermarks: up to when a platform has told everything, on every partition of the control topic.

By them an owner that was silent is told from one whose source was down. Must never hold up events.
"""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Iterable
from typing import Any, Final

import structlog

from pipeline.contract import codec, names
from pipeline.governance.vocabulary import ControlKind
from pipeline.kafka.clients import Outgoing, deliver, producer
from pipeline.kafka.errors import DeliveryError, UnreachableError, UnregisteredError
from pipeline.kafka.reading import partitions_of
from pipeline.kafka.registry import Registry
from pipeline.settings import Settings

SCHEMA: Final = "control"
DELIVERY_MS: Final = 10_000

_log = structlog.get_logger(__name__)


class NotAllowedError(Exception):
    """Watermarks can't be written as things are set up; the message says why."""


class Watermarks:
    """Writes watermarks, of each platform one in `MILEPOST_WATERMARK_INTERVAL_MS` at most.

    Safe to share between threads.

    Args:
        settings: the interval; security settings pass through.
        bootstrap: bootstrap servers.
        registry: knows the id of the control schema.
        source: who tells, for the record.
        clock: seconds that never go back.

    """

    def __init__(
        self,
        settings: Settings,
        bootstrap: str,
        registry: Registry,
        source: str,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self._settings, self._bootstrap, self._registry = settings, bootstrap, registry
        self._source = source
        self._clock = clock
        self._lock = threading.Lock()
        self._told_s: dict[str, float] = {}
        self._trouble = ""
        self._rests_until_s = 0.0

    def tell(self, platform: str, complete_to: int) -> bool:
        """Say up to when a platform has told everything.

        Args:
            platform: whose bundle row says `watermarks: true`.
            complete_to: ms UTC.

        Returns:
            Whether it was written: too soon after the last one it is not.

        Raises:
            NotAllowedError: the control topic can't be written to.
            UnreachableError: Kafka or the registry is away.

        """
        with self._lock:
            now_s = self._clock()
            told_s = self._told_s.get(platform)
            interval_s = self._settings.watermark_interval_ms / 1000
            if told_s is not None and now_s - told_s < interval_s:
                return False
            try:
                self._write(platform, complete_to)
            except UnreachableError:
                raise
            except (DeliveryError, UnregisteredError) as error:
                raise NotAllowedError(str(error)) from None
            self._told_s[platform] = now_s
            return True

    def tell_quietly(self, platforms: Iterable[str], complete_to: int) -> None:
        """The same of several platforms; what goes wrong is logged once and tried again later."""
        now_s = self._clock()
        if now_s < self._rests_until_s:
            return
        try:
            for platform in platforms:
                self.tell(platform, complete_to)
            self._trouble = ""
        except (NotAllowedError, UnreachableError) as error:
            self._rests_until_s = now_s + self._settings.watermark_interval_ms / 1000
            if str(error) != self._trouble:
                self._trouble = str(error)
                _log.warning("watermarks can't be told", why=self._trouble)

    def _write(self, platform: str, complete_to: int) -> None:
        schema_id = self._registry.id_for(names.subject(names.CONTROL), SCHEMA)
        schema = codec.committed(SCHEMA)
        told: dict[str, Any] = {
            "kind": ControlKind.WATERMARK.value,
            "platform": platform,
            "complete_to": complete_to,
            "issued_by": self._source,
        }
        records = [
            Outgoing(
                names.CONTROL,
                codec.encode({**told, "partition": number}, schema, schema_id),
                str(number).encode(),
                partition=number,
            )
            for number in partitions_of(self._settings, self._bootstrap, names.CONTROL)
        ]
        client = producer(self._settings, self._bootstrap, **{"delivery.timeout.ms": DELIVERY_MS})
        deliver(client, records, timeout_s=DELIVERY_MS / 1000 + 2)
