"""How fresh the portal's answers are, in words and as health. Pure: must never read the store."""

from __future__ import annotations

from typing import Any, Final

from connectors.portal import store, views
from connectors.portal.times import utc
from pipeline.web.app import Health

UNHEARD_MS_MAX: Final = 20_000
"""A sink that has not been heard of for longer is taken to be away."""

AWAY: Final = "store-away"
"""Kind of problem while the database does not answer."""
STORE_AWAY: Final = views.Freshness(
    verified_at=None, stale=True, why="The portal's database does not answer."
)

_CAUSES: Final = {
    "Kafka": "Kafka does not answer",
    "The schema registry": "The schema registry does not answer",
}
"""What a customer is told, by how the sink's own sentence begins; that one is for operators."""

_WORKING: Final = ("starting", "reading")


def freshness(found: store.Freshness, now_ms: int, stale_ms: int) -> views.Freshness:
    """Up to when the store is complete, and what keeps it from being fresh.

    Args:
        found: what the store says.
        now_ms: the portal's own clock, ms UTC.
        stale_ms: age above which an answer counts as stale.

    """
    age_ms = None if found.verified_ms is None else now_ms - found.verified_ms
    stale = age_ms is None or age_ms > stale_ms
    return views.Freshness(
        verified_at=None if found.verified_ms is None else utc(found.verified_ms),
        stale=stale,
        why=_why(found, now_ms) if stale else None,
    )


def health(found: store.Freshness, now_ms: int, stale_ms: int) -> Health:
    """Health of the portal: it serves whatever the store has, so it is degraded at worst."""
    fresh = freshness(found, now_ms, stale_ms)
    heard = now_ms - found.heard_ms <= UNHEARD_MS_MAX
    reachable = found.state == "reading" and heard
    detail: dict[str, Any] = {
        "freshness": fresh.model_dump(mode="json"),
        "kafka": {
            "reachable": reachable,
            "state": found.state if heard else "unheard",
            "detail": found.detail,
            "since": utc(found.since_ms).isoformat() if found.since_ms else None,
        },
        "offsets_behind": found.behind,
        "records_set_aside": found.unreadable,
    }
    fine = reachable and not fresh.stale and not found.unreadable
    return Health("ok" if fine else "degraded", detail)


def _why(found: store.Freshness, now_ms: int) -> str:
    if found.state == "absent":
        return "Nothing has been read from Kafka yet."
    if found.state not in _WORKING:
        since = f"{utc(found.since_ms):%Y-%m-%d %H:%M:%S} UTC"
        if found.state == "stopped":
            return f"The portal's reader was stopped at {since}."
        return f"{_cause(found.detail)}, since {since}."
    if now_ms - found.heard_ms > UNHEARD_MS_MAX:
        heard = f"{utc(found.heard_ms):%Y-%m-%d %H:%M:%S} UTC"
        return f"The portal's reader has not been heard of since {heard}."
    if found.behind:
        return f"Catching up: {found.behind:,} offsets still to read."
    return "Kafka has not confirmed for a while that nothing is missing."


def _cause(detail: str) -> str:
    found = (said for start, said in _CAUSES.items() if detail.startswith(start))
    return next(found, "New records can't be taken in")
