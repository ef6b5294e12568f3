"""Real files end as claims or findings; what is expected of the 214s was worked out by hand."""

from datetime import datetime
from pathlib import Path

import pytest
import yaml

from connectors.addressing import Addressing
from connectors.formats.reading import raw_event, stop
from connectors.intake import read_file
from connectors.partners import load_partners
from pipeline.contract.bundle import load_bundle

ROOT = Path(__file__).parents[3]
SAMPLES = sorted((ROOT / "tests/samples/x12").glob("*.edi"))
FIXTURES = sorted((ROOT / "partners").glob("*/fixtures/*.edi"))
PARTNERS = load_partners(ROOT / "partners")
ADDRESSING = Addressing(load_bundle(ROOT / "policy"))


def reading_of(path):
    return read_file(path.read_bytes(), PARTNERS, ADDRESSING.zone_of)


def ms(text):
    return int(datetime.fromisoformat(text).timestamp() * 1000)


@pytest.mark.parametrize("path", FIXTURES, ids=lambda path: path.stem)
def test_what_was_worked_out_by_hand(path):
    expected = yaml.safe_load(path.with_suffix(".expected.yaml").read_text())
    reading = reading_of(path)
    assert reading.complete == (expected["outcome"] == "accepted")
    claims = []
    for claim in expected["claims"]:
        claim["stop"] = stop(**claim["stop"])
        claim["occurred"] = ms(claim["occurred"])
        claim["recorded"] = ms(claim["recorded"])
        claims.append(raw_event(**claim))
    assert [claim.record for claim in reading.claims] == claims
    found = [
        {"code": str(finding.code), "action": str(finding.action)}
        | {k: v for k, v in finding.position._asdict().items() if k in ("segment", "element") and v}
        for finding in reading.findings
    ]
    assert found == expected["findings"]


def test_there_is_a_fixture_of_each_real_214():
    assert {path.name for path in SAMPLES if path.name.startswith("214")} <= {
        path.name for path in FIXTURES
    }


EXPECTED = {
    "204_2_apimeister": ["partner_unknown"],
    "204_mgctlyst_edinet": ["partner_unknown", "test_interchange", "segment_count_mismatch"],
    "210_mgctlyst_edinet": ["test_interchange", "set_not_expected"],
    "214_2_apimeister": ["isa_unpadded", "set_control_mismatch"],
    "214_mgctlyst_edinet": ["test_interchange"],
    "856_crossdock_ediengine": ["partner_unknown"],
    "940_1_ediengine": ["partner_unknown"],
    "945_2_apimeister": ["partner_unknown", "isa_unpadded", "segment_count_mismatch"],
    "990_mgctlyst_edinet": ["test_interchange", "set_not_expected"],
    "bad_control_numbers_ediengine": [
        "partner_unknown",
        "set_control_mismatch",
        "group_control_mismatch",
        "interchange_control_mismatch",
    ],
}


@pytest.mark.parametrize("path", SAMPLES, ids=lambda path: path.stem)
def test_every_real_file_says_what_is_wrong_with_it(path):
    assert [str(finding.code) for finding in reading_of(path).findings] == EXPECTED[path.stem]
