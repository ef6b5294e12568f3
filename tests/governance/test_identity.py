"""Keys, ids and partitions have one form, fixed for good by these vectors."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from pipeline.governance.identity import (
    Key,
    entity_key,
    milestone_id,
    murmur2,
    normalise,
    parse_key,
    partition_of,
    reference_key,
)

# Vectors of org.apache.kafka.common.utils.UtilsTest#testMurmur2
JAVA = {
    b"21": -973932308,
    b"foobar": -790332482,
    b"a-little-bit-long-string": -985981536,
    b"a-little-bit-longer-string": -1486304829,
    b"lkjh234lh9fiuh90y23oiuhsafujhadof229phr9h19h89h8": -58897971,
    b"abc": 479470107,
}


@pytest.mark.parametrize("data", JAVA)
def test_murmur2_is_javas(data):
    assert murmur2(data) == JAVA[data] & 0xFFFFFFFF


def test_partition_is_javas():
    assert partition_of(b"foobar", 4) == (-790332482 & 0x7FFFFFFF) % 4


def test_milestone_ids_are_fixed_for_good():
    assert (
        milestone_id("acme/shipment/S1", "delivered", "RTM1", 1)
        == "0f343272-1a86-522e-9648-d36ab58d5aed"
    )
    assert (
        milestone_id("acme/shipment/S1", "departed", "", 1)
        == "ef068297-7c37-5658-a669-4f5507488175"
    )


def test_a_new_generation_has_new_milestones():
    first = milestone_id("acme/shipment/S1", "delivered", "RTM1", 1)
    assert milestone_id("acme/shipment/S1", "delivered", "RTM1", 2) != first


def test_slashes_in_ids_do_not_make_parts():
    assert entity_key("acme", "order", "47/11") == "acme/order/47%2F11"


def test_a_reference_has_a_key_of_its_own():
    assert reference_key("acme", "PRO", "SCAC", "123") == "acme/ref/PRO:SCAC:123"


@given(st.text(min_size=1), st.text(min_size=1))
def test_keys_come_apart_as_they_were_put_together(tenant, entity_id):
    assert parse_key(entity_key(tenant, "order", entity_id)) == Key(tenant, "order", entity_id)


@pytest.mark.parametrize("text", ["", "a", "a/b", "a/b/c/d", "//", "a//c"])
def test_what_is_no_key_is_refused(text):
    with pytest.raises(ValueError, match="is no key"):
        parse_key(text)


def test_saps_number_and_the_tms_number_are_one_order():
    assert normalise(" 0080001234 ", ["trim", "strip_zeros"]) == "80001234"
    assert normalise("000", ["strip_zeros"]) == "000"
    assert normalise("ab 12-3", ["upper", "alphanumeric"]) == "AB123"
