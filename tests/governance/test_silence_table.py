"""Who stands when: what is published over time against a reader of the semantics' own sentences.

One milestone, its owner and ranked deputies, some of whom speak again, differ or take back. The
interpreter here walks through the moments and knows nothing of the product's judgement.
"""

from __future__ import annotations

import random
from datetime import timedelta
from typing import NamedTuple

from hypothesis import given
from hypothesis import strategies as st
from test_networks import law
from worlds import HOUR_MS, MINUTE_MS, START_MS, stop

from pipeline.contract import names
from pipeline.contract.bundle import Deputy, load_bundle
from pipeline.contract.policy_tables import compile_policy
from pipeline.testing.driver import TopologyDriver

BUNDLE = load_bundle()
RULE = next(rule for rule in BUNDLE.rules if rule.rule == "transport-na")
SAID = {"tms-na": "DELIVERED", "carrier-redline": "D1", "ops-desk": "delivered"}
AFTER_H = (1, 2, 4, 6)


class Word(NamedTuple):
    """What a platform says at a moment: when it happened, or that it takes its last word back."""

    at: int
    platform: str
    happened: int | None
    id: str


class Story(NamedTuple):
    """Who owns and who stands in after how long, in order of rank; and what is said."""

    owner: str
    silences: dict[str, int]
    tolerance: int
    words: list[Word]


def story(rnd):
    owner, *others = rnd.sample(list(SAID), len(SAID))
    silences = {name: rnd.choice(AFTER_H) * HOUR_MS for name in others[: rnd.randrange(3)]}
    spoken: dict[str, bool] = {}
    words = []
    at = START_MS + 2 * HOUR_MS
    for number in range(rnd.randrange(1, 8)):
        at += rnd.randrange(20, 200) * MINUTE_MS + 7_000
        name = rnd.choice(list(SAID))
        back = name == owner and spoken.get(name) and rnd.randrange(3) == 0
        happened = None if back else START_MS + rnd.choice((0, 10, 25, 31, 90)) * MINUTE_MS
        spoken[name] = not back
        words.append(Word(at, name, happened, f"w{number}"))
    return Story(owner, silences, 30 * MINUTE_MS, words)


def moments(told):
    """When something may change: a word, the end of a deputy's silence; by that, whose."""
    over: dict[str, int] = {}
    for word in told.words:
        if word.platform in told.silences and word.platform not in over:
            over[word.platform] = word.at + told.silences[word.platform]
    return sorted({word.at for word in told.words} | set(over.values())), over


def published(told):
    """Each revision and when it is published, by the words of the semantics."""
    revisions, stands = [], None
    last: dict[str, Word] = {}
    words = {word.at: word for word in told.words}
    when, over = moments(told)
    for moment in when:
        word = words.get(moment)
        if word is not None:
            last[word.platform] = word
        standing = _standing(told, last, over, moment)
        step = _step(told, stands, standing, last)
        if step is not None:
            revisions.append((moment, *step))
            stands = None if step[0] == "RETRACT" else standing
    return revisions


def _standing(told, last, over, moment):
    """The owner's latest word, else the best deputy's whose silence is over; None: nobody's."""
    if told.owner in last:
        return None if last[told.owner].happened is None else last[told.owner]
    for name in told.silences:
        if name in last and over[name] <= moment:
            return last[name]
    return None


def _step(told, before, after, last):
    if after is None:
        return None if before is None else ("RETRACT", "AUTHORITATIVE", last[told.owner].platform)
    assurance = "AUTHORITATIVE" if after.platform == told.owner else "PROVISIONAL"
    if before is None:
        return "ASSERT", assurance, after.platform
    if before.platform == after.platform and before.happened == after.happened:
        return None
    if assurance == "AUTHORITATIVE" and before.platform != told.owner:
        near = abs(before.happened - after.happened) <= told.tolerance
        return "CONFIRM" if near else "CORRECT", assurance, after.platform
    return "CORRECT", assurance, after.platform


def policy(told):
    deputies = [
        Deputy(platform=name, after=timedelta(milliseconds=wait))
        for name, wait in told.silences.items()
    ]
    rule = RULE.model_copy(
        update={
            "owner": told.owner,
            "deputies": deputies,
            "tolerance": timedelta(milliseconds=told.tolerance),
        }
    )
    rules = [rule if item is RULE else item for item in BUNDLE.rules]
    return compile_policy(BUNDLE.model_copy(update={"rules": rules}))


def governed(told):
    driver = TopologyDriver([policy(told)], partitions=1, start_ms=START_MS)
    last: dict[str, str] = {}
    words = {word.at: word for word in told.words}
    revisions = []
    for moment in moments(told)[0]:
        driver.reach(moment - 1)
        assert len(driver.raw_records(names.APPROVED)) == len(revisions), "before its time"
        if moment in words:
            say(driver, words[moment], last)
        driver.reach(moment)
        revisions += [
            (moment, record["action"], record["assurance"], record["platform"])
            for record in driver.records(names.APPROVED)[len(revisions) :]
        ]
    driver.reach(START_MS + 60 * HOUR_MS)
    assert len(driver.raw_records(names.APPROVED)) == len(revisions), "nothing is left to come"
    return revisions


def say(driver, word, last):
    event = {
        "event_id": word.id, "platform": word.platform, "entity_type": "shipment",
        "entity_id": "S1", "native_status": SAID[word.platform], "classifier": "ACTUAL",
        "occurred": word.happened or word.at, "occurred_precision": "MINUTE",
        "stop": stop(location="ATL1", role="DELIVERY"),
    }  # fmt: skip
    if word.happened is None:
        event |= {"retracts": last[word.platform], "native_status": "-", "stop": None}
    if word.platform == "ops-desk":
        event |= {"stated_by": "Kim", "remark": "the driver phoned"}
    last[word.platform] = word.id
    platform = driver.policies[BUNDLE.version].platforms[word.platform]
    driver.pipe(min(platform.topics), event, at_ms=word.at)


@law
@given(st.integers(0, 2**40))
def test_what_is_published_is_what_the_sentences_say_properties(seed):
    told = story(random.Random(seed))
    assert governed(told) == published(told), told
