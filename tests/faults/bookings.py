"""What the ERP has to have booked in the end: by what was approved and by the posting rules.

Knows nothing of the sink, nor how a posting came about: whatever was sent, adjusted or taken back
on the way, the books have to end where the approved records end.
"""

from __future__ import annotations

import hashlib
import json
from collections import defaultdict
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field

from connectors.sinks.postings import SPLIT, Posting, PostingRules, carried

AUTHORITATIVE, ACTUAL = "AUTHORITATIVE", "ACTUAL"
Effect = tuple[str, str]
"""A milestone, and what is posted of it."""


@dataclass(slots=True)
class Story:
    """What stands of an entity, as far as postings ask for it."""

    stands: dict[str, str] = field(default_factory=dict)
    """Event types that can be a prerequisite, by milestone."""
    split: bool = False
    """Whether it ever was split into others."""
    generations: set[int] = field(default_factory=set)


@dataclass(slots=True)
class Case:
    """What was said of one milestone under one rule."""

    rule: Posting
    story: Story
    wanted: bytes | None = None
    """What is to be booked by the newest revision; None: nothing."""
    ever: set[bytes] = field(default_factory=set)
    held: bool = False
    """Whether a person ever had to release it."""

    @property
    def open(self) -> bool:
        """Whether it depends on the moment of a call, or on a person, how much of it is booked."""
        rule, story = self.rule, self.story
        missing = set(rule.requires) - set(story.stands.values())
        began_anew = bool(rule.requires) and len(story.generations) > 1
        split = story.split and SPLIT in rule.holds_on
        return self.held or split or began_anew or bool(missing)


class Bookings:
    """Takes approved records in their order; tells what is due."""

    def __init__(self, rules: PostingRules) -> None:
        self._rules = rules
        self._stories: dict[tuple[str, ...], Story] = defaultdict(Story)
        self._cases: dict[Effect, Case] = {}

    def take(self, record: Mapping) -> None:
        """Take in an approved record."""
        name = record["milestone_id"]
        entity = record["tenant"], record["entity_type"], record["entity_id"]
        story, stands = self._stories[entity], record["action"] != "RETRACT"
        if record["generation"] not in story.generations:
            story.generations.add(record["generation"])
            story.stands.clear()
        story.stands.pop(name, None)
        if stands and (record["assurance"], record["classifier"]) == (AUTHORITATIVE, ACTUAL):
            story.stands[name] = record["event_type"]
        story.split |= stands and bool(record["shipments"])
        for rule in self._rules.of(record["event_type"]):
            if not stands or record["assurance"] in rule.assurances:
                case = self._cases.setdefault((name, rule.posting), Case(rule, story))
                _say(case, record, stands=stands)

    def due(self) -> set[tuple[Effect, bytes]]:
        """Postings that the books must have, with what they say."""
        return {
            (effect, case.wanted)
            for effect, case in self._cases.items()
            if case.wanted is not None and not case.open
        }

    def allowed(self) -> set[tuple[Effect, bytes]]:
        """Postings that they may have besides."""
        return {
            (effect, told)
            for effect, case in self._cases.items()
            if case.wanted is not None and case.open
            for told in case.ever
        }

    def booked(self, postings: Iterable[Mapping]) -> set[tuple[Effect, bytes]]:
        """What stands in the books after these postings, in the order they were booked."""
        standing: dict[Effect, bytes] = {}
        for posting in postings:
            body = posting["body"]
            effect = body["milestone_id"], body["posting"]
            if body["kind"] == "REVERSAL":
                standing.pop(effect, None)
            else:
                standing[effect] = _told(self._rules.named(body["posting"]), body["values"])
        return set(standing.items())


def _say(case: Case, record: Mapping, *, stands: bool) -> None:
    case.wanted = None
    if stands and record["classifier"] in case.rule.classifiers:
        case.wanted = _told(case.rule, carried(case.rule, record))
        case.ever.add(case.wanted)
        case.held |= not set(case.rule.holds_on).isdisjoint(record["flags"])


def _told(rule: Posting, values: Mapping) -> bytes:
    """Digest of what is worth an adjustment."""
    names = rule.carries if rule.adjusts_on is None else rule.adjusts_on
    told = json.dumps({name: values.get(name) for name in names}, sort_keys=True)
    return hashlib.blake2b(told.encode(), digest_size=8).digest()
