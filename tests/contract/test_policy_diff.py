"""Two bundles compared in words: one sentence for one change, however many rows it touches."""

from datetime import UTC, datetime, timedelta

import pytest

from pipeline.contract.bundle import Bundle, load_bundle
from pipeline.contract.policy_diff import diff

BEFORE = load_bundle()
DECEMBER = datetime(2026, 12, 1, tzinfo=UTC)


class Edited:
    """The shipped bundle as plain values, to be changed."""

    def __init__(self):
        self.content = BEFORE.model_dump(by_alias=True)

    def row(self, section, name, by="name"):
        return next(row for row in self.content[section] if row[by] == name)

    def rule(self, name):
        return self.row("rules", name, by="rule")

    def hand_over(self, name, to, **changes):
        rule = self.rule(name)
        self.content["rules"].append(
            rule | {"rule": f"{name}-2", "owner": to, "from": DECEMBER, "until": None} | changes
        )
        rule["until"] = DECEMBER

    def changes(self):
        return diff(BEFORE, Bundle.model_validate(self.content))

    def texts(self, section):
        return [change.text for change in self.changes() if change.section == section]


@pytest.fixture
def edited():
    return Edited()


def test_a_bundle_does_not_differ_from_itself():
    assert diff(BEFORE, BEFORE) == []


def test_another_author_version_or_order_of_rules_is_no_difference(edited):
    edited.content["heading"] |= {"version": "next", "author": "kim"}
    edited.content["rules"].reverse()
    assert edited.changes() == []


def test_a_hand_over_of_eighteen_event_types_is_one_sentence(edited):
    edited.hand_over("transport-na", "tms-eu", deputies=[])
    first, *_ = edited.changes()
    assert first.text == (
        "tms-eu gains 18 event types of acme in NA, which tms-na loses,"
        " for shipments that start from 2026-12-01 on"
    )
    assert len(first.details) == 18
    told = first.document()
    assert (told["gains"], told["loses"]) == ("tms-eu", "tms-na")
    assert told["from"] == int(DECEMBER.timestamp() * 1000)
    assert told["where"] == [{"tenant": "acme", "region": "NA"}]


def test_an_owner_that_becomes_a_deputy_is_told_as_both(edited):
    rule = edited.rule("transport-na")
    others = [row for row in rule["deputies"] if row["role"] is None]
    deputies = [{"platform": "tms-na", "after": timedelta(hours=4)}, *others]
    rule |= {"owner": "carrier-redline", "deputies": deputies}
    owner, *rest = edited.texts("ownership")
    assert owner == ("carrier-redline gains 18 event types of acme in NA, which tms-na loses")
    what = "18 event types of acme in NA"
    assert f"tms-na may stand in after 4 h of carrier-redline's silence: {what}" in rest
    assert not [text for text in rest if text.startswith("carrier-redline")]


def test_a_hand_over_by_occurrence_is_told_as_that(edited):
    edited.hand_over("goods-issue-na", "tms-na", handover="by_occurrence", deputies=[])
    owned = edited.texts("ownership")
    assert owned[0].endswith("for what happens from 2026-12-01 on")


def test_a_few_event_types_are_named(edited):
    edited.rule("finance")["owner"] = "portal"
    assert edited.texts("ownership") == [
        "portal gains charge.posted and invoice.approved of acme everywhere, which erp-global loses"
    ]


def test_what_nobody_owns_any_more_is_told(edited):
    edited.content["rules"].remove(edited.rule("finance"))
    (text,) = edited.texts("ownership")
    assert text.startswith("erp-global loses charge.posted and invoice.approved of acme")
    assert text.endswith("which nobody owns any more")


def test_another_silence_is_one_sentence_for_all_deputies_of_a_role(edited):
    edited.rule("transport-eu")["deputies"][0]["after"] = timedelta(hours=1)
    assert edited.texts("ownership") == [
        (
            "carrier-alpen and carrier-redline stand in after 1 h of tms-eu's silence instead of"
            " 2 h: 18 event types of acme in EU"
        )
    ]


