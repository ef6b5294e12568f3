"""A simulated ERP: its own process, real HTTP, durable books, and faults to switch on.

`POST /postings` books under an Idempotency-Key, `PUT /faults` makes it behave as real ones do at
their worst, `GET /summary` says what was booked twice. Must never know Milepost's outbox.
"""

from __future__ import annotations

import asyncio
import contextlib
import random
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any, Final, Literal

import orjson
from fastapi import Request, Response
from pydantic import BaseModel, ConfigDict, Field, ValidationError
from starlette.types import Receive, Scope, Send

from connectors.simulation.erp_books import Booked, Counted, ErpBooks, RefusedError
from pipeline.settings import Settings
from pipeline.web.app import Application, Health, build_app
from pipeline.web.headers import hosts_allowed
from pipeline.web.problems import Problem, bad_value
from pipeline.web.server import serve

BODY_BYTES_MAX: Final = 65_536
KEY_MAX: Final = 255
_IN_FLIGHT_MAX = 1_000


class Refusal(BaseModel):
    """Which postings the ERP refuses, and what it says to them; an empty field matches all."""

    model_config = ConfigDict(extra="forbid")
    posting: str = ""
    entity_id: str = ""
    words: str = "cost centre 4711 is locked"


class Faults(BaseModel):
    """How the ERP misbehaves."""

    model_config = ConfigDict(extra="forbid")
    honours_keys: bool = True
    down: bool = False
    """503 to every posting and question."""
    too_many: bool = False
    """429 to every posting."""
    retry_after_s: int | None = Field(default=None, ge=0, le=86_400)
    """Told with 503 and 429."""
    slow_ms: int = Field(default=0, ge=0, le=60_000)
    error_rate: float = Field(default=0.0, ge=0, le=1)
    """Share of postings answered 500 and not booked."""
    lose_rate: float = Field(default=0.0, ge=0, le=1)
    """Share of postings that are booked and whose answer is lost on the way."""
    lose_next: int = Field(default=0, ge=0)
    """So many of the next postings are booked and their answers lost."""
    refuse: list[Refusal] = Field(default=[], max_length=100)
    seed: int = 0


class PostingBody(BaseModel):
    """What a posting says, as far as the books look at it."""

    model_config = ConfigDict(extra="allow")
    posting: str = Field(min_length=1, max_length=64)
    kind: Literal["ORIGINAL", "ADJUSTMENT", "REVERSAL"] = "ORIGINAL"
    reference: str | None = Field(default=None, max_length=KEY_MAX)
    tenant: str = Field(max_length=128)
    entity_type: str = Field(max_length=32)
    entity_id: str = Field(max_length=256)
    milestone_id: str = Field(default="", max_length=64)
    revision: int = 1


class LostAnswer(Response):
    """An answer that breaks off before it is complete."""

    async def __call__(self, _scope: Scope, _receive: Receive, send: Send) -> None:
        """Begin the answer and leave it at that: the server then cuts the connection."""
        headers = [(b"content-length", b"1000")]
        await send({"type": "http.response.start", "status": 200, "headers": headers})
        await send({"type": "http.response.body", "body": b"{", "more_body": True})


class SimulatedErp:
    """The ERP behind the routes.

    Args:
        books: what it has booked.
        faults: how it misbehaves from the start.

    """

    def __init__(self, books: ErpBooks, faults: Faults | None = None) -> None:
        self.books = books
        self.faults = Faults()
        self._chance = random.Random()  # noqa: S311  simulated faults
        self._in_flight: set[str] = set()
        self.misbehave(faults or Faults())

    def misbehave(self, faults: Faults) -> None:
        """Switch faults; whatever is not named is off."""
        self.faults = faults
        self._chance = random.Random(faults.seed)  # noqa: S311  simulated faults

    async def post(self, key: str, body: bytes) -> Response:
        """Answer one posting, after whatever is to go wrong has gone wrong.

        Raises:
            Problem: it was not booked.

        """
        content = _content(body)
        faults = self.faults
        self.books.count(Counted.REQUESTS)
        with self._alone(key):
            if faults.slow_ms:
                await asyncio.sleep(faults.slow_ms / 1_000)
            self._stumble(content)
            try:
                booked = self.books.book(
                    key, body, content.model_dump(), honours=faults.honours_keys
                )
            except RefusedError as error:
                raise Problem(422, "refused", "The posting is refused", f"{error}.") from None
        if faults.lose_next:
            faults.lose_next -= 1
            return LostAnswer()
        if self._chance.random() < faults.lose_rate:
            return LostAnswer()
        return _answer(booked)

    def look(self) -> None:
        """Be as unavailable to a question as to a posting.

        Raises:
            Problem: the ERP is down.

        """
        if self.faults.down:
            raise Problem(
                503,
                "down",
                "The ERP is down",
                "The ERP is down for maintenance.",
                headers=self._retry_after(),
            )

    def _stumble(self, content: PostingBody) -> None:
        faults = self.faults
        self.look()
        if faults.too_many:
            raise Problem(
                429,
                "too-many",
                "Too many requests",
                "Too many postings: come again later.",
                headers=self._retry_after(),
            )
        for rule in faults.refuse:
            if rule.posting in ("", content.posting) and rule.entity_id in ("", content.entity_id):
                self.books.count(Counted.REFUSALS)
                raise Problem(422, "refused", "The posting is refused", rule.words)
        if self._chance.random() < faults.error_rate:
            raise Problem(500, "failed", "The ERP failed", "Short dump: see transaction ST22.")

    def _retry_after(self) -> dict[str, str]:
        seconds = self.faults.retry_after_s
        return {} if seconds is None else {"retry-after": str(seconds)}

    @contextlib.contextmanager
    def _alone(self, key: str) -> Iterator[None]:
        """Hold a key while its posting is under way; a second one is told to come later."""
        if not self.faults.honours_keys:
            yield
            return
        if key in self._in_flight or len(self._in_flight) >= _IN_FLIGHT_MAX:
            raise Problem(
                409, "in-progress", "In progress", "That posting is being booked: come again."
            )
        self._in_flight.add(key)
        try:
            yield
        finally:
            self._in_flight.discard(key)


