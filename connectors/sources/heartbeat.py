"""Heartbeats of the webhook: a platform says up to when it has posted everything.

Must never know who posts them or where they go.
"""

from __future__ import annotations

from typing import Any, Final

from pydantic import AwareDatetime, BaseModel, ConfigDict, Field, ValidationError

from pipeline.web.problems import Problem

AHEAD_MS_MAX: Final = 5 * 60_000
"""How far a platform's clock may run ahead of ours."""


class Heartbeat(BaseModel):
    """The body."""

    model_config = ConfigDict(extra="forbid")

    complete_to: AwareDatetime = Field(
        description="Everything that the platform knew until then has been posted; ISO 8601 with"
        " an offset"
    )


def read(body: bytes, now_ms: int) -> int:
    """Up to when a platform has posted everything, ms UTC.

    Args:
        body: of the request.
        now_ms: what lies far behind it is refused.

    Raises:
        Problem: the body can't be used.

    """
    try:
        moment = Heartbeat.model_validate_json(body).complete_to
    except ValidationError as error:
        found = error.errors(include_url=False, include_context=False, include_input=False)[0]
        raise _unusable(found["msg"]) from None
    complete_to = int(moment.timestamp() * 1000)
    if complete_to > now_ms + AHEAD_MS_MAX:
        raise _unusable("it lies in the future")
    return complete_to


def not_wanted(platform: str) -> Problem:
    """The answer to a platform whose heartbeats nobody listens to."""
    return Problem(
        501,
        "no-heartbeats",
        "Heartbeats are not listened to",
        f"{platform}: have `watermarks: true` set in its row of policy/platforms.yaml, and the"
        " webhook allowed to write to the control topic; events are taken all the same.",
    )


def _unusable(why: str) -> Problem:
    return Problem(
        422,
        "bad-heartbeat",
        "The heartbeat can't be used",
        f"complete_to: {why}; send a time like 2026-03-01T08:00:00Z that has passed.",
        extra={"field": "complete_to"},
    )


def documented() -> dict[str, Any]:
    """What OpenAPI says about the body."""
    content = {"application/json": {"schema": Heartbeat.model_json_schema()}}
    return {"requestBody": {"required": True, "content": content}}
