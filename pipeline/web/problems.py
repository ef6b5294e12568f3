"""Errors as answers: RFC 9457 problem documents, never a stack trace.

Must never know what the routes do.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from http import HTTPStatus
from typing import Any, Final

import orjson
import structlog
from fastapi import FastAPI, Request, Response
from fastapi.exceptions import RequestValidationError
from starlette.exceptions import HTTPException

MEDIA_TYPE: Final = "application/problem+json"
_log = structlog.get_logger(__name__)


class Problem(Exception):  # noqa: N818  RFC 9457 calls it a problem
    """An answer other than what was asked for.

    Args:
        status: HTTP status.
        kind: kebab-case name of the kind of problem, for programs.
        title: what kind of problem it is, for people; the same for each of a kind.
        detail: one sentence: what is wrong here and how to put it right.
        extra: further members, such as `field`.
        headers: further headers of the answer.

    """

    def __init__(
        self,
        status: int,
        kind: str,
        title: str,
        detail: str,
        *,
        extra: Mapping[str, Any] | None = None,
        headers: Mapping[str, str] | None = None,
    ) -> None:
        super().__init__(detail)
        self.status = status
        self.kind = kind
        self.title = title
        self.detail = detail
        self.extra = dict(extra or {})
        self.headers = dict(headers or {})

    def document(self) -> dict[str, Any]:
        """The problem document."""
        return {
            "type": f"urn:milepost:problem:{self.kind}",
            "title": self.title,
            "status": self.status,
            "detail": self.detail,
            **self.extra,
        }

    def response(self) -> Response:
        """The answer that carries the document."""
        return Response(
            orjson.dumps(self.document()), self.status, self.headers, media_type=MEDIA_TYPE
        )


ErrorPage = Callable[[Request, Problem], Response | None]
"""Draws a problem as a page for a browser; None: it has no page for this one."""


def bad_value(field: str, detail: str, remedy: str) -> Problem:
    """A parameter has a value that can't be used: names the field and the remedy."""
    return Problem(
        422,
        "bad-value",
        "A value can't be used",
        f"{field}: {detail}; {remedy}.",
        extra={"field": field, "remedy": remedy},
    )


def answer(request: Request, problem: Problem) -> Response:
    """A problem as whoever asked can read it: a page for a browser, else the document."""
    draw: ErrorPage | None = request.app.state.error_page
    if draw is not None and "text/html" in request.headers.get("accept", ""):
        return draw(request, problem) or problem.response()
    return problem.response()


def install(app: FastAPI) -> None:
    """Answer every error of the application with a problem document.

    Browsers get a page instead, where the application has set `app.state.error_page`.
    """
    app.state.error_page = None

    @app.exception_handler(Problem)
    async def problem(request: Request, error: Problem) -> Response:
        return answer(request, error)

    @app.exception_handler(HTTPException)
    async def refused(request: Request, error: HTTPException) -> Response:
        phrase = HTTPStatus(error.status_code).phrase
        kind = phrase.lower().replace(" ", "-")
        headers = dict(error.headers or {})
        detail = _sentence(str(error.detail), request.url.path)
        return answer(request, Problem(error.status_code, kind, phrase, detail, headers=headers))

    @app.exception_handler(RequestValidationError)
    async def invalid(request: Request, error: RequestValidationError) -> Response:
        found = [
            {"field": ".".join(str(part) for part in item["loc"][1:]), "message": item["msg"]}
            for item in error.errors()
        ]
        detail = "; ".join(f"{item['field']}: {item['message']}" for item in found) + "."
        extra = {"field": found[0]["field"], "errors": found} if found else {}
        return answer(
            request, Problem(422, "bad-value", "A value can't be used", detail, extra=extra)
        )

    @app.exception_handler(Exception)
    async def failed(request: Request, error: Exception) -> Response:
        _log.error("request failed", path=request.url.path, error=repr(error))
        failure = Problem(
            500,
            "internal",
            "The server could not answer",
            "This is our fault, not yours; the server's log says more. Please try again.",
        )
        return answer(request, failure)


def _sentence(detail: str, path: str) -> str:
    """What the framework says of a request, as a sentence."""
    if detail == "Not Found":
        return f"There is nothing at {path[:200]}."
    return detail if detail.endswith(".") else f"{detail}."
