"""Policy bundles on a running stack: none yet, one missing, the next one, short silences.

In order: the stack starts without a policy, and every test goes on from where the last one ended.
"""

import time
from datetime import timedelta

import pytest
from governed_stack import PARTITIONS, TMS, Governed

from pipeline.contract import codec, names
from pipeline.governance.identity import partition_of
from pipeline.kafka import bundles, clients
from pipeline.kafka.decoding import Decoder
from pipeline.kafka.reading import LogReader
from pipeline.operations import policy_status

pytestmark = pytest.mark.kafka


@pytest.fixture(scope="module")
def scratch():
    """A stack that has no policy bundle at first."""
    made = Governed()
    made.start()
    yield made
    made.close()


def delivered(scratch, shipment, **given):
    return scratch.event(shipment, "DELIVERED", stop={"location": "C-ATL"}, **given)


def says(scratch, text):
    scratch.watch.until(lambda: text in scratch.worker.log(), what=f"the worker to say {text!r}")


def status(scratch):
    with LogReader(scratch.settings, scratch.bootstrap) as reader:
        return policy_status.status(reader, Decoder(scratch.registry))


def test_without_a_policy_the_governor_waits_and_says_so(scratch):
    (place,) = scratch.send(delivered(scratch, "FIRST"))
    says(scratch, "no policy bundle is in force yet: run `milepost policy publish`")
    assert place not in scratch.watch.fates
    assert {(row.activated, row.in_force) for row in status(scratch)} == {("", "")}
    scratch.publish(scratch.bundle)
    assert scratch.fate(place).verdict == ("approved", "owner_spoke")


def test_every_partition_is_activated_and_shows_it(scratch):
    def settled():
        return {(row.activated, row.in_force) for row in status(scratch)} == {
            (scratch.bundle.version, scratch.bundle.version)
        }

    scratch.watch.until(settled)
    assert {row.by for row in status(scratch)} == {"test"}


def test_publishing_again_activates_nothing(scratch):
    publish = (scratch.settings, scratch.bootstrap, scratch.registry, scratch.bundle)
    assert bundles.publish(*publish, by="test", why="again") == []


def test_a_version_never_changes_its_content(scratch):
    content = scratch.bundle.model_dump(by_alias=True)
    content["heading"]["author"] = "somebody else"
    other = type(scratch.bundle).model_validate(content)
    with pytest.raises(bundles.BundleRefusedError, match="change `version`"):
        scratch.publish(other)


def activate(scratch, version, partitions, digest=""):
    schema_id = scratch.registry.id_for(names.subject(names.CONTROL), "control")
    control = {"kind": "ACTIVATE", "policy_version": version, "policy_digest": digest}
    records = [
        clients.Outgoing(
            names.CONTROL,
            codec.encode(control | {"partition": number}, codec.committed("control"), schema_id),
            str(number).encode(),
            partition=number,
        )
        for number in partitions
    ]
    clients.deliver(scratch.producer, records)


def test_publishing_is_resumed_where_it_was_broken_off(scratch):
    """The document and half of the activations were written; the rest is made up for."""
    bundle = scratch.bundle_with()
    document = clients.Outgoing(names.POLICY, bundle.document(), bundle.version.encode())
    clients.deliver(scratch.producer, [document])
    activate(scratch, bundle.version, [0, 2])
    publish = (scratch.settings, scratch.bootstrap, scratch.registry, bundle)
    assert bundles.publish(*publish, by="test", why="resumed") == [1, 3]


def test_the_next_bundle_counts_from_its_activation_on(scratch):
    """A status that meant nothing is learned; what was refused before stays refused."""
    shipment = scratch.name()
    (before,) = scratch.send(scratch.event(shipment, "UNLOADED", stop={"location": "C-ATL"}))
    assert scratch.fate(before).verdict == ("dead_lettered", "unmapped_status")
    at = next(i for i, row in enumerate(scratch.bundle.dialects) if row.dialect == "tms-na")
    codes = scratch.bundle.dialects[at].codes | {"UNLOADED": "delivered"}
    bundle = scratch.bundle_with(**{f"dialects__{at}__codes": codes})
    scratch.publish(bundle)
    (after,) = scratch.send(scratch.event(shipment, "UNLOADED", stop={"location": "C-ATL"}))
    fate = scratch.fate(after)
    assert fate.verdict == ("approved", "owner_spoke")
    assert fate.policy_version == bundle.version
    assert scratch.fate(before).policy_version != bundle.version
    assert [record["policy_version"] for record in scratch.story(shipment)] == [bundle.version]


