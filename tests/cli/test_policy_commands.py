"""`milepost policy`: check, table and diff offline; publish and status on a stack."""

import shutil

import pytest

from pipeline.contract.bundle import load_bundle
from pipeline.contract.names import data_root


@pytest.fixture
def folder(tmp_path):
    """A copy of the shipped bundle, to be changed."""
    return shutil.copytree(data_root() / "policy", tmp_path / "policy")


def change(folder, file, old, new):
    path = folder / file
    text = path.read_text(encoding="utf-8")
    assert old in text
    path.write_text(text.replace(old, new, 1), encoding="utf-8")
    return text[: text.index(old)].count("\n") + 1


def test_a_clean_bundle_ends_with_zero_and_says_what_was_proven(milepost):
    told = milepost("policy", "check")
    assert told.code == 0
    assert "each with exactly one owner. Nothing found." in told.out


def test_a_duration_that_is_none_is_told_with_its_form(milepost, folder):
    line = change(folder, "platforms.yaml", "clock_tolerance: PT2M", "clock_tolerance: 2 min")
    told = milepost("policy", "check", "--folder", folder)
    assert told.code != 0
    finding = next(row for row in told.err.splitlines() if f"platforms.yaml:{line}: " in row)
    assert finding.endswith("Write a duration, such as PT4H (four hours) or P3D (three days)")


def test_a_finding_is_file_line_why_and_remedy_and_ends_with_one(milepost, folder):
    line = change(folder, "dialects/wms.yaml", "GI: goods.issued", "GI: goods.isued")
    told = milepost("policy", "check", "--folder", folder)
    assert told.code == 1
    expected = f"dialects/wms.yaml:{line}: goods.isued (no such event type). Correct the name"
    assert told.out.strip() == expected
    (finding,) = milepost("policy", "check", "--folder", folder, "--json").document["findings"]
    assert (finding["file"], finding["line"]) == ("dialects/wms.yaml", line)


def test_the_set_topics_file_says_which_topics_there_are(milepost, tmp_path, monkeypatch):
    text = (data_root() / "topics.yaml").read_text(encoding="utf-8")
    other = tmp_path / "topics.yaml"
    other.write_text(text.replace("logistics.raw.tms-na.v1", "logistics.raw.elsewhere.v1"))
    monkeypatch.setenv("MILEPOST_TOPICS_FILE", str(other))
    told = milepost("policy", "check")
    assert told.code == 1
    assert "logistics.raw.tms-na.v1 (no such raw topic)" in told.out
    monkeypatch.setenv("MILEPOST_TOPICS_FILE", str(tmp_path / "absent.yaml"))
    assert "absent.yaml" in milepost("policy", "check").err


def test_a_bundle_that_can_not_be_read_is_a_sentence_a_line(milepost, folder):
    line = change(folder, "platforms.yaml", "role: WMS", "role: WHS")
    told = milepost("policy", "check", "--folder", folder)
    assert (told.code, told.out) == (1, "")
    assert told.err.startswith(f"platforms.yaml:{line}: platforms.3.role")


def test_a_folder_that_is_not_there_is_told(milepost, tmp_path):
    told = milepost("policy", "check", "--folder", tmp_path / "nowhere")
    assert told.code == 1
    assert "bundle.yaml:1: missing" in told.err


def test_the_folder_is_named_as_it_is_for_a_comparison_or_by_its_option(milepost, folder):
    change(folder, "bundle.yaml", 'version: "2026.11.1"', 'version: "other"')
    assert milepost("policy", "check", folder).out.startswith("Bundle other: ")
    assert milepost("policy", "check", "--folder", folder).out.startswith("Bundle other: ")
    assert milepost("policy", "table", folder, "--json").document["version"] == "other"
    told = milepost("policy", "check", folder, "--folder", data_root() / "policy")
    assert (told.code, "Say one folder" in told.err) == (2, True)


def test_who_owns_what_is_told_rule_by_rule(milepost):
    told = milepost("policy", "table", "--tenant", "acme")
    assert told.code == 0
    assert "goods-issue-eu: acme in EU, since 2024-01-01" in told.out
    assert "deputies    tms-eu after 2 h; ops-desk after 4 h" in told.out
    assert "samples" not in told.out
    rows = milepost("policy", "table", "--json").document["rows"]
    row = next(r for r in rows if r["event_type"] == "departed" and r["regions"] == "EU")
    assert (row["owner"], row["tenant"], row["rule"]) == ("tms-eu", "acme", "transport-eu")


# Differences


