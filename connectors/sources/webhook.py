"""The webhook: platforms post signed events, and are told 202 once Kafka has all of them.

Authenticates raw bytes before anything looks into them. Must never store a body or map a status.
"""

from __future__ import annotations

import asyncio
import hashlib
import time
from collections import OrderedDict
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import Any, Final, NoReturn

import orjson
import structlog
from anyio import CapacityLimiter, to_thread
from fastapi import Request, Response
from pydantic import BaseModel, TypeAdapter, ValidationError

from connectors.addressing import Addressing, UnaddressableError
from connectors.protocols import ConfigurationError, Record
from connectors.runtime import Publisher, RefusedError, State, Status
from connectors.sources import heartbeat
from connectors.sources.event_model import event_model, to_record
from connectors.sources.signature import Secret, genuine
from connectors.watermarks import NotAllowedError, Watermarks
from pipeline.kafka.errors import UnreachableError
from pipeline.telemetry.metrics import Metrics
from pipeline.web.app import Application, Health, build_app
from pipeline.web.problems import Problem

BODY_BYTES_MAX: Final = 1_048_576
REMEMBERED_MAX: Final = 20_000
OPEN_MAX: Final = 200
"""Requests at a time; each may hold a body in memory."""
RETRY_AFTER_S: Final = 5
_BUSY_MAX: Final = 16
"""Bodies that wait for Kafka at a time."""
_ERRORS_SHOWN: Final = 20
_ID_CHARACTERS_MAX: Final = 256

_PLAIN: Final = {
    "missing": "it is missing, and every event needs it",
    "extra_forbidden": "no field of an event has this name; /openapi.json lists those there are",
}
"""What pydantic says less plainly, by its kind of error."""
_LIST: Any = list

_log = structlog.get_logger(__name__)

DESCRIPTION: Final = """
Platforms post their events here, one or a list, in the JSON form of the raw event.
Every request is signed as [Standard Webhooks](https://www.standardwebhooks.com) describes.
202 means that Kafka has acknowledged every event of the body.
"""


@dataclass(slots=True)
class _Message:
    """One webhook id, while it is worked on and after."""

    body: bytes
    """Digest of its body."""
    lock: asyncio.Lock = field(default_factory=asyncio.Lock)
    events: int | None = None
    """How many were delivered; None: not yet."""


class _Remembered:
    """Webhook ids of late; what has fallen out is recognised by the kernel from the event ids."""

    def __init__(self, most: int = REMEMBERED_MAX) -> None:
        self._most = most
        self._messages: OrderedDict[tuple[str, str], _Message] = OrderedDict()

    def message(self, platform: str, message_id: str, body: bytes) -> _Message:
        key = (platform, message_id)
        digest = hashlib.sha256(body).digest()
        found = self._messages.setdefault(key, _Message(digest))
        self._messages.move_to_end(key)
        if found.body != digest:
            raise Problem(
                409,
                "id-reused",
                "The webhook-id was used for another body",
                "webhook-id: it was used before with another body; give every message its own.",
                extra={"field": "webhook-id"},
            )
        while len(self._messages) > self._most:
            self._messages.popitem(last=False)
        return found

    def forget(self, platform: str, message_id: str) -> None:
        self._messages.pop((platform, message_id), None)


