"""The long run, with enough time, does as often as it should what it should."""

from cluster_faults import CLUSTER_FAULTS
from fault_table import FAULTS
from promised import promised

LONG = {fault.name: fault.long for fault in FAULTS + CLUSTER_FAULTS}


def test_the_table_of_faults_reaches_every_count():
    assert [what for what, most, reached in promised(LONG) if reached < most] == []


def test_what_did_not_happen_is_not_counted():
    assert {reached for _, _, reached in promised({})} == {0}


def test_one_crash_point_that_was_left_out_is_seen():
    name = "governor dies before commit"
    left_out = dict(promised_of(LONG | {name: 3}))
    assert left_out["each named crash point"] == 3


def promised_of(times):
    return [(what, reached) for what, _, reached in promised(times)]