def test_two_folders_are_compared_in_words_offline(milepost, folder):
    change(
        folder,
        "ownership.yaml",
        "regions: [NA]\n    owner: tms-na",
        "regions: [NA]\n    owner: portal",
    )
    told = milepost("policy", "diff", data_root() / "policy", folder)
    assert told.code == 0
    assert "Who may state what\n  - portal gains 18 event types of acme in NA" in told.out
    assert "(carrier.accepted, carrier.declined, delivered," in told.out
    assert max(map(len, told.out.splitlines())) <= 80
    document = milepost("policy", "diff", data_root() / "policy", folder, "--json").document
    first, *_ = document["changes"]
    assert (first["gains"], first["loses"]) == ("portal", "tms-na")


def test_what_does_not_differ_is_told_as_that(milepost, folder):
    told = milepost("policy", "diff", folder, folder)
    assert told.out.endswith("They decide alike: nothing differs.\n")


def test_a_document_is_compared_with_a_folder(milepost, tmp_path, folder):
    file = tmp_path / "bundle.json"
    file.write_bytes(load_bundle().document())
    assert milepost("policy", "diff", file, folder).out.endswith("nothing differs.\n")
    file.write_text("{}")
    told = milepost("policy", "diff", file, folder)
    assert told.code == 1
    assert "give a folder with bundle.yaml" in told.err


def test_the_folder_that_lacks_a_bundle_is_named(milepost, tmp_path, folder):
    told = milepost("policy", "diff", tmp_path, folder)
    assert (told.code, told.out) == (1, "")
    assert told.err.startswith(f"{tmp_path} holds no bundle that can be used:\nbundle.yaml:1: ")


# On a stack


@pytest.mark.kafka
def test_a_bundle_is_published_once_and_its_status_is_told(governed, milepost, folder):
    version = f"c-{governed.name('')}"
    change(folder, "bundle.yaml", 'version: "2026.11.1"', f'version: "{version}"')
    told = milepost("policy", "publish", "--folder", folder, "--by", "kim", "--why", "test")
    assert told.code == 0
    assert told.out == f"Bundle {version} activated on partitions [0, 1, 2, 3].\n"
    told = milepost("policy", "publish", "--folder", folder)
    assert told.out == f"Bundle {version} was in force everywhere.\n"
    governed.watch.until(lambda: milepost("policy", "status").code == 0)
    document = milepost("policy", "status", "--json").document
    assert document["settled"] is True
    assert {(row["activated"], row["in_force"], row["by"]) for row in document["partitions"]} == {
        (version, version, "kim")
    }
    told = milepost("policy", "publish", "--unless-in-force")
    assert told.code == 0
    assert told.out.startswith(f"Nothing published: bundle {version} stays in force.")
    change(folder, "bundle.yaml", "PT24H", "PT25H")
    told = milepost("policy", "publish", "--folder", folder)
    assert (told.code, told.out) == (1, "")
    assert "a published version never changes" in told.err
    governed.publish(governed.bundle)


@pytest.mark.kafka
def test_a_bundle_with_findings_is_not_published(governed, milepost, folder):
    change(folder, "dialects/wms.yaml", "GI: goods.issued", "GI: goods.isued")
    told = milepost("policy", "publish", "--folder", folder)
    assert (told.code, told.out) == (1, "")
    assert told.err.startswith("Not published:\ndialects/wms.yaml:")
    assert load_bundle().version == governed.bundle.version


@pytest.mark.kafka
def test_the_former_bundle_is_put_in_force_again_without_its_files(governed, milepost):
    former, later = governed.bundle.version, governed.bundle_with(heading__limits__open_claims=7)
    governed.publish(later)
    shown = milepost("policy", "activate", former)
    assert (shown.code, shown.err) == (0, "")
    assert shown.out.startswith(
        f"Bundle {later.version} → {former}\n\nWaits, horizons and limits\n"
    )
    assert "open_claims 200 instead of 7" in shown.out
    assert shown.out.endswith("Nothing was activated. Add --go and --why to do it.\n")
    assert milepost("policy", "diff", "in-force", later.version).out.endswith("differs.\n")

    told = milepost("policy", "activate", former, "--go", "--by", "kim", "--why", "too few")
    assert told.out.endswith(f"Bundle {former} activated on partitions [0, 1, 2, 3].\n")
    governed.watch.until(lambda: milepost("policy", "status").code == 0)
    document = milepost("policy", "status", "--json").document
    assert {(row["in_force"], row["by"]) for row in document["partitions"]} == {(former, "kim")}
    again = milepost("policy", "activate", former, "--go")
    assert (again.code, again.out) == (0, f"Bundle {former} is in force everywhere already.\n")
    assert milepost("policy", "activate", former, "--go", "--json").document["activated"] == []


