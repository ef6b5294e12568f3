"""Nothing that comes through the door raises anything but a named limit."""

from pathlib import Path

import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from connectors.addressing import Addressing
from connectors.formats.limits import Limits
from connectors.formats.x12 import parse
from connectors.intake import read_file
from connectors.partners import load_partners
from pipeline.contract import codec
from pipeline.contract.bundle import load_bundle

ROOT = Path(__file__).parents[3]
SAMPLES = [path.read_bytes() for path in sorted((ROOT / "tests/samples/x12").glob("*.edi"))]
STATUS = [
    path.read_bytes() for path in sorted((ROOT / "partners/scac-carrier/fixtures").glob("*.edi"))
]
PARTNERS = load_partners(ROOT / "partners")
ADDRESSING = Addressing(load_bundle(ROOT / "policy"))
SCHEMA = codec.committed("raw-event")
LIMITS = Limits(bytes_max=20_000, segments_max=300, elements_max=40, characters_max=2_000)

edits = st.lists(
    st.tuples(
        st.sampled_from(["flip", "cut", "insert", "repeat", "drop", "swap"]),
        st.integers(0, 2_000),
        st.integers(0, 2_000),
        st.binary(max_size=8),
    ),
    min_size=1,
    max_size=8,
)


def mutate(data, changes):
    data = bytearray(data)
    for kind, a, b, given_bytes in changes:
        size = len(data) or 1
        low, high = sorted((a % size, b % size))
        match kind:
            case "flip" if data:
                data[low] ^= 1 << (b % 8)
            case "cut":
                del data[high:]
            case "insert":
                data[low:low] = given_bytes
            case "repeat":
                data[high:high] = data[low:high]
            case "drop":
                del data[low:high]
            case "swap" if data:
                old, new = data[low], data[high]
                data = bytearray(data.replace(bytes([old]), bytes([new])))
    return bytes(data)


def judge(data):
    reading = read_file(data, PARTNERS, ADDRESSING.zone_of, LIMITS)
    assert reading.claims or reading.findings or not data.strip()
    ids = [claim.record["event_id"] for claim in reading.claims]
    assert len(set(ids)) == len(ids)
    for claim in reading.claims:
        codec.encode(claim.record, SCHEMA, 1)
    for finding in reading.findings:
        finding.document()


@given(st.sampled_from(SAMPLES), edits)
@settings(max_examples=300, deadline=None)
def test_mutations_of_real_files(sample, changes):
    judge(mutate(sample, changes))


@given(st.sampled_from(STATUS), edits)
@settings(max_examples=500, deadline=None)
def test_mutations_of_real_status_files(sample, changes):
    judge(mutate(sample, changes))


@given(st.binary(max_size=400))
@example(b"ISA")
@example(b"ISA*")
@example(b"\xef\xbb\xbf")
@example(b"\xff\xfeI\x00S")
@settings(max_examples=300, deadline=None)
def test_any_bytes(data):
    reading = read_file(data, PARTNERS, ADDRESSING.zone_of, LIMITS)
    assert reading.findings


@given(st.sampled_from(STATUS), st.randoms(use_true_random=False))
@settings(max_examples=200, deadline=None)
def test_shuffled_segments(sample, random):
    head, *rest = sample.split(b"~")
    random.shuffle(rest)
    judge(b"~".join([head, *rest]))


@pytest.mark.parametrize("sample", STATUS, ids=["214_2", "214_mgctlyst"])
def test_every_truncation(sample):
    for size in range(len(sample)):
        judge(sample[:size])


@given(st.sampled_from(STATUS), st.integers(1, 200), st.sampled_from(["\n", "\r\n"]))
@settings(max_examples=100, deadline=None)
def test_wrapping_changes_nothing(sample, width, line_end):
    text = sample.decode().replace("\n", "")
    lines = (text[at : at + width] for at in range(0, len(text), width))
    wrapped = line_end.join(lines).encode()
    whole = read_file(sample, PARTNERS, ADDRESSING.zone_of)
    again = read_file(wrapped, PARTNERS, ADDRESSING.zone_of)
    assert again.claims == whole.claims
    assert again.findings == whole.findings


def test_charset_is_kept():
    assert parse(STATUS[0]).charset == "utf-8"