def test_deputies_come_go_and_change_places(edited):
    deputies = edited.rule("goods-issue-na")["deputies"]
    deputies[:] = [{"platform": "erp-global", "after": timedelta(hours=2)}, *deputies[::-1]]
    edited.rule("goods-issue-eu")["deputies"].pop()
    assert edited.texts("ownership") == [
        "ops-desk may not stand in any more: goods.issued of acme in EU",
        "erp-global may stand in after 2 h of wms-3pl's silence: goods.issued of acme in NA",
        "deputies rank ops-desk, tms-na instead of tms-na, ops-desk: goods.issued of acme in NA",
    ]


def test_another_tolerance_is_told(edited):
    edited.rule("transport-na")["tolerance"] = timedelta(minutes=1)
    (text,) = edited.texts("ownership")
    assert text == "times agree within 1 min instead of 30 min: 18 event types of acme in NA"


def test_platforms_that_come_and_go_are_told_with_what_they_may_do(edited):
    edited.content["platforms"].remove(edited.row("platforms", "carrier-alpen"))
    new = edited.row("platforms", "carrier-redline") | {"name": "carrier-new"}
    edited.content["platforms"].append(new)
    assert edited.texts("platforms") == [
        (
            "platform carrier-new is new: CARRIER of NA for acme, in dialect x12-214,"
            " on logistics.raw.carriers.v1"
        ),
        "platform carrier-alpen is gone",
    ]
    owned = edited.texts("ownership")
    assert "carrier-alpen may not stand in any more: 18 event types of acme everywhere" in owned
    assert any("carrier-new may stand in after 4 h of tms-na's silence" in text for text in owned)


def test_a_changed_field_of_a_platform_is_told_in_words(edited):
    edited.row("platforms", "tms-na")["clock_tolerance"] = timedelta(minutes=10)
    assert edited.texts("platforms") == ["tms-na: clock_tolerance 10 min instead of 5 min"]


def test_a_code_that_means_something_else_is_told_with_who_speaks_it(edited):
    codes = edited.row("dialects", "x12-214", by="dialect")["codes"]
    codes |= {"X6": "ignore", "ZZ": "delivered"}
    del codes["P1"]
    assert edited.texts("dialects") == [
        (
            "P1 in dialect x12-214 (carrier-redline and carrier-scac) means nothing any more,"
            " it meant in_transit.departed"
        ),
        (
            "X6 in dialect x12-214 (carrier-redline and carrier-scac) means no milestone,"
            " it meant position.reported"
        ),
        "ZZ in dialect x12-214 (carrier-redline and carrier-scac) is new: it means delivered",
    ]


def test_one_case_of_a_code_is_told_with_its_conditions(edited):
    codes = edited.row("dialects", "x12-214", by="dialect")["codes"]
    codes["AF"][0]["event_type"] = "departed"
    (text,) = edited.texts("dialects")
    assert "departed (stop TRANSIT)" in text
    assert "it meant in_transit.departed (stop TRANSIT)" in text


def test_event_types_tenants_regions_and_sites_are_told(edited):
    edited.row("event_types", "departed")["labels"]["en"] = "On its way"
    edited.row("event_types", "delivered")["predecessors"] = []
    edited.content["heading"]["regions"]["EU"].append("NO")
    edited.content["heading"]["regions"]["NA"].remove("MX")
    edited.content["heading"]["tenants"]["acme"] |= {"horizon": timedelta(days=90)}
    edited.content["sites"].pop()
    assert edited.texts("catalogue") == [
        "departed: labels.en On its way instead of Shipped",
        "delivered: predecessors nothing instead of departed",
    ]
    assert edited.texts("tenants") == ["MX leaves region NA", "NO belongs to region EU"]
    assert edited.texts("limits") == ["acme: looks back 90 d instead of 180 d"]
    (site,) = edited.texts("sites")
    assert site.endswith("is gone")


def test_waits_and_limits_are_told(edited):
    heading = edited.content["heading"]
    heading["waits"]["region"] = timedelta(hours=12)
    heading["brake"]["run"] = 50
    assert edited.texts("limits") == [
        "waits: region 12 h instead of 1 d",
        "brake: run 50 instead of 200",
    ]