@pytest.mark.kafka
def test_a_bundle_that_was_never_published_is_not_put_in_force(governed, milepost):
    told = milepost("policy", "activate", "none-of-these", "--go")
    assert (told.code, told.out) == (2, "")
    assert "No bundle 'none-of-these' is published; published: " in told.err
    assert governed.bundle.version in told.err


@pytest.mark.kafka
def test_published_versions_are_compared_with_each_other_and_with_files(governed, milepost, folder):
    version = governed.bundle.version
    told = milepost("policy", "diff", version, "in-force")
    assert told.out == f"Bundle {version} → {version}\nThey decide alike: nothing differs.\n"
    told = milepost("policy", "diff", "in-force", folder)
    brake = load_bundle().heading.brake
    assert told.out == (
        f"Bundle {version} → {version}\n\nWaits, horizons and limits\n"
        f"  - brake: run {brake.run} instead of {governed.bundle.heading.brake.run}\n"
        f"  - brake: window {brake.window} instead of {governed.bundle.heading.brake.window}\n"
    )
    told = milepost("policy", "diff", "in-force", "none-of-these")
    assert (told.code, told.out) == (2, "")
    assert version in told.err


# Deciding the past again


@pytest.fixture
def handed_over(governed):
    """A shipment on which two TMS disagree, and a policy that hands its transport over."""
    shipment = governed.name()
    atlanta = {"number": 2, "role": "DELIVERY", "location": "C-ATL"}
    empty = dict.fromkeys(("number", "role", "location", "name", "city", "subdivision", "country"))
    given = {"stop": empty | atlanta}
    at = governed.event(shipment, "")["occurred"]
    theirs = governed.event(shipment, "DELIVERED", platform="tms-eu", occurred=at - 9_000, **given)
    ours = governed.event(shipment, "DELIVERED", occurred=at - 3_000_000, **given)
    governed.fates(governed.send(ours, theirs))
    rules = [rule.model_dump(by_alias=True) for rule in governed.bundle.rules]
    (rule,) = (rule for rule in rules if rule["rule"] == "transport-na")
    rule["owner"] = "tms-eu"
    governed.publish(governed.bundle_with(rules=rules))
    yield shipment
    governed.publish(governed.bundle)


@pytest.mark.kafka
def test_the_past_is_decided_again_once_and_shown_before(governed, milepost, handed_over):
    shipment = handed_over
    governed.watch.until(lambda: milepost("policy", "status").code == 0)
    asked = ("policy", "redecide", "--entity", shipment)
    told = milepost(*asked)
    assert (told.code, told.err) == (0, "")
    assert "1 of 1 entities would be decided otherwise." in told.out
    assert "Published would be: 1 CORRECT." in told.out
    assert "CORRECT delivered r2 at ATL1:" in told.out
    assert "instead of" in told.out
    assert "Nothing was published." in told.out
    assert max(map(len, told.out.splitlines())) <= 80
    assert len(governed.story(shipment)) == 1

    why = ("--publish", "--why", "the contract began earlier", "--by", "kim", "--json")
    document = milepost(*asked, *why).document
    assert document["actions"] == {"CORRECT": 1}
    assert [row["reason"] for row in document["written"]] == ["past_redecided"]
    governed.watch.until(lambda: len(governed.story(shipment)) == 2)
    last = governed.story(shipment)[-1]
    assert (last["action"], last["platform"], last["reason"]) == ("CORRECT", "tms-eu", "redecided")

    again = milepost(*asked, "--publish", "--why", "twice")
    assert "nothing changes: 1 entity examined." in again.out
    assert governed.verify().violations == []


@pytest.mark.kafka
def test_a_choice_that_names_nothing_known_is_told(governed, milepost):
    assert milepost("policy", "redecide").code == 2
    assert "--why" in milepost("policy", "redecide", "--all", "--publish").err
    told = milepost("policy", "redecide", "--event-type", "deliverd")
    assert (told.code, "delivered" in told.err) == (2, True)
    told = milepost("policy", "redecide", "--rule", "transport")
    assert (told.code, "transport-na" in told.err) == (2, True)
    told = milepost("policy", "redecide", "--entity", "NOBODY-KNOWS-IT")
    assert (told.code, told.out) == (1, "")
