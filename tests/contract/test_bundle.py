"""A policy bundle as one value: read with its lines, digested, published and read back."""

import json

import pytest
from policy_files import PolicyFolder

from pipeline.contract.bundle import from_document, load_bundle, load_files
from pipeline.contract.yaml_lines import InvalidFileError, read


@pytest.fixture
def policy(tmp_path):
    return PolicyFolder(tmp_path)


def test_a_published_document_is_the_bundle_again():
    bundle = load_bundle()
    again = from_document(bundle.document())
    assert again == bundle
    assert again.digest() == bundle.digest()


def test_the_document_is_canonical_json():
    document = load_bundle().document()
    content = json.loads(document)
    packed = json.dumps(content, sort_keys=True, separators=(",", ":"), ensure_ascii=False)
    assert packed.encode() == document


def test_comments_and_order_of_attributes_do_not_count_every_value_does(policy):
    before = load_bundle(policy.path).digest()
    policy.add("sites.yaml", "\n# a remark\n")
    policy.change("bundle.yaml", "author: logistics-architecture\n", "")
    policy.add("bundle.yaml", "\nauthor: logistics-architecture\n")
    assert load_bundle(policy.path).digest() == before
    policy.change("bundle.yaml", "PT24H", "PT25H")
    assert load_bundle(policy.path).digest() != before


@pytest.mark.parametrize("document", [b"", b"[]", b"{}", b"\xff"])
def test_what_is_no_bundle_is_refused(document):
    with pytest.raises(ValueError):
        from_document(document)


def test_a_word_that_no_model_knows_is_refused_where_it_stands(policy):
    line = policy.add("bundle.yaml", "colour: blue\n")
    with pytest.raises(InvalidFileError) as refused:
        load_files(policy.path)
    (finding,) = refused.value.findings
    assert (finding.file, finding.line, finding.what) == ("bundle.yaml", line, "colour")
    assert "spelling" in finding.remedy


def test_every_file_is_looked_at_before_anything_is_said(policy):
    policy.change("bundle.yaml", "horizon: P180D", "horizon: soon")
    policy.change("platforms.yaml", "role: WMS", "role: WHS")
    policy.change("dialects/wms.yaml", "dialect: wms", "dialekt: wms")
    with pytest.raises(InvalidFileError) as refused:
        load_files(policy.path)
    files = {item.file for item in refused.value.findings}
    assert files == {"bundle.yaml", "platforms.yaml", "dialects/wms.yaml"}


@pytest.mark.parametrize("version", ["", "a b", "x" * 65, "v/1"])
def test_a_version_that_could_not_be_a_key_is_refused(policy, version):
    policy.change("bundle.yaml", 'version: "2026.11.1"', f'version: "{version}"')
    with pytest.raises(InvalidFileError, match="version"):
        load_files(policy.path)


def test_a_label_is_the_tenants_own_the_languages_the_english_one_or_the_name(policy):
    policy.change(
        "catalogue.yaml",
        "labels: {en: Shipped, de: Versandt}",
        "labels: {en: Shipped, de: Versandt}, tenant_labels: {acme: {en: On its way}}",
    )
    bundle = load_bundle(policy.path)
    assert bundle.label("departed", "acme", "en") == "On its way"
    assert bundle.label("departed", "samples", "en") == "Shipped"
    assert bundle.label("departed", "acme", "de") == "Versandt"
    assert bundle.label("departed", "samples", "fr") == "Shipped"
    assert bundle.label("unheard.of", "acme", "en") == "unheard.of"


def test_a_platform_is_found_by_its_name():
    bundle = load_bundle()
    assert bundle.platform("tms-na").region == "NA"
    assert bundle.platform("nobody") is None


def test_lines_point_at_a_value_or_at_what_is_nearest_around_it(tmp_path):
    path = tmp_path / "x.yaml"
    path.write_text("a:\n  - b: 1\n    c: [2,\n        3]\n")
    document = read(path, tmp_path)
    assert document.line(("a", 0, "b")) == 2
    assert document.line(("a", 0, "c", 1)) == 4
    assert document.line(("a", 0, "c", 1, "deeper")) == 4
    assert document.line(("a", 7)) == 1
    assert document.line(("elsewhere",)) == 1


@pytest.mark.parametrize(
    "text", ["a: [", "a: 1\n b: 2\n", "\t- x\n", "a: !!python/object:os.x {}\n"]
)
def test_what_is_no_plain_yaml_is_refused_with_its_line(tmp_path, text):
    path = tmp_path / "x.yaml"
    path.write_text(text)
    with pytest.raises(InvalidFileError) as refused:
        read(path, tmp_path)
    assert refused.value.findings[0].line >= 1
