from connectors.simulation.follow import Followed, note_approved, note_block, percentile

RAW, REKEYED, LINKS = "logistics.raw.tms-na.v1", "logistics.rekeyed.v1", "logistics.links.v1"


def block(*decisions, partition=0, first_seq=0, transitions=()):
    topics = sorted({row["topic"] for row in decisions})
    return {
        "partition": partition,
        "first_seq": first_seq,
        "inputs": [{"topic": topic, "next": first_seq + 10} for topic in topics],
        "decisions": [row | {"input": topics.index(row["topic"])} for row in decisions],
        "transitions": list(transitions),
    }


def decision(offset, disposition="approved", reason="owner_spoke", topic=RAW, digest=None):
    return {
        "topic": topic,
        "offset": offset,
        "disposition": disposition,
        "reason": reason,
        "digest": digest or bytes([offset]),
    }


def became(seq, after, reason="agrees_with_owner"):
    return {"seq": seq, "after": after, "reason": reason}


def followed(*blocks):
    found = Followed()
    for item in blocks:
        note_block(found, item)
    return found


def test_a_claim_that_waits_is_open_until_a_later_block_says_what_became_of_it():
    held = block(decision(0, "held", "awaiting_owner"))
    assert followed(held).open_claims == 1
    later = block(decision(1), first_seq=1, transitions=[became(0, "corroborated")])
    found = followed(held, later)
    assert found.open_claims == 0
    assert found.first[("held", "awaiting_owner")] == 1
    assert found.ends()[RAW, 0, 0] == ("corroborated", "agrees_with_owner")


def test_links_and_control_records_are_no_events():
    found = followed(block(decision(0), decision(0, "applied", "link_applied", topic=LINKS)))
    assert (found.raw, found.others) == (1, 1)


def test_a_record_that_was_sent_on_ends_as_its_copy_does():
    digest = b"same bytes"
    stray = block(decision(4, "rerouted", "wrong_partition", digest=digest))
    copy = block(decision(0, topic=REKEYED, digest=digest), partition=3)
    found = followed(stray, copy)
    assert found.ends() == {(RAW, 0, 4): ("approved", "owner_spoke")}
    assert found.raw == 1


def test_a_claim_that_waited_under_a_reference_ends_as_its_copy_does():
    digest = b"pro only"
    waits = block(decision(4, "held", "uncorrelated", digest=digest))
    bound = block(first_seq=1, transitions=[became(0, "rerouted", "reference_bound")])
    copy = block(decision(0, topic=REKEYED, digest=digest), partition=3)
    found = followed(waits, bound, copy)
    assert found.ends() == {(RAW, 0, 4): ("approved", "owner_spoke")}
    assert (found.open_claims, found.bound) == (0, 1)


def test_how_far_an_input_was_read_is_what_its_last_block_says():
    found = followed(block(decision(0)), block(decision(1), first_seq=1))
    assert found.read_to == {(RAW, 0): 11}


def test_latency_counts_only_what_did_not_wait_on_purpose():
    found = followed(block(decision(0), decision(1, "held", "awaiting_owner")))
    for seq, received in ((0, 1000), (1, 0)):
        record = {"ledger_partition": 0, "ledger_seq": seq, "received": received}
        note_approved(found, record, 1050)
    assert found.latencies_ms() == [50]


def test_percentiles_of_nothing_are_nothing():
    assert percentile([], 0.5) is None
    assert percentile([1, 2, 3, 4], 0.5) == 3
    assert percentile([1, 2, 3, 4], 1.0) == 4