class Webhook:
    """The source; `app` serves it."""

    name = "webhook"

    def __init__(
        self,
        publisher: Publisher,
        addressing: Addressing,
        secrets: Sequence[Secret],
        *,
        watermarks: Watermarks | None = None,
        allowed_hosts: frozenset[str] | None = None,
        clock: Callable[[], float] = time.time,
        metrics: Metrics | None = None,
    ) -> None:
        """Prepare the application.

        Args:
            publisher: where events go.
            addressing: which platforms there are.
            secrets: who may post; see `signature.secrets`.
            watermarks: where heartbeats go; None: there are none.
            allowed_hosts: host names that it answers to; None: every name.
            clock: seconds since 1970.
            metrics: counts what is delivered.

        """
        self._publisher = publisher
        self._metrics = metrics or Metrics()
        self._addressing = addressing
        self._secrets = tuple(secrets)
        self._watermarks = watermarks
        self._clock = clock
        self._remembered = _Remembered()
        self._open = 0
        self._limiter: CapacityLimiter | None = None
        self._events: TypeAdapter[list[BaseModel]] = TypeAdapter(_LIST[event_model()])
        self.status = Status(State.RUNNING)
        self.app = self._application(allowed_hosts)

    def _application(self, allowed_hosts: frozenset[str] | None) -> Application:
        app = build_app(
            title="Milepost webhook",
            description=DESCRIPTION,
            health=self._health,
            allowed_hosts=allowed_hosts,
        )
        app.add_api_route(
            "/webhooks/{platform}",
            self._post,
            methods=["POST"],
            status_code=202,
            summary="Post one event or a list of events of a platform",
            openapi_extra=_documented(),
            responses={
                200: {"description": "This webhook-id was delivered before"},
                401: {"description": "Not signed with a secret of this platform, or too long ago"},
                409: {"description": "The webhook-id was used for another body"},
                413: {"description": f"More than {BODY_BYTES_MAX} bytes"},
                415: {"description": "No application/json"},
                422: {"description": "An event can't be used; `field` and `detail` say why"},
                429: {"description": "Too many requests at once: post it again"},
                503: {"description": "Kafka or the registry is away: post it again"},
            },
        )
        app.add_api_route(
            "/webhooks/{platform}/heartbeat",
            self._heartbeat,
            methods=["POST"],
            status_code=202,
            summary="Say up to when a platform has posted everything",
            openapi_extra={"parameters": _signed(), **heartbeat.documented()},
            responses={
                401: {"description": "Not signed with a secret of this platform, or too long ago"},
                404: {"description": "The policy has no such platform"},
                422: {"description": "The body can't be used; `field` and `detail` say why"},
                429: {"description": "Too many requests at once: post the next one"},
                501: {"description": "Nobody listens to this platform's heartbeats"},
                503: {"description": "Kafka or the registry is away: post the next one"},
            },
        )
        return app

    def _health(self) -> Health:
        waiting = self.status.state is State.WAITING
        return Health("degraded" if waiting else "ok", self.status.document())

    async def _post(self, platform: str, request: Request) -> Response:
        """Signed events of a platform; 202 once Kafka has acknowledged all of them."""
        with self._admitted():
            return await self._accept(platform, request)

    @contextmanager
    def _admitted(self) -> Iterator[None]:
        """Room for one more request.

        Raises:
            Problem: there is none.

        """
        if self._open >= OPEN_MAX:
            raise Problem(
                429,
                "busy",
                "Too many requests at once",
                f"{OPEN_MAX} requests are being worked on: post it again in {RETRY_AFTER_S} "
                "seconds, or send several events in one request.",
                headers={"retry-after": str(RETRY_AFTER_S)},
            )
        self._open += 1
        try:
            yield
        finally:
            self._open -= 1

    async def _accept(self, platform: str, request: Request) -> Response:
        body = await self._authentic(platform, request)
        message_id = request.headers["webhook-id"]
        message = self._remembered.message(platform, message_id, body)
        async with message.lock:
            if message.events is not None:
                return _answer(200, message.events, repeated=True)
            try:
                events = self._parsed(platform, body)
                await self._deliver(events)
            except BaseException:
                self._remembered.forget(platform, message_id)
                raise
            message.events = len(events)
        return _answer(202, len(events), repeated=False)

    async def _authentic(self, platform: str, request: Request) -> bytes:
        """The body of a request that a known platform has signed.

        Raises:
            Problem: it has not, or the platform is unknown.

        """
        body = await _body(request)
        message_id = request.headers.get("webhook-id", "")
        if len(message_id) > _ID_CHARACTERS_MAX or not genuine(
            self._secrets,
            platform,
            message_id,
            request.headers.get("webhook-timestamp", ""),
            request.headers.get("webhook-signature", ""),
            body,
            self._clock(),
        ):
            raise Problem(401, "unauthorized", "Unauthorized", "The request is not authorised.")
        _check_type(request)
        if not self._addressing.knows(platform):
            raise Problem(
                404,
                "unknown-platform",
                "Unknown platform",
                f"{platform[:80]!r} is not in the policy bundle: correct the address, or have the "
                "platform added to policy/platforms.yaml.",
                extra={"field": "platform"},
            )
        return body

    async def _heartbeat(self, platform: str, request: Request) -> Response:
        """A platform's word up to when it has posted everything; 202 once Kafka has it."""
        with self._admitted():
            body = await self._authentic(platform, request)
        complete_to = heartbeat.read(body, int(self._clock() * 1000))
        if self._watermarks is None or not self._addressing.tells_watermarks(platform):
            raise heartbeat.not_wanted(platform)
        try:
            written = await to_thread.run_sync(self._watermarks.tell, platform, complete_to)
        except UnreachableError as error:
            self._trouble(str(error))
        except NotAllowedError as error:
            _log.warning("watermarks can't be told", why=str(error))
            raise heartbeat.not_wanted(platform) from None
        self.status.state, self.status.trouble = State.RUNNING, None
        return Response(orjson.dumps({"written": written}), 202, media_type="application/json")

    def _parsed(self, platform: str, body: bytes) -> list[Record]:
        """The events of a body.

        Raises:
            Problem: one of them can't be used; none is sent then.

        """
        try:
            content = orjson.loads(body)
        except orjson.JSONDecodeError as error:
            raise Problem(
                400, "bad-json", "No JSON", f"body: {error}; send one event or a list of events."
            ) from None
        single = not isinstance(content, list)
        try:
            found = self._events.validate_python([content] if single else content)
        except ValidationError as error:
            raise _invalid(error, single=single) from None
        if not found:
            raise _unusable("body", "the list is empty", "send at least one event")
        records = [to_record(event) for event in found]
        for index, record in enumerate(records):
            place = "" if single else f"[{index}]."
            if record["platform"] != platform:
                raise _unusable(
                    f"{place}platform",
                    f"{record['platform'][:80]!r} is not {platform!r} of the address",
                    "post each platform's events to its own address",
                )
            try:
                self._addressing.address(record)
            except UnaddressableError as error:
                raise _unusable(f"{place}{error.field}", error.detail, error.remedy) from None
        return records

    async def _deliver(self, events: list[Record]) -> None:
        """Wait until Kafka has all events.

        Raises:
            Problem: it has not; the sender is told whether to try again.

        """
        if self._limiter is None:
            self._limiter = CapacityLimiter(_BUSY_MAX)
        try:
            await to_thread.run_sync(self._publisher.publish, events, limiter=self._limiter)
        except UnreachableError as error:
            self._trouble(str(error))
        except ConfigurationError as error:
            self._trouble(str(error))
        except RefusedError as error:
            self.status.refused_documents += 1
            self._count("refused", 0)
            raise _unusable("body", str(error), "send less in one event") from None
        status = self.status
        status.state, status.trouble = State.RUNNING, None
        status.delivered_documents += 1
        status.delivered_records += len(events)
        status.delivered_ms = time.time_ns() // 1_000_000
        self._count("delivered", len(events))

    def _count(self, outcome: str, records: int) -> None:
        self._metrics.add("milepost_source_documents_total", 1, source=self.name, outcome=outcome)
        self._metrics.add("milepost_source_records_total", records, source=self.name)

    def _trouble(self, why: str) -> NoReturn:
        self.status.state, self.status.trouble = State.WAITING, why
        _log.warning("events not accepted", why=why)
        raise Problem(
            503,
            "unavailable",
            "The events can't be taken now",
            f"Nothing is wrong with the request: post it again in {RETRY_AFTER_S} seconds, under "
            "the same webhook-id.",
            headers={"retry-after": str(RETRY_AFTER_S)},
        ) from None


