"""What a re-decision would publish, worked out in memory on copies of the partitions' states."""

from datetime import UTC, datetime, timedelta

import pytest

from pipeline.cli.preview import Choice, Preview, UnknownPolicyError, choose
from pipeline.cli.restoring import changelog
from pipeline.contract import names
from pipeline.contract.bundle import Bundle, load_bundle
from pipeline.contract.policy_tables import compile_policy
from pipeline.governance.vocabulary import ControlKind
from pipeline.kafka.reading import Span, Stored
from pipeline.streams.state import PARTITION_KEY, PartitionState
from pipeline.testing.driver import TopologyDriver

BUNDLE = load_bundle()
NOW_MS = 1_790_000_000_000
MINUTE_MS = 60_000


def handed_over():
    """North America's transport has belonged to Europe's TMS for a month."""
    content = BUNDLE.model_dump(by_alias=True)
    content["heading"]["version"] = "handed"
    rule = next(row for row in content["rules"] if row["rule"] == "transport-na")
    began = datetime.fromtimestamp(NOW_MS / 1000, UTC) - timedelta(days=30)
    content["rules"].append(rule | {"rule": "handed-na", "owner": "tms-eu", "from": began})
    rule["until"] = began
    return compile_policy(Bundle.model_validate(content))


class World(TopologyDriver):
    """Two platforms say different times of one departure; then the policy changes."""

    def __init__(self):
        super().__init__([compile_policy(BUNDLE), handed_over()], start_ms=NOW_MS)

    def say(self, platform, status, shipment, minutes, **given):
        self.now_ms += MINUTE_MS
        self.pipe(
            f"logistics.raw.{platform}.v1",
            {
                "event_id": f"{platform}-{status}-{shipment}-{minutes}",
                "platform": platform,
                "entity_type": "shipment",
                "entity_id": shipment,
                "native_status": status,
                "classifier": "ACTUAL",
                "occurred": NOW_MS + minutes * MINUTE_MS,
                "occurred_precision": "SECOND",
                **given,
            },
        )

    def tell(self, shipment):
        stops = [stop(1, "PICKUP", "DAL1"), stop(2, "DELIVERY", "C-ATL")]
        self.say("tms-na", "TENDERED", shipment, -60, stops=stops)
        self.say("tms-na", "SHIPPED", shipment, -5)
        self.say("tms-eu", "PICKED_UP", shipment, -50)

    def copies(self):
        """States as a command restores them."""
        kept = [{} for _ in range(self.partitions)]
        for output in self.outputs:
            if output.topic == names.CHANGELOG:
                kept[output.partition][output.key] = output.value
        present = [{k: v for k, v in entries.items() if v is not None} for entries in kept]
        return [PartitionState.restore(number, found) for number, found in enumerate(present)]

    def preview(self, **wanted):
        states = self.copies()
        chosen = choose(states, self.policies, Choice(**wanted))
        return Preview(states, self.policies).run(chosen)


def stop(number, role, location):
    empty = dict.fromkeys(("name", "city", "subdivision", "country"))
    return {"number": number, "role": role, "location": location, **empty}


@pytest.fixture
def world():
    world = World()
    world.tell("S1")
    return world


def test_nothing_changes_while_the_policy_is_the_same(world):
    foreseen = world.preview()
    assert foreseen.examined == 1
    assert (foreseen.changed, foreseen.approved) == ({}, [])


def test_what_would_be_published_is_what_is_published(world):
    world.activate("handed")
    foreseen = world.preview()
    before = len(world.records(names.APPROVED))
    world.control(ControlKind.REDECIDE, entities=["acme/shipment/S1"])
    published = world.records(names.APPROVED)[before:]
    assert [record["action"] for record in published] == ["RETRACT", "CORRECT"]
    assert foreseen.approved == published
    assert foreseen.spoke[published[1]["milestone_id"]] == "tms-na"


def test_a_preview_changes_nothing(world):
    world.activate("handed")
    assert world.preview() == world.preview()


def test_a_second_time_finds_nothing(world):
    world.activate("handed")
    world.control(ControlKind.REDECIDE, entities=["acme/shipment/S1"])
    assert world.preview().changed == {}


def test_only_entities_that_would_change_are_to_be_decided_again(world):
    world.tell("S2")
    world.say("tms-eu", "PICKED_UP", "S3", -50, stop=stop(1, "PICKUP", "MUC1"))
    world.activate("handed")
    foreseen = world.preview()
    assert foreseen.examined == 3
    changed = {key for keys in foreseen.changed.values() for key in keys}
    assert changed == {"acme/shipment/S1", "acme/shipment/S2"}


@pytest.mark.parametrize(
    ("wanted", "found"),
    [
        ({"entities": frozenset({"acme/shipment/S1"})}, {"S1"}),
        ({"since_ms": NOW_MS + 4 * MINUTE_MS}, {"S2"}),
        ({"event_types": frozenset({"delivered"})}, {"S2"}),
        ({"rule": "goods-issue-na"}, set()),
        ({"rule": "handed-na"}, {"S1", "S2"}),
        ({"rule": "handed-na", "event_types": frozenset({"delivered"})}, {"S2"}),
    ],
)
def test_entities_are_chosen_by_what_is_known_of_them(world, wanted, found):
    world.say("tms-na", "DELIVERED", "S2", -1, stop=stop(2, "DELIVERY", "C-ATL"))
    world.activate("handed")
    chosen = choose(world.copies(), world.policies, Choice(**wanted))
    keys = {key.rpartition("/")[2] for keys in chosen.values() for key in keys}
    assert keys == found


def test_a_bundle_that_is_not_there_is_told(world):
    states = world.copies()
    chosen = choose(states, world.policies, Choice())
    with pytest.raises(UnknownPolicyError, match=r"is governed by bundle 2026\.11\.1"):
        Preview(states, {}).run(chosen)


# The changelog is read as one batch left it


class Copied:
    """One partition of a changelog."""

    def __init__(self, *entries):
        self._stored = [
            Stored(names.CHANGELOG, 0, offset, 0, key, value, [])
            for offset, (key, value) in enumerate(entries)
        ]

    def span(self, *_):
        return Span(0, len(self._stored))

    def records(self, *_):
        return iter(self._stored)


def test_a_batch_whose_end_is_not_there_is_left_out():
    own = PARTITION_KEY
    evidence = Copied((b"a", b"1"), (b"b", b"1"), (own, b"x"), (b"a", b"2"), (b"b", None))
    assert changelog(evidence, 0) == {b"a": b"1", b"b": b"1", own: b"x"}
    evidence = Copied((b"a", b"1"), (own, b"x"), (b"a", None), (own, b"y"))
    assert changelog(evidence, 0) == {own: b"y"}
