"""Who is held back and since when, from state, control topic and alerts; what a change writes."""

import pytest
from told_world import World

from pipeline.contract.bundle import load_bundle
from pipeline.governance.vocabulary import ControlKind
from pipeline.operations import platforms
from pipeline.operations.platforms import Trusted, Waiting


@pytest.fixture
def world():
    return World()


def trusted(world):
    """What a command reads out of the changelog, here out of the driver's states."""
    return [
        Trusted(
            state.partition,
            state.policy_version or "",
            dict(state.trust.held_back),
            dict(state.time.complete),
            {},
        )
        for state in world.states
    ]


def rows(world):
    return platforms.held_back(world.copies(), trusted(world))


def suspend(world, by="kim", why="nonsense"):
    world.control(ControlKind.SUSPEND, platform="tms-na", issued_by=by, why=why)


def test_nobody_is_held_back_at_first(world):
    assert rows(world) == []


def test_a_suspension_is_told_with_who_why_and_since_when(world):
    suspend(world)
    since = world.now_ms
    world.say("e1", "S1", "DELIVERED")
    suspend(world, by="lee", why="still")
    found = rows(world)
    assert [row.partition for row in found] == [0, 1, 2, 3]
    assert {row[2:6] for row in found} == {("platform_suspended", since, "kim", "nonsense")}


def test_who_was_released_and_suspended_again_is_held_since_then(world):
    suspend(world)
    world.control(ControlKind.RELEASE, platform="tms-na")
    world.now_ms += 1_000
    suspend(world, by="lee")
    assert {(row.since_ms, row.by) for row in rows(world)} == {(world.now_ms, "lee")}


def test_a_brake_is_told_with_the_last_straw(world):
    for number in range(200):
        world.garble("S1", b"<%d>" % number)
    (row,) = rows(world)
    assert (row.platform, row.reason) == ("tms-na", "platform_braked")
    assert row.since_ms == world.now_ms
    assert (row.by, row.why) == ("the dead-letter brake", "the last of many: undecodable")


def test_what_retention_took_is_not_made_up(world):
    suspend(world)
    copies = world.copies()
    for number in range(4):
        copies.records_of["logistics.control.v1", number].clear()
    found = platforms.held_back(copies, trusted(world))
    assert {(row.since_ms, row.by) for row in found} == {(None, "")}


def test_claims_that_wait_are_counted_by_platform(world):
    suspend(world)
    (first, *_) = trusted(world)
    first = first._replace(waiting={"tms-na": Waiting(3, 17)})
    (row,) = platforms.held_back(world.copies(), [first])
    assert (row.claims, row.first_deadline_ms) == (3, 17)


def test_only_what_changes_something_is_written(world):
    def due(kind, **told):
        return platforms.changes(kind, "tms-na", trusted(world), "kim", "why", **told)

    assert due(ControlKind.RELEASE) == []
    records = due(ControlKind.SUSPEND)
    assert [record["partition"] for record in records] == [0, 1, 2, 3]
    assert {record["issued_by"] for record in records} == {"kim"}
    suspend(world)
    assert due(ControlKind.SUSPEND) == []
    assert len(due(ControlKind.RELEASE)) == 4


def test_a_braked_platform_can_be_suspended(world):
    (item, *_) = trusted(world)
    braked = item._replace(held_back={"tms-na": "platform_braked"})
    assert len(platforms.changes(ControlKind.SUSPEND, "tms-na", [braked], "kim", "why")) == 1


def test_a_clock_that_says_who_is_complete_may_run_a_minute_ahead(world):
    assert not platforms.too_early(world.now_ms + 60_000, world.now_ms)
    assert platforms.too_early(world.now_ms + 60_001, world.now_ms)


def test_a_platform_is_asked_for_watermarks_where_its_row_says_so():
    bundle = load_bundle()
    assert not platforms.asks_for_watermarks(bundle, "tms-na")
    rows = [row.model_copy(update={"watermarks": row.name == "tms-na"}) for row in bundle.platforms]
    bundle = bundle.model_copy(update={"platforms": rows})
    assert platforms.asks_for_watermarks(bundle, "tms-na")


def test_a_watermark_never_moves_back(world):
    def due(at):
        return platforms.changes(
            ControlKind.WATERMARK, "tms-na", trusted(world), "kim", "why", complete_to=at
        )

    assert len(due(1_000)) == 4
    world.control(ControlKind.WATERMARK, platform="tms-na", complete_to=1_000)
    assert due(1_000) == due(999) == []
    assert len(due(1_001)) == 4