async def _body(request: Request) -> bytes:
    """The raw body.

    Raises:
        Problem: it is too large.

    """
    declared = request.headers.get("content-length", "")
    if declared.isdecimal() and int(declared) > BODY_BYTES_MAX:
        raise _too_large()
    body = bytearray()
    async for part in request.stream():
        body += part
        if len(body) > BODY_BYTES_MAX:
            raise _too_large()
    return bytes(body)


def _too_large() -> Problem:
    return Problem(
        413,
        "too-large",
        "The body is too large",
        f"body: more than {BODY_BYTES_MAX:,} bytes; send the events in several requests.",
        extra={"field": "body"},
    )


def _check_type(request: Request) -> None:
    given = request.headers.get("content-type", "")
    if given.partition(";")[0].strip().lower() != "application/json":
        raise Problem(
            415,
            "unsupported-type",
            "Unsupported content type",
            f"content-type: {given[:80] or 'missing'}; send application/json.",
            extra={"field": "content-type"},
        )


def _unusable(name: str, detail: str, remedy: str) -> Problem:
    return Problem(
        422,
        "bad-event",
        "An event can't be used",
        f"{name}: {detail}; {remedy}.",
        extra={"field": name, "remedy": remedy},
    )


def _invalid(error: ValidationError, *, single: bool) -> Problem:
    """Every field that can't be used, the first in full."""
    errors = []
    for item in error.errors(include_url=False, include_context=False, include_input=False):
        location = item["loc"][1:] if single else item["loc"]
        name = "".join(
            f"[{part}]" if isinstance(part, int) else f".{part}" for part in location
        ).removeprefix(".")
        message = _PLAIN.get(item["type"]) or item["msg"].removeprefix("Value error, ")
        errors.append({"field": name or "body", "message": message})
    first = errors[0]
    return Problem(
        422,
        "bad-event",
        "An event can't be used",
        f"{first['field']}: {first['message']}; correct it and post the body again, nothing of it "
        "was taken.",
        extra={"field": first["field"], "errors": errors[:_ERRORS_SHOWN]},
    )


def _answer(status: int, events: int, *, repeated: bool) -> Response:
    body = orjson.dumps({"events": events, "repeated": repeated})
    return Response(body, status, media_type="application/json")


def _signed() -> list[dict[str, Any]]:
    """What OpenAPI says about the headers of a signed request."""
    return [
        {"name": name, "in": "header", "required": True, "schema": {"type": "string"}}
        for name in ("webhook-id", "webhook-timestamp", "webhook-signature")
    ]


def _documented() -> dict[str, Any]:
    """What OpenAPI says about the body and the headers."""
    schema = event_model().model_json_schema()
    event = _inlined(schema, schema.pop("$defs", {}))
    return {
        "parameters": _signed(),
        "requestBody": {
            "required": True,
            "content": {
                "application/json": {
                    "schema": {"oneOf": [event, {"type": "array", "items": event}]}
                }
            },
        },
    }


def _inlined(node: Any, definitions: dict[str, Any]) -> Any:
    """A schema with its references replaced by what they point to."""
    if isinstance(node, dict):
        reference = node.get("$ref")
        if isinstance(reference, str):
            return _inlined(definitions[reference.rpartition("/")[2]], definitions)
        return {key: _inlined(value, definitions) for key, value in node.items()}
    if isinstance(node, list):
        return [_inlined(item, definitions) for item in node]
    return node
