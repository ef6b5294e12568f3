"""When a worker that reads nothing is taken for stalled, and when it merely has nothing to read."""

import pytest

from pipeline.lane.config import LaneError
from pipeline.lane.stalls import LOOKS, OUTSIDE_S, Stalls, Unread

ORDERS, PARCELS = ("orders", 2), ("parcels", 0)
LAG = Unread(17, 18, 50)


class Watched:
    """Looks again and again at inputs that stand somewhere."""

    def __init__(self):
        self.stalls = Stalls(30.0, 0.0)
        self.now = 0.0
        self.at = {ORDERS: 17, PARCELS: 5}

    def begin(self):
        self.now += 10.0
        assert self.stalls.due(self.now)
        return self.stalls.begin(self.now, self.at)

    def look(self, unread):
        asked = self.begin()
        if asked:
            found = {place: lag for place, lag in unread.items() if place in asked}
            self.stalls.found(self.at, found)

    def look_until_one_is_missing(self):
        """A first look only notes where everything stands."""
        for _ in range(LOOKS):
            self.look({ORDERS: LAG})


@pytest.fixture
def watched():
    return Watched()


def test_what_others_can_read_and_this_worker_does_not_ends_it_by_name(watched):
    watched.look_until_one_is_missing()
    with pytest.raises(LaneError) as ended:
        watched.look({ORDERS: LAG})
    assert str(ended.value) == (
        "watchdog: nothing was read for 30 s though another consumer reads there:"
        " orders[2]: position 17, a record at 18, end 50, lag 33"
    )


def test_only_what_stands_still_is_asked_about(watched):
    assert watched.begin() == {}
    watched.at[PARCELS] = 6
    assert watched.begin() == {ORDERS: 17}


def test_one_look_is_on_its_way_at_most(watched):
    watched.begin()
    watched.begin()
    assert not watched.stalls.due(1_000.0)
    watched.stalls.found(watched.at, {})
    assert watched.stalls.due(1_000.0)


@pytest.mark.parametrize(
    "calm",
    [
        pytest.param(lambda watched: watched.look({}), id="nothing could be read for a while"),
        pytest.param(lambda watched: watched.at.update({ORDERS: 18}), id="it moved"),
        pytest.param(lambda watched: watched.stalls.put_off([ORDERS]), id="it was put off"),
        pytest.param(lambda watched: watched.stalls.forget(), id="it was assigned anew"),
    ],
)
def test_counting_begins_anew_when(watched, calm):
    watched.look_until_one_is_missing()
    calm(watched)
    for _ in range(LOOKS - 1):
        watched.look({ORDERS: LAG._replace(position=watched.at[ORDERS])})


def test_an_input_that_moved_while_somebody_looked_is_not_counted(watched):
    watched.look_until_one_is_missing()
    watched.begin()
    watched.at[ORDERS] = 18
    watched.stalls.found(watched.at, {ORDERS: LAG})


def test_an_input_that_is_not_fetched_any_more_is_not_counted(watched):
    watched.look_until_one_is_missing()
    watched.begin()
    del watched.at[ORDERS]
    watched.stalls.found(watched.at, {ORDERS: LAG})


def outside(watched, **seen):
    watched.now += 10.0
    assert watched.stalls.due(watched.now)
    watched.stalls.begin_outside(watched.now)
    watched.stalls.found_outside(**seen)


def test_a_group_is_looked_at_as_soon_as_it_is_left_and_four_times_in_its_limit(watched):
    watched.begin()
    watched.stalls.found(watched.at, {})
    assert not watched.stalls.due(watched.now + 1)
    watched.stalls.forget()
    assert watched.stalls.due(watched.now + 1)
    watched.stalls.begin_outside(watched.now)
    watched.stalls.found_outside(joining=True, settled=True)
    every_s = OUTSIDE_S / (LOOKS - 1)
    assert not watched.stalls.due(watched.now + every_s - 0.1)
    assert watched.stalls.due(watched.now + every_s + 0.1)


def test_joining_a_group_that_waits_for_nobody_ends_it(watched):
    for _ in range(LOOKS - 1):
        outside(watched, joining=True, settled=True)
    with pytest.raises(LaneError, match="joining for 20 s, though the group waits for nobody"):
        outside(watched, joining=True, settled=True)


@pytest.mark.parametrize("seen", [(True, False), (False, True)])
def test_a_rebalance_that_takes_long_and_one_that_ended_are_waited_for(watched, seen):
    for _ in range(LOOKS - 1):
        outside(watched, joining=True, settled=True)
    outside(watched, joining=seen[0], settled=seen[1])
    for _ in range(LOOKS - 1):
        outside(watched, joining=True, settled=True)
