"""`milepost verify`: one line, one document, one exit code."""

import dataclasses

import pytest
from governed_stack import Governed

from pipeline.cli.times import now_ms
from pipeline.contract import names
from pipeline.kafka import clients
from pipeline.kafka.reading import LogReader
from pipeline.operations import verify as auditing
from pipeline.operations.proof import report as reporting
from pipeline.operations.proof.report import Input, Report

pytestmark = pytest.mark.kafka


def test_a_clean_stack_says_what_holds_and_ends_with_zero(governed, milepost):
    shipment = governed.name()
    governed.fates(governed.send(governed.event(shipment, "DELIVERED", stop={"location": "C-ATL"})))
    told = milepost("verify", "--quiet")
    assert told.code == 0, told.out
    assert "Clean:" in told.out
    for text in auditing.RULES.values():
        assert f"holds    {text}" in told.out


def test_one_document_on_standard_output_progress_elsewhere(governed, milepost):
    told = milepost("verify", "--json")
    assert told.code == 0
    document = told.document
    assert document["clean"] is True
    assert document["records"] == sum(document["dispositions"].values())
    assert document["rules"] == auditing.RULES


def test_everything_can_be_decided_anew(governed, milepost):
    told = milepost("verify", "--quiet", "--deep")
    assert told.code == 0, told.out
    for text in reporting.DEEP_RULES.values():
        assert f"holds    {text}" in told.out
    document = milepost("verify", "--deep", "--json").document
    assert [item["why"] for item in document["replayed"]] == [""] * 4


def test_what_an_interrupted_run_has_proven_is_not_read_again(governed, milepost, monkeypatch):
    whole = auditing.verify

    def interrupted(evidence, declared, audit):
        def tell(course):
            if course.partition == 2:
                raise KeyboardInterrupt

        return whole(evidence, declared, dataclasses.replace(audit, tell=tell))

    with monkeypatch.context() as patched:
        patched.setattr(auditing, "verify", interrupted)
        assert milepost("verify", "--quiet").code != 0
    told = milepost("verify", "--quiet", "--resume")
    assert told.code == 0, told.out
    assert "Partition 1 was not read now: a run at 20" in told.out
    assert "Partition 2 was not read now" not in told.out
    assert milepost("verify", "--json", "--resume").document["taken_over"] == []


def test_a_known_loss_can_be_accepted_nothing_else_can(governed, milepost, monkeypatch):
    report = Report(lost=3)
    report.flag("lost", "t", 0, 5, "3 offsets from 5 were gone before they were read")
    monkeypatch.setattr(auditing, "verify", lambda *_: report)
    assert milepost("verify", "--quiet").code == 1
    told = milepost("verify", "--quiet", "--accept-lost")
    assert told.code == 0
    assert "3 offsets from 5 were gone" in told.out
    report.flag("chain", "t", 0, 5, "broken")
    assert milepost("verify", "--quiet", "--accept-lost").code == 1


def test_what_is_not_decided_yet_is_alarming_only_where_nobody_decides(
    governed, milepost, monkeypatch
):
    report = Report(inputs=[Input("t", 0, 5, 2, 3)], decided_ms=now_ms())
    monkeypatch.setattr(auditing, "verify", lambda *_: report)
    told = milepost("verify", "--quiet")
    assert "3 records were not decided yet; the governor is at it." in told.out
    report.decided_ms -= 3_600_000
    told = milepost("verify", "--quiet")
    assert "3 records were not decided yet: is a governor running?" in told.out


@pytest.fixture
def own_stack(monkeypatch):
    """A stack of its own, as commands find it, with an approved record that is as it should be."""
    stack = Governed()
    try:
        stack.publish(stack.bundle)
        stack.start()
        shipment = stack.name()
        stack.fates(stack.send(stack.event(shipment, "DELIVERED", stop={"location": "C-ATL"})))
        monkeypatch.setenv("MILEPOST_BOOTSTRAP_SERVERS", stack.bootstrap)
        monkeypatch.setenv("MILEPOST_REGISTRY_URL", stack.registry_url)
        monkeypatch.setenv("MILEPOST_STATE_DIR", str(stack.folder / "state"))
        yield stack
    finally:
        stack.close()


def approved_records(stack):
    with LogReader(stack.settings, stack.bootstrap) as reader:
        for number in reader.partitions(names.APPROVED):
            span = reader.settled(names.APPROVED, number)
            yield from reader.read(names.APPROVED, {number: span})


def test_somebody_elses_record_is_told_by_its_place_and_ends_with_one(own_stack, milepost):
    """What a copy shows, the topics themselves show; and the command tells it."""
    told = milepost("verify", "--quiet")
    assert (told.code, "Clean:" in told.out) == (0, True), told.out
    real = next(approved_records(own_stack))
    again = clients.Outgoing(real.topic, real.value, real.key, tuple(real.headers), real.partition)
    nonsense = again._replace(value=b"\0\0\0\0\1forged")
    second, third = clients.deliver(own_stack.producer, [again, nonsense])
    told = milepost("verify", "--quiet")
    assert told.code == 1
    assert "Clean" not in told.out
    place, other = (f"{at.topic}[{at.partition}]@{at.offset}" for at in (second, third))
    assert f"first approved: {place}: milestone " in told.out
    assert f"first sequence: {place}: entity_seq 1, " in told.out
    assert f"      approved: {other}: no approved record" in told.out
    broken = own_stack.verify().broken
    for rule, text in auditing.RULES.items():
        said = f"{broken[rule]} x" if rule in broken else "holds"
        assert f"  {said:<8} {text}" in told.out
    asked = milepost("verify", "--json")
    assert asked.code == 1
    document = asked.document
    assert document["clean"] is False
    assert document["broken"] == dict(broken)
    assert broken["approved"] == 2
    first = document["first"]["approved"]
    assert (first["topic"], first["partition"], first["offset"]) == tuple(second)
    assert milepost("verify", "--quiet", "--accept-lost").code == 1