def build_simulated_erp(
    settings: Settings, books: ErpBooks, faults: Faults | None = None
) -> Application:
    """The application that serves one simulated ERP."""
    erp = SimulatedErp(books, faults)
    app = build_app(
        title="Simulated ERP",
        description="Books postings, and misbehaves on demand.",
        health=lambda: Health("degraded" if erp.faults.down else "ok"),
        allowed_hosts=hosts_allowed(settings),
    )

    @app.post("/postings", summary="Book a posting under its Idempotency-Key")
    async def post(request: Request) -> Response:
        """201 with the document's number; 200 and the same number for a key that is known."""
        key = request.headers.get("idempotency-key", "").strip('"')
        if not 0 < len(key) <= KEY_MAX:
            raise Problem(
                400, "key-missing", "No Idempotency-Key", "Send an Idempotency-Key of your own."
            )
        return await erp.post(key, await _body(request))

    @app.get("/postings/{key:path}", summary="Whether a key was booked")
    async def find(key: str) -> Response:
        """404 if it was not."""
        erp.look()
        found = erp.books.find(key)
        if found is None:
            raise Problem(404, "unknown-key", "Not booked", f"There is no posting under {key}.")
        return _json(found)

    @app.get("/postings", summary="What was booked, in order")
    async def postings(entity: str | None = None, after: int = 0, limit: int = 100) -> Response:
        """At most 1,000 at once; go on after the last number."""
        return _json(erp.books.postings(entity=entity, after=after, limit=limit))

    @app.get("/summary", summary="Counts, and what should not be: double postings")
    async def summary() -> Response:
        """`double_postings` counts bookings beyond the first of their key."""
        return _json(erp.books.summary())

    @app.get("/faults", summary="How it misbehaves now")
    async def faults_now() -> Response:
        """Every fault and its value."""
        return _json(erp.faults.model_dump())

    @app.put("/faults", summary="Switch faults; what is not named is off")
    async def misbehave(request: Request) -> Response:
        """The body is a JSON object of the faults to switch on; `{}` heals it."""
        try:
            erp.misbehave(Faults.model_validate_json(await _body(request) or b"{}"))
        except ValidationError as error:
            item = error.errors()[0]
            field = ".".join(str(part) for part in item["loc"]) or "body"
            raise bad_value(field, item["msg"], "see GET /faults for all of them") from None
        return _json(erp.faults.model_dump())

    return app


def run_simulated_erp(
    settings: Settings,
    port: int = 0,
    ready: Callable[[str], None] | None = None,
    *,
    faults: Faults | None = None,
    path: Path | None = None,
) -> None:
    """Serve a simulated ERP until SIGINT or SIGTERM.

    Args:
        settings: host and state directory.
        port: port to bind; 0: a free one.
        ready: told the base URL, the value for MILEPOST_ERP_URL.
        faults: how it misbehaves from the start.
        path: file of its books; they are kept across starts.

    Raises:
        AddressInUseError: the port is taken.

    """
    books = ErpBooks(path or settings.state_dir / "erp" / "simulated-erp.sqlite")
    try:
        app = build_simulated_erp(settings, books, faults)
        serve(app, host=settings.host, port=port, ready=ready)
    finally:
        books.close()


async def _body(request: Request) -> bytes:
    """The request's body, up to the limit."""
    body = b""
    async for part in request.stream():
        body += part
        if len(body) > BODY_BYTES_MAX:
            raise Problem(413, "too-large", "Too large", f"Send at most {BODY_BYTES_MAX:,} bytes.")
    return body


def _content(body: bytes) -> PostingBody:
    try:
        return PostingBody.model_validate_json(body)
    except ValidationError as error:
        item = error.errors()[0]
        field = ".".join(str(part) for part in item["loc"]) or "body"
        raise bad_value(field, item["msg"], "correct the posting") from None


def _answer(booked: Booked) -> Response:
    headers = {"idempotent-replayed": "true"} if booked.replayed else {}
    content = {"document": booked.document, "key": booked.key}
    status = 200 if booked.replayed else 201
    return Response(orjson.dumps(content), status, headers, media_type="application/json")


def _json(content: Any) -> Response:
    return Response(orjson.dumps(content), media_type="application/json")