def test_a_partition_whose_bundle_is_missing_waits_and_says_so(scratch):
    """The others go on; once it is published, so does this one."""
    bundle = scratch.bundle_with()
    activate(scratch, bundle.version, [1])
    says(scratch, f"policy bundle {bundle.version} is not published")
    here = next(n for n in iter(scratch.name, "") if _home(scratch, n) == 1)
    there = next(n for n in iter(scratch.name, "") if _home(scratch, n) == 3)
    (waits,) = scratch.send(delivered(scratch, here))
    (goes_on,) = scratch.send(delivered(scratch, there))
    assert scratch.fate(goes_on).verdict == ("approved", "owner_spoke")
    assert waits not in scratch.watch.fates
    scratch.publish(bundle)
    assert scratch.fate(waits).verdict == ("approved", "owner_spoke")


def _home(scratch, shipment):
    return partition_of(scratch.key(shipment), PARTITIONS)


def write_over(scratch, bundle):
    """Publish other content under a version that is there; its digest."""
    other = scratch.bundle_with(heading__version=bundle.version, heading__author="another")
    document = clients.Outgoing(names.POLICY, other.document(), bundle.version.encode())
    clients.deliver(scratch.producer, [document])
    return other.digest()


def mismatch(bundle, published):
    return (
        f"policy bundle {bundle.version} was activated with digest {bundle.digest()},"
        f" the published one has {published}"
    )


def test_another_bundle_under_the_activated_version_never_governs(scratch):
    """The partition waits and says so with both digests; the others go on."""
    bundle = scratch.bundle_with()
    published = write_over(scratch, bundle)
    activate(scratch, bundle.version, [1], bundle.digest())
    says(scratch, mismatch(bundle, published))
    says(scratch, "policy_mismatch")
    here = next(n for n in iter(scratch.name, "") if _home(scratch, n) == 1)
    there = next(n for n in iter(scratch.name, "") if _home(scratch, n) == 3)
    (waits,) = scratch.send(delivered(scratch, here))
    (goes_on,) = scratch.send(delivered(scratch, there))
    assert scratch.fate(goes_on).verdict == ("approved", "owner_spoke")
    former = scratch.fate(goes_on).policy_version
    assert waits not in scratch.watch.fates
    scratch.publish(bundle)
    # What lay behind the activation is read again in any order across inputs
    assert scratch.fate(waits).policy_version in {former, bundle.version}
    scratch.watch.until(lambda: {row.in_force for row in status(scratch)} == {bundle.version})
    (after,) = scratch.send(delivered(scratch, here))
    assert scratch.fate(after).policy_version == bundle.version


def test_a_bundle_that_was_written_over_does_not_govern_after_a_restart(scratch):
    bundle = scratch.bundle_with()
    scratch.publish(bundle)
    (before,) = scratch.send(delivered(scratch, "BEFORE"))
    scratch.watch.until(lambda: {row.in_force for row in status(scratch)} == {bundle.version})
    assert scratch.fate(before).policy_version == bundle.version
    assert scratch.worker.end() == 0
    published = write_over(scratch, bundle)
    scratch.start()
    says(scratch, mismatch(bundle, published))
    (waits,) = scratch.send(delivered(scratch, "AFTER"))
    scratch.watch.look()
    assert waits not in scratch.watch.fates
    scratch.publish(bundle)
    assert scratch.fate(waits).policy_version == bundle.version


