"""What an answer of the ERP means, or that there was none: a pure classification.

Must never know entries or when to try again; it knows only what an answer says about that.
"""

from __future__ import annotations

from collections.abc import Mapping
from email.utils import parsedate_to_datetime
from enum import StrEnum
from http import HTTPStatus
from typing import Any, Final, NamedTuple

import httpx
import orjson

WAIT_MS_MAX: Final = 24 * 3_600_000
"""A Retry-After beyond a day is taken for a day."""
WORDS_MAX: Final = 500


class Verdict(StrEnum):
    """What is to be done about a posting."""

    BOOKED = "booked"
    UNKNOWN_KEY = "unknown_key"  # only to a question by key: it has not been booked
    REFUSED = "refused"  # as it is, it will never be booked
    TROUBLE = "trouble"  # of this posting or of the endpoint: nobody can tell yet
    OUTAGE = "outage"  # of the endpoint: no posting will get through now


class Answer(NamedTuple):
    """An answer, or its absence."""

    verdict: Verdict
    words: str
    """What the ERP said, for people."""
    sent: bool
    """Whether the request may have been carried out."""
    document: str = ""
    """Number under which the ERP booked it."""
    wait_ms: int | None = None
    """How long the ERP asks to be left alone."""


_CREDENTIALS: Final = {HTTPStatus.UNAUTHORIZED, HTTPStatus.FORBIDDEN}
_LATER: Final = {HTTPStatus.REQUEST_TIMEOUT, HTTPStatus.CONFLICT, HTTPStatus.TOO_EARLY}
_NOT_SENT: Final = (
    httpx.ConnectError,
    httpx.ConnectTimeout,
    httpx.PoolTimeout,
    httpx.ProxyError,
    httpx.UnsupportedProtocol,
)


def judge(status: int, headers: Mapping[str, str], body: bytes, now_ms: int) -> Answer:
    """Classify a complete answer to a posting.

    Args:
        status: HTTP status.
        headers: names in any case if the mapping allows it.
        body: as far as it was read.
        now_ms: for a Retry-After that names a date.

    """
    words = f"{status} {_words(body)}".strip()
    wait_ms = retry_after_ms(headers.get("retry-after"), now_ms)
    if "text/html" in headers.get("content-type", ""):
        remedy = "a web page answers where the ERP should, correct MILEPOST_ERP_URL"
        return Answer(Verdict.OUTAGE, f"{remedy}: status {status}", sent=True, wait_ms=wait_ms)
    if status in (HTTPStatus.OK, HTTPStatus.CREATED, HTTPStatus.NO_CONTENT):
        return Answer(Verdict.BOOKED, words, sent=True, document=_document(body))
    if status == HTTPStatus.TOO_MANY_REQUESTS:
        return Answer(Verdict.OUTAGE, words, sent=False, wait_ms=wait_ms)
    if status in _CREDENTIALS:
        remedy = "the ERP refuses this sink's credentials"
        return Answer(Verdict.OUTAGE, f"{remedy}: {words}", sent=False, wait_ms=wait_ms)
    if 300 <= status < 400:
        remedy = "the ERP's address has moved, correct MILEPOST_ERP_URL"
        return Answer(Verdict.OUTAGE, f"{remedy}: {words}", sent=False)
    if status in _LATER or status < 300 or status >= 500:
        outage = status == HTTPStatus.SERVICE_UNAVAILABLE and wait_ms is not None
        verdict = Verdict.OUTAGE if outage else Verdict.TROUBLE
        return Answer(verdict, words, sent=True, wait_ms=wait_ms)
    return Answer(Verdict.REFUSED, words, sent=False)


def judge_question(status: int, headers: Mapping[str, str], body: bytes, now_ms: int) -> Answer:
    """Classify a complete answer to the question whether a key has been booked."""
    if status == HTTPStatus.NOT_FOUND and "text/html" not in headers.get("content-type", ""):
        return Answer(Verdict.UNKNOWN_KEY, "", sent=False)
    answer = judge(status, headers, body, now_ms)
    if status == HTTPStatus.OK:
        return answer._replace(words="found in the ERP by its key")
    verdict = Verdict.OUTAGE if answer.verdict is Verdict.OUTAGE else Verdict.TROUBLE
    return answer._replace(verdict=verdict, words=f"asked by key: {answer.words}", sent=True)


def judge_failure(error: httpx.HTTPError) -> Answer:
    """Classify the lack of an answer."""
    words = f"{type(error).__name__}: {error}".strip(": ")[:WORDS_MAX]
    if isinstance(error, _NOT_SENT):
        return Answer(Verdict.OUTAGE, f"the ERP can't be reached: {words}", sent=False)
    return Answer(Verdict.TROUBLE, f"no answer, outcome unknown: {words}", sent=True)


def retry_after_ms(value: str | None, now_ms: int) -> int | None:
    """What a Retry-After header asks for: seconds or a date; None if it can't be understood."""
    if value is None:
        return None
    if value.strip().isdecimal():
        wait = int(value.strip()[:9]) * 1_000
    else:
        try:
            wait = round(parsedate_to_datetime(value).timestamp() * 1_000) - now_ms
        except (ValueError, OverflowError):
            return None
    return min(max(wait, 0), WAIT_MS_MAX)


def _words(body: bytes) -> str:
    """What a body says to people: the detail of a problem document, else its text."""
    content = _content(body)
    for name in ("detail", "message", "error", "title"):
        if isinstance(content.get(name), str):
            return str(content[name])[:WORDS_MAX]
    text = body[: WORDS_MAX * 4].decode("utf-8", "replace")
    return " ".join("".join(c if c.isprintable() else " " for c in text).split())[:WORDS_MAX]


def _document(body: bytes) -> str:
    document = _content(body).get("document")
    return str(document)[:255] if isinstance(document, (str, int)) else ""


def _content(body: bytes) -> dict[str, Any]:
    try:
        content = orjson.loads(body)
    except orjson.JSONDecodeError:
        return {}
    return content if isinstance(content, dict) else {}
