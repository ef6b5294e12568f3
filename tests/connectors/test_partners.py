"""A partner is a folder of YAML; a mistake in it is named with file, line and remedy."""

from pathlib import Path

import pytest

from connectors.addressing import Addressing
from connectors.formats.codes import Action, Code
from connectors.intake import read_file
from connectors.partners import Partners, load_partners
from connectors.protocols import ConfigurationError
from connectors.sources.catalogue import check_platforms
from pipeline.contract.bundle import load_bundle
from pipeline.contract.yaml_lines import InvalidFileError

ROOT = Path(__file__).parents[2]
GOOD = """\
name: redline
platform: carrier-redline
format: x12
senders:
  - {id: RDLN}
time_zone: America/Chicago
country: US
envelope_policy:
  segment_count_mismatch: warn
"""


def profiles(folder, **texts):
    for name, text in texts.items():
        (folder / name).mkdir(exist_ok=True)
        (folder / name / "profile.yaml").write_text(text)
    return load_partners(folder)


def complaints(folder, text):
    with pytest.raises(InvalidFileError) as caught:
        profiles(folder, redline=text)
    return [(finding.file, finding.line, finding.what) for finding in caught.value.findings]


def test_a_profile_says_who_and_how(tmp_path):
    profile = profiles(tmp_path, redline=GOOD).match("02", "RDLN")
    assert profile.platform == "carrier-redline"
    policy = profile.policy()
    assert policy.action(Code.SEGMENT_COUNT_MISMATCH) is Action.WARN
    assert policy.action(Code.SET_CONTROL_MISMATCH) is Action.REJECT_SET
    assert profile.context().sets == {"214"}


def test_a_qualifier_tells_two_senders_of_one_id_apart(tmp_path):
    one = GOOD.replace("{id: RDLN}", '{id: RDLN, qualifier: "02"}')
    two = GOOD.replace("redline", "other").replace("{id: RDLN}", '{id: RDLN, qualifier: "ZZ"}')
    found = profiles(tmp_path, redline=one, other=two)
    assert found.match("02", "RDLN").name == "redline"
    assert found.match("ZZ", "RDLN").name == "other"
    assert found.match("01", "RDLN") is None


@pytest.mark.parametrize(
    ("change", "line", "what"),
    [
        (("country: US", "country: Usa"), 7, "country"),
        (("America/Chicago", "Chicago"), 6, "time_zone"),
        (("format: x12", "format: csv"), 3, "format"),
        (("country: US", "cuntry: US"), 7, "cuntry"),
        (("segment_count_mismatch: warn", "segment_count: warn"), 9, "envelope_policy"),
        (("segment_count_mismatch: warn", "segment_count_mismatch: ignore"), 9, "envelope_policy"),
        (("segment_count_mismatch: warn", "not_x12: warn"), 8, "envelope_policy"),
        (("name: redline", "name: blueline"), 1, "name"),
    ],
)
def test_a_mistake_is_named_with_its_line(tmp_path, change, line, what):
    ((file, found, name),) = complaints(tmp_path, GOOD.replace(*change))
    assert file == "redline/profile.yaml"
    assert found == line
    assert name.startswith(what)


def test_a_code_in_the_wrong_policy(tmp_path):
    text = GOOD.replace("segment_count_mismatch", "zone_assumed")
    with pytest.raises(InvalidFileError, match="zone_assumed belongs in time_policy"):
        profiles(tmp_path, redline=text)


def test_two_partners_with_one_sender(tmp_path):
    other = GOOD.replace("redline", "other")
    with pytest.raises(InvalidFileError, match="sender RDLN"):
        profiles(tmp_path, redline=GOOD, other=other)


def test_no_yaml(tmp_path):
    assert complaints(tmp_path, "name: [")[0][:2] == ("redline/profile.yaml", 1)


def test_an_interchange_is_read_for_who_sent_it():
    partners = load_partners(ROOT / "partners")
    sample = (ROOT / "tests/samples/x12/214_mgctlyst_edinet.edi").read_bytes()
    stranger = sample.replace(b"*02*SCAC ", b"*02*NOBO ")
    reading = read_file(sample + stranger, partners, lambda _platform, _stop: "America/New_York")
    assert reading.partners == ("scac-carrier",)
    assert len(reading.claims) == 1
    assert not reading.complete
    unknown = next(f for f in reading.findings if f.code is Code.PARTNER_UNKNOWN)
    assert unknown.position.interchange == 2
    assert "NOBO" in str(unknown)


def test_the_shipped_profiles_are_of_platforms_of_the_shipped_bundle():
    partners = load_partners(ROOT / "partners")
    addressing = Addressing(load_bundle(ROOT / "policy"))
    check_platforms(partners, addressing)
    assert {profile.platform for profile in partners.profiles} == {"carrier-scac"}
    stranger = partners.profiles[0].model_copy(update={"platform": "nobody"})
    with pytest.raises(ConfigurationError, match="'nobody' is not in the policy bundle"):
        check_platforms(Partners([stranger]), addressing)
