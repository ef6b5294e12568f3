"""Policy bundles on Kafka: published once, activated everywhere, whatever lies beside them."""

import json

import governed_stack
import pytest

from pipeline.contract import codec, names
from pipeline.contract.bundle import digest_of
from pipeline.kafka import bundles, clients

pytestmark = pytest.mark.kafka


@pytest.fixture(scope="module")
def governed():
    with governed_stack.borrowed() as stack:
        yield stack


def publish(governed, bundle, by="kim", **how):
    return bundles.publish(
        governed.settings, governed.bootstrap, governed.registry, bundle, by=by, why="test", **how
    )


def activations(governed):
    return bundles.activations(governed.settings, governed.bootstrap)


@pytest.fixture
def restored(governed):
    """The shipped bundle is in force again afterwards."""
    yield governed
    publish(governed, governed.bundle)


def test_a_bundle_is_published_and_activated_on_every_partition(restored):
    bundle = restored.bundle_with()
    assert publish(restored, bundle) == [0, 1, 2, 3]
    told = activations(restored)
    assert [(item.partition, item.version, item.by) for item in told] == [
        (number, bundle.version, "kim") for number in range(4)
    ]
    assert {item.digest for item in told} == {bundle.digest()}
    assert bundles.in_force(restored.settings, restored.bootstrap) == bundle


def test_an_older_bundle_can_be_put_in_force_again(restored):
    older, newer = restored.bundle_with(), restored.bundle_with()
    publish(restored, older)
    publish(restored, newer)
    assert publish(restored, older) == [0, 1, 2, 3]
    found = bundles.published(restored.settings, restored.bootstrap)
    assert {older.version, newer.version} <= found.keys()
    assert bundles.in_force(restored.settings, restored.bootstrap).version == older.version


def test_publishing_twice_writes_nothing_twice(restored):
    bundle = restored.bundle_with()
    publish(restored, bundle)
    before = bundles.documents(restored.settings, restored.bootstrap)
    assert publish(restored, bundle) == []
    assert bundles.documents(restored.settings, restored.bootstrap) == before


def test_unless_in_force_leaves_every_partition_alone_that_has_a_bundle(restored):
    newer, shipped = restored.bundle_with(), restored.bundle_with()
    publish(restored, newer)
    assert publish(restored, shipped, unless_in_force=True) == []
    assert {item.version for item in activations(restored)} == {newer.version}
    assert shipped.version not in bundles.documents(restored.settings, restored.bootstrap)


def test_a_version_that_is_taken_by_other_content_is_refused_and_nothing_changes(restored):
    first = restored.bundle_with()
    publish(restored, first)
    other = restored.bundle_with(heading__version=first.version, heading__author="another")
    with pytest.raises(bundles.BundleRefusedError, match="published version never changes"):
        publish(restored, other)
    found = bundles.published(restored.settings, restored.bootstrap)
    assert found[first.version] == first


def test_the_activated_bundle_is_put_back_where_it_was_written_over(restored):
    bundle = restored.bundle_with()
    publish(restored, bundle)
    spoilt = clients.Outgoing(names.POLICY, b"nonsense", bundle.version.encode())
    clients.deliver(restored.producer, [spoilt])
    assert publish(restored, bundle) == []
    assert bundles.published(restored.settings, restored.bootstrap)[bundle.version] == bundle


def test_an_activation_names_the_document_that_is_there(restored):
    """Another version of Milepost may have written it otherwise."""
    bundle = restored.bundle_with()
    written = json.dumps(json.loads(bundle.document()), indent=1).encode()
    published = clients.Outgoing(names.POLICY, written, bundle.version.encode())
    clients.deliver(restored.producer, [published])
    publish(restored, bundle)
    assert {item.digest for item in activations(restored)} == {digest_of(written)}


def test_a_version_that_is_taken_by_nonsense_is_refused(restored):
    bundle = restored.bundle_with()
    nonsense = clients.Outgoing(names.POLICY, b"nonsense", bundle.version.encode())
    clients.deliver(restored.producer, [nonsense])
    with pytest.raises(bundles.BundleRefusedError):
        publish(restored, bundle)
    assert bundle.version not in bundles.published(restored.settings, restored.bootstrap)


def test_nonsense_on_the_control_topic_hides_no_activation(restored):
    bundle = restored.bundle_with()
    publish(restored, bundle)
    number = restored.registry.id_for(names.subject(names.CONTROL), "control")
    watermark = codec.encode(
        {"kind": "WATERMARK", "partition": 1}, codec.committed("control"), number
    )
    clients.deliver(
        restored.producer,
        [
            clients.Outgoing(names.CONTROL, value, b"1", partition=1)
            for value in (b"nonsense", None, watermark)
        ],
    )
    assert {item.version for item in activations(restored)} == {bundle.version}