def test_nonsense_on_the_policy_topic_stops_nobody(scratch):
    """It is waited for like a missing bundle, where it is activated; elsewhere it is left out."""
    clients.deliver(
        scratch.producer,
        [
            clients.Outgoing(names.POLICY, b"no bundle", b"nonsense"),
            clients.Outgoing(names.POLICY, b'{"heading": {}}', b"\xff"),
        ],
    )
    activate(scratch, "nonsense", [2])
    says(scratch, "policy bundle nonsense can't be used by this Milepost")
    assert scratch.bundle.version in bundles.published(scratch.settings, scratch.bootstrap)
    bundle = scratch.bundle_with()
    # The partition is stuck at its activation until that version can be read
    clients.deliver(
        scratch.producer, [clients.Outgoing(names.POLICY, bundle.document(), b"nonsense")]
    )
    scratch.publish(bundle)
    (place,) = scratch.send(
        delivered(scratch, next(n for n in iter(scratch.name, "") if _home(scratch, n) == 2))
    )
    assert scratch.fate(place).verdict == ("approved", "owner_spoke")


def test_a_deputy_stands_in_when_its_owner_stays_silent(scratch):
    """After a second here, hours in the shipped bundle; a tick moves the clock; owner confirms."""
    deputies = [{"platform": "tms-na", "after": timedelta(seconds=1)}]
    shipment = scratch.name()
    occurred = int(time.time() * 1000) // 1000 * 1000 - 60_000
    issued = scratch.event(
        shipment,
        "GI",
        platform="wms-3pl",
        account="ACME-3PL",
        occurred=occurred,
        stop={"location": "DAL1"},
    )
    at = next(i for i, row in enumerate(scratch.bundle.dialects) if row.dialect == "tms-na")
    codes = scratch.bundle.dialects[at].codes | {"LEFT": "goods.issued"}
    at_rule = next(i for i, row in enumerate(scratch.bundle.rules) if row.rule == "goods-issue-na")
    scratch.publish(
        scratch.bundle_with(
            **{f"rules__{at_rule}__deputies": deputies, f"dialects__{at}__codes": codes}
        )
    )
    (deputy,) = scratch.send(
        scratch.event(shipment, "LEFT", occurred=occurred, stop={"location": "DAL1"})
    )
    assert scratch.fate(deputy).verdict == ("held", "awaiting_owner")
    scratch.watch.until(lambda: scratch.story(shipment))
    assert scratch.fate(deputy).now == ("provisional", "owner_silent")
    (owner,) = scratch.send(issued)
    assert scratch.fate(owner).verdict[0] == "approved"
    assert [
        (record["revision"], record["action"], record["assurance"])
        for record in scratch.story(shipment)
    ] == [(1, "ASSERT", "PROVISIONAL"), (2, "CONFIRM", "AUTHORITATIVE")]


def test_what_retention_took_unread_is_an_alarm_and_an_entry(scratch):
    """A worker that was away too long: the gap is in its log, in the ledger and in the audit."""
    shipment = next(n for n in iter(scratch.name, "") if _home(scratch, n) == 0)
    (read,) = scratch.send(scratch.event(shipment, "NOTE"))
    scratch.fate(read)
    assert scratch.verify().violations == []
    assert scratch.worker.end() == 0
    lost = [scratch.send(delivered(scratch, shipment))[0] for _ in range(3)]
    scratch.forget(TMS, 0, lost[-1][2] + 1)
    (kept,) = scratch.send(scratch.event(shipment, "POD", stop={"location": "C-ATL"}))
    scratch.start()
    assert scratch.fate(kept).verdict == ("approved", "owner_spoke")
    says(scratch, "input_gap")
    gaps = [
        (covered["topic"], gap["first"], gap["next"])
        for block in scratch.watch.blocks
        for covered in block["inputs"]
        for gap in covered["gaps"]
        if gap["cause"] == "RETENTION"
    ]
    assert gaps == [(TMS, lost[0][2], lost[-1][2] + 1)]
    report = scratch.verify()
    assert report.broken == {"lost": 1}
    assert report.lost == 3
    assert TMS in {item.topic for item in report.beyond}
