"""Names on the wire: topics, headers, and where the files that people edit are found.

Must never know what a record means.
"""

from __future__ import annotations

from pathlib import Path
from typing import Final

import pipeline

RAW_PREFIX: Final = "logistics.raw."
APPROVED: Final = "logistics.approved-milestones.v1"
ENTITY_STATUS: Final = "logistics.entity-status.v1"
DECISIONS: Final = "logistics.decisions.v1"
DEAD_LETTER: Final = "logistics.dead-letter.v1"
ALERTS: Final = "logistics.alerts.v1"
DISCREPANCIES: Final = "logistics.discrepancies.v1"
REMEDIATION: Final = "logistics.remediation.v1"
POLICY: Final = "logistics.policy.v1"
REKEYED: Final = "logistics.rekeyed.v1"
REPLAY: Final = "logistics.replay.v1"
LINKS: Final = "logistics.links.v1"
CONTROL: Final = "logistics.control.v1"
INTERNAL: Final = frozenset({REKEYED, REPLAY, LINKS, CONTROL})
"""Inputs of the governor that only Milepost and its operators write."""
CHANGELOG: Final = "logistics.governor-changelog.v1"

# Headers of approved records, always present
HEADER_ACTION: Final = "milepost.action"
HEADER_ASSURANCE: Final = "milepost.assurance"
HEADER_EVENT_TYPE: Final = "milepost.event-type"
HEADER_TENANT: Final = "milepost.tenant"

# W3C Trace Context: an approved record has that of the raw record whose claim it carries
HEADER_TRACE: Final = "traceparent"

# Headers of re-keyed and replayed records: where the record came from, when it was appended, and
# its key there, if it is sent on under another one
HEADER_ORIGIN: Final = "milepost.origin"
HEADER_KEY: Final = "milepost.origin-key"
HEADER_HOPS: Final = "milepost.hops"
HEADER_REPAIRED_BY: Final = "milepost.repaired-by"
REPLAY_PREFIX: Final = "milepost.replay."
HEADER_REPLAY_ID: Final = f"{REPLAY_PREFIX}id"
HEADER_REPLAY_BY: Final = f"{REPLAY_PREFIX}by"
HEADER_REPLAY_WHY: Final = f"{REPLAY_PREFIX}why"
HEADER_REPLAY_COUNT: Final = f"{REPLAY_PREFIX}count"

DEAD_LETTER_PREFIX: Final = "milepost.dlq."


def raw_topic(platform: str) -> str:
    """Raw topic of a platform that has one of its own."""
    return f"{RAW_PREFIX}{platform}.v1"


def subject(topic: str) -> str:
    """Registry subject of a topic's values."""
    return f"{topic}-value"


def data_root() -> Path:
    """Folder that holds `schemas/`, `policy/` and `topics.yaml`: the checkout, else the package."""
    package = Path(pipeline.__file__).parent
    checkout = package.parent
    return checkout if (checkout / "topics.yaml").is_file() else package / "data"
