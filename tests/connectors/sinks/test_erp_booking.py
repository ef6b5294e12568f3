"""What a revision means for the postings of its entity."""

from __future__ import annotations

from typing import Any

import pytest
from erp_records import T0, approved
from hypothesis import given, settings
from hypothesis import strategies as st

from connectors.sinks.booking import refuse, release, take, withdraw
from connectors.sinks.entries import (
    BLOCKING,
    Book,
    Entry,
    IllegalTransitionError,
    Kind,
    State,
    Taken,
    Why,
)
from connectors.sinks.postings import PostingRules, load_postings
from pipeline.contract.names import data_root

RULES: PostingRules = load_postings(data_root() / "policy")


@pytest.fixture
def book() -> Book:
    return Book("acme/shipment/S1", 0)


def rows(book: Book, posting: str) -> list[tuple[Kind, State | None]]:
    return [(entry.kind, entry.state) for entry in book.entries if entry.posting == posting]


def head(book: Book) -> Entry | None:
    """The entry that the courier may send."""
    turns = [entry for entry in book.entries if entry.turn is not None and entry.state in BLOCKING]
    first = min(turns, key=lambda entry: entry.turn or 0, default=None)
    return first if first is not None and first.state is State.PENDING else None


def send(entry: Entry) -> None:
    entry.move(State.SENDING)
    entry.maybe_booked = True


def book_all(book: Book) -> None:
    while (entry := head(book)) is not None:
        send(entry)
        entry.move(State.DONE)


def test_an_owners_milestone_becomes_a_posting_with_a_stable_key(book):
    record = approved("goods.issued")

    take(book, record, RULES)

    (entry,) = book.entries
    assert (entry.kind, entry.state, entry.turn) == (Kind.ORIGINAL, State.PENDING, 1)
    assert entry.key == f"{record['milestone_id']}:1:goods-issue"
    assert entry.body["values"]["occurred"] == "2025-11-24T16:00:00.000Z"


def test_a_deputys_word_books_nothing_until_the_owner_confirms_it(book):
    take(book, approved("goods.issued", assurance="PROVISIONAL"), RULES)
    assert book.entries == []

    take(book, approved("goods.issued", 2, action="CONFIRM"), RULES)
    assert [entry.key.split(":")[1:] for entry in book.entries] == [["2", "goods-issue"]]


def test_an_estimate_books_nothing(book):
    take(book, approved("goods.issued", classifier="ESTIMATED"), RULES)
    assert book.entries == []


def test_the_same_revision_again_changes_nothing(book):
    take(book, approved("goods.issued"), RULES)
    before = repr(book.entries)

    assert take(book, approved("goods.issued"), RULES) is Taken.REPEATED
    assert repr(book.entries) == before


def test_a_correction_of_what_was_booked_is_an_adjustment_that_names_the_original(book):
    take(book, approved("goods.issued"), RULES)
    book_all(book)

    take(book, approved("goods.issued", 2, occurred=T0 + 60_000), RULES)

    original, adjustment = book.entries
    assert (adjustment.kind, adjustment.reference) == (Kind.ADJUSTMENT, original.key)
    assert adjustment.body["previous"] == original.body["values"]
    assert adjustment.body["values"]["occurred"] == "2025-11-24T16:01:00.000Z"


def test_a_correction_that_the_posting_does_not_show_books_nothing(book):
    take(book, approved("goods.issued"), RULES)
    book_all(book)

    take(book, approved("goods.issued", 2, native_status="GI2"), RULES)

    assert rows(book, "goods-issue") == [(Kind.ORIGINAL, State.DONE)]


def test_a_correction_of_what_was_not_sent_yet_takes_its_place(book):
    take(book, approved("goods.issued"), RULES)
    take(book, approved("goods.issued", 2, occurred=T0 + 60_000), RULES)

    assert rows(book, "goods-issue") == [
        (Kind.ORIGINAL, State.WITHDRAWN),
        (Kind.ORIGINAL, State.PENDING),
    ]


def test_a_retraction_reverses_what_was_booked_under_the_originals_key(book):
    take(book, approved("goods.issued"), RULES)
    book_all(book)
    take(book, approved("goods.issued", 2, occurred=T0 + 60_000), RULES)
    book_all(book)

    take(book, approved("goods.issued", 3, action="RETRACT"), RULES)

    reversal = book.entries[-1]
    assert (reversal.kind, reversal.reference) == (Kind.REVERSAL, book.entries[0].key)
    assert reversal.body["values"] is None


def test_a_retraction_of_what_was_not_sent_books_nothing(book):
    take(book, approved("goods.issued"), RULES)
    take(book, approved("goods.issued", 2, action="RETRACT"), RULES)

    assert rows(book, "goods-issue") == [(Kind.ORIGINAL, State.WITHDRAWN)]


def test_what_was_retracted_and_is_stated_anew_is_booked_anew(book):
    take(book, approved("goods.issued"), RULES)
    book_all(book)
    take(book, approved("goods.issued", 2, action="RETRACT"), RULES)
    book_all(book)
    take(book, approved("goods.issued", 3, action="ASSERT"), RULES)
    book_all(book)
    take(book, approved("goods.issued", 4, action="RETRACT"), RULES)

    assert [entry.kind for entry in book.entries] == [
        Kind.ORIGINAL,
        Kind.REVERSAL,
        Kind.ORIGINAL,
        Kind.REVERSAL,
    ]
    assert book.entries[-1].reference == book.entries[2].key


def test_while_an_attempt_may_have_been_booked_a_retraction_waits_behind_it(book):
    take(book, approved("goods.issued"), RULES)
    send(book.entries[0])

    take(book, approved("goods.issued", 2, action="RETRACT"), RULES)

    assert rows(book, "goods-issue") == [
        (Kind.ORIGINAL, State.SENDING),
        (Kind.REVERSAL, State.PENDING),
    ]
    assert head(book) is None


class TestPrerequisites:
    def test_billing_waits_until_the_goods_have_departed(self, book):
        take(book, approved("delivered"), RULES)
        assert rows(book, "proof-of-delivery") == [(Kind.ORIGINAL, State.PENDING)]
        assert rows(book, "billing-release") == [(Kind.ORIGINAL, State.WAITING)]
        assert "departed" in book.entries[1].words

        take(book, approved("departed"), RULES)
        assert rows(book, "billing-release") == [(Kind.ORIGINAL, State.PENDING)]

    def test_a_deputys_departure_is_not_enough(self, book):
        take(book, approved("departed", assurance="PROVISIONAL"), RULES)
        take(book, approved("delivered"), RULES)
        assert rows(book, "billing-release") == [(Kind.ORIGINAL, State.WAITING)]

        take(book, approved("departed", 2, action="CONFIRM"), RULES)
        assert rows(book, "billing-release") == [(Kind.ORIGINAL, State.PENDING)]

    def test_what_waits_keeps_nobody_waiting(self, book):
        take(book, approved("delivered"), RULES)
        take(book, approved("charge.posted", document="F1", amount=10_000), RULES)
        book_all(book)

        assert rows(book, "freight-accrual") == [(Kind.ORIGINAL, State.DONE)]
        assert rows(book, "billing-release") == [(Kind.ORIGINAL, State.WAITING)]

    def test_a_prerequisite_that_falls_before_sending_takes_its_posting_back(self, book):
        take(book, approved("departed"), RULES)
        take(book, approved("delivered"), RULES)
        take(book, approved("departed", 2, action="RETRACT"), RULES)

        assert rows(book, "billing-release") == [(Kind.ORIGINAL, State.WAITING)]

    def test_a_prerequisite_that_falls_after_booking_leaves_what_was_built_on_it(self, book):
        take(book, approved("departed"), RULES)
        take(book, approved("delivered"), RULES)
        book_all(book)
        take(book, approved("departed", 2, action="RETRACT"), RULES)

        assert rows(book, "billing-release") == [(Kind.ORIGINAL, State.DONE)]

    def test_a_prerequisite_that_falls_takes_back_a_correction_with_what_it_corrects(self, book):
        """No adjustment reaches the ERP before its original, which was not sent after all."""
        take(book, approved("departed"), RULES)
        take(book, approved("delivered"), RULES)
        billing = book.entries[1]
        book.entries[0].move(State.SENDING)
        book.entries[0].move(State.DONE)
        send(billing)
        take(book, approved("delivered", 2, occurred=T0 + 60_000), RULES)
        billing.maybe_booked = False
        billing.move(State.PENDING)

        take(book, approved("departed", 2, action="RETRACT"), RULES)
        gone, waits = (entry for entry in book.entries if entry.posting == "billing-release")
        assert (gone.kind, gone.state) == (Kind.ORIGINAL, State.WITHDRAWN)
        assert (waits.kind, waits.state, waits.turn) == (Kind.ORIGINAL, State.WAITING, None)

        take(book, approved("departed", 3), RULES)
        book_all(book)
        assert (waits.state, waits.reference) == (State.DONE, None)
        assert waits.body["values"]["occurred"] == "2025-11-24T16:01:00.000Z"

    def test_a_retracted_delivery_no_longer_waits_to_be_billed(self, book):
        take(book, approved("delivered"), RULES)
        take(book, approved("delivered", 2, action="RETRACT"), RULES)

        assert rows(book, "billing-release") == [(Kind.ORIGINAL, State.WITHDRAWN)]

    def test_billing_after_a_cancel_is_held_for_a_person_and_blocks_nothing(self, book):
        take(book, approved("departed"), RULES)
        take(book, approved("delivered", flags=["after_cancel"]), RULES)
        take(book, approved("charge.posted", document="F1", amount=10_000), RULES)
        book_all(book)

        held = next(entry for entry in book.entries if entry.posting == "billing-release")
        assert (held.state, held.reason) == (State.PARKED, Why.HELD_BY_RULE)
        assert rows(book, "freight-accrual") == [(Kind.ORIGINAL, State.DONE)]

        release(book, held)
        assert head(book) is held


class TestSplits:
    """A split shipment's parts are billed each for itself, and the shipment not once more."""

    @pytest.fixture
    def split(self):
        parts = ["acme/shipment/S1-A", "acme/shipment/S1-B"]
        return approved("shipment.changed", shipments=parts)

    def billing(self, book):
        return [entry for entry in book.entries if entry.posting == "billing-release"]

    def test_billing_of_what_was_split_is_held_for_a_person(self, book, split):
        for record in (split, approved("departed"), approved("delivered")):
            take(book, record, RULES)

        [held] = self.billing(book)
        assert (held.state, held.reason) == (State.PARKED, Why.HELD_BY_RULE)
        assert "split into others" in held.words
        assert rows(book, "proof-of-delivery") == [(Kind.ORIGINAL, State.PENDING)]

    def test_also_where_it_waited_already_when_the_split_was_told(self, book, split):
        take(book, approved("delivered"), RULES)
        take(book, split, RULES)
        take(book, approved("departed"), RULES)

        [held] = self.billing(book)
        assert (held.state, held.reason) == (State.PARKED, Why.HELD_BY_RULE)

    def test_a_split_that_was_taken_back_holds_nothing_any_more(self, book, split):
        take(book, split, RULES)
        back = approved("shipment.changed", 2, action="RETRACT", shipments=split["shipments"])
        for record in (back, approved("departed"), approved("delivered")):
            take(book, record, RULES)

        assert rows(book, "billing-release") == [(Kind.ORIGINAL, State.PENDING)]


class TestGenerations:
    """A number that is used again after its story was forgotten begins a book of its own."""

    def again(self, event_type, revision=1, **changes):
        return approved(event_type, revision, key="again", generation=2, **changes)

    def test_what_stood_before_is_no_prerequisite_any_more(self, book):
        take(book, approved("departed"), RULES)
        take(book, self.again("delivered"), RULES)
        assert rows(book, "billing-release") == [(Kind.ORIGINAL, State.WAITING)]

        take(book, self.again("departed"), RULES)
        assert rows(book, "billing-release") == [(Kind.ORIGINAL, State.PENDING)]

    def test_what_still_waited_is_left_to_a_person_and_not_booked_by_what_comes(self, book):
        take(book, approved("delivered"), RULES)
        take(book, self.again("departed"), RULES)

        billing = next(entry for entry in book.entries if entry.posting == "billing-release")
        assert (billing.state, billing.reason) == (State.PARKED, Why.STORY_ENDED)
        assert "until departed stands" in billing.words
        release(book, billing)
        assert billing.state is State.PENDING

    def test_its_postings_have_keys_of_their_own(self, book):
        for record in (approved("goods.issued"), self.again("goods.issued")):
            take(book, record, RULES)
            book_all(book)

        assert rows(book, "goods-issue") == [(Kind.ORIGINAL, State.DONE)] * 2
        assert len({entry.key for entry in book.entries}) == 2


class TestRefusals:
    def test_a_refused_posting_is_parked_and_keeps_its_entitys_order(self, book):
        take(book, approved("charge.posted", key="a", document="F1", amount=1), RULES)
        take(book, approved("charge.posted", key="b", document="F2", amount=2), RULES)
        first = book.entries[0]
        send(first)
        first.maybe_booked = False

        refuse(book, first, RULES, Why.REFUSED, "422 unknown cost centre")

        assert (first.state, first.words) == (State.PARKED, "422 unknown cost centre")
        assert head(book) is None

    def test_a_correction_heals_what_was_refused(self, book):
        take(book, approved("charge.posted", document="F1", amount=1), RULES)
        send(book.entries[0])
        book.entries[0].maybe_booked = False
        refuse(book, book.entries[0], RULES, Why.REFUSED, "422 amount too small")

        take(book, approved("charge.posted", 2, document="F1", amount=100), RULES)

        assert rows(book, "freight-accrual") == [
            (Kind.ORIGINAL, State.WITHDRAWN),
            (Kind.ORIGINAL, State.PENDING),
        ]

    def test_a_correction_that_came_while_it_was_sent_heals_it_too(self, book):
        take(book, approved("charge.posted", document="F1", amount=1), RULES)
        first = book.entries[0]
        send(first)
        take(book, approved("charge.posted", 2, document="F1", amount=100), RULES)
        assert book.entries[1].kind is Kind.ADJUSTMENT

        first.maybe_booked = False
        refuse(book, first, RULES, Why.REFUSED, "422 amount too small")

        second = book.entries[1]
        assert first.state is State.WITHDRAWN
        assert (second.kind, second.reference, second.state) == (
            Kind.ORIGINAL,
            None,
            State.PENDING,
        )
        assert second.body["kind"] == "ORIGINAL"
        assert second.body["previous"] is None

    def test_a_refusal_after_an_unknown_outcome_heals_nothing_by_itself(self, book):
        take(book, approved("charge.posted", document="F1", amount=1), RULES)
        first = book.entries[0]
        send(first)
        take(book, approved("charge.posted", 2, action="RETRACT", document="F1"), RULES)

        refuse(book, first, RULES, Why.REFUSED, "409 exists")

        assert rows(book, "freight-accrual") == [
            (Kind.ORIGINAL, State.PARKED),
            (Kind.REVERSAL, State.PENDING),
        ]


class TestByHand:
    def parked(self, book: Book) -> Entry:
        take(book, approved("charge.posted", document="F1", amount=1), RULES)
        entry = book.entries[0]
        send(entry)
        entry.maybe_booked = False
        refuse(book, entry, RULES, Why.REFUSED, "422 period closed")
        return entry

    def test_a_released_posting_is_sent_again_in_its_turn(self, book):
        entry = self.parked(book)
        release(book, entry)
        assert head(book) is entry

    def test_a_released_posting_does_not_go_back_to_wait_for_its_prerequisite(self, book):
        take(book, approved("delivered"), RULES)
        billing = book.entries[1]
        release(book, billing)
        take(book, approved("charge.posted", document="F1", amount=1), RULES)
        assert billing.state is State.PENDING

    def test_a_withdrawn_posting_lets_later_ones_pass_and_a_correction_books_anew(self, book):
        entry = self.parked(book)
        withdraw(book, entry, RULES, "test charge", booked=False)
        take(book, approved("charge.posted", 2, document="F1", amount=100), RULES)
        assert rows(book, "freight-accrual") == [
            (Kind.ORIGINAL, State.WITHDRAWN),
            (Kind.ORIGINAL, State.PENDING),
        ]

    def test_a_correction_of_what_was_booked_by_hand_waits_for_a_person(self, book):
        entry = self.parked(book)
        withdraw(book, entry, RULES, "booked by hand as 4711", booked=True)
        take(book, approved("charge.posted", 2, document="F1", amount=100), RULES)

        adjustment = book.entries[-1]
        assert (adjustment.kind, adjustment.state) == (Kind.ADJUSTMENT, State.PARKED)
        assert adjustment.reason is Why.BOOKED_ELSEWHERE

    def test_what_is_done_can_be_neither_released_nor_withdrawn(self, book):
        take(book, approved("goods.issued"), RULES)
        book_all(book)
        with pytest.raises(ValueError, match="only WAITING or PARKED"):
            release(book, book.entries[0])
        with pytest.raises(ValueError, match="only WAITING or PARKED"):
            withdraw(book, book.entries[0], RULES, "no", booked=False)

    def test_an_entry_goes_only_the_ways_of_the_table(self, book):
        take(book, approved("goods.issued"), RULES)
        book_all(book)
        with pytest.raises(IllegalTransitionError):
            book.entries[0].move(State.PENDING)


class TestCutOver:
    def test_what_came_before_counts_as_prerequisite_and_is_not_booked(self, book):
        take(book, approved("departed"), RULES, posts=False)
        take(book, approved("goods.issued"), RULES, posts=False)
        take(book, approved("delivered"), RULES)

        assert rows(book, "goods-issue") == [(Kind.ORIGINAL, State.ELSEWHERE)]
        assert rows(book, "billing-release") == [(Kind.ORIGINAL, State.PENDING)]

    def test_a_later_correction_or_retraction_of_it_waits_for_a_person(self, book):
        take(book, approved("goods.issued"), RULES, posts=False)
        take(book, approved("goods.issued", 2, occurred=T0 + 60_000), RULES)
        assert rows(book, "goods-issue")[-1] == (Kind.ADJUSTMENT, State.PARKED)

        take(book, approved("goods.issued", 3, action="RETRACT"), RULES)
        assert rows(book, "goods-issue")[1:] == [
            (Kind.ADJUSTMENT, State.WITHDRAWN),
            (Kind.REVERSAL, State.PARKED),
        ]

    def test_what_only_a_deputy_had_said_before_is_booked_when_the_owner_confirms(self, book):
        take(book, approved("goods.issued", assurance="PROVISIONAL"), RULES, posts=False)
        take(book, approved("goods.issued", 2, action="CONFIRM"), RULES)
        assert rows(book, "goods-issue") == [(Kind.ORIGINAL, State.PENDING)]

    def test_what_was_corrected_and_retracted_before_leaves_nothing(self, book):
        take(book, approved("goods.issued"), RULES, posts=False)
        take(book, approved("goods.issued", 2, occurred=T0 + 60_000), RULES, posts=False)
        take(book, approved("goods.issued", 3, action="RETRACT"), RULES, posts=False)
        assert {state for _, state in rows(book, "goods-issue")} == {State.WITHDRAWN}


class TestWhatIsNotUnderstood:
    def test_an_unknown_action_is_never_booked_and_is_shown_to_a_person(self, book):
        taken = take(book, approved("goods.issued", action="UNRECOGNISED"), RULES)

        assert taken is Taken.UNRECOGNISED
        (entry,) = book.entries
        assert (entry.kind, entry.state) == (Kind.UNREADABLE, State.PARKED)
        with pytest.raises(ValueError, match="can't be booked"):
            release(book, entry)
        withdraw(book, entry, RULES, "booked by hand", booked=True)
        assert entry.state is State.WITHDRAWN

    def test_an_unknown_action_of_what_no_rule_books_is_passed_over(self, book):
        assert (
            take(book, approved("pickup.arrived", action="UNRECOGNISED"), RULES)
            is Taken.UNRECOGNISED
        )
        assert book.entries == []


def test_a_posting_whose_rule_was_removed_says_so(book):
    take(book, approved("delivered"), RULES)
    fewer = PostingRules(
        [rule for rule in RULES.postings if rule.posting != "billing-release"],
        RULES.endpoints.values(),
    )
    take(book, approved("departed"), fewer)

    billing = book.entries[1]
    assert (billing.state, billing.reason) == (State.WAITING, Why.RULE_GONE)


class _Erp:
    """What the ERP would hold of one posting: refuses what makes no sense."""

    def __init__(self) -> None:
        self.live: dict[str, Any] | None = None
        self.root: str | None = None

    def book(self, entry: Entry) -> None:
        if entry.kind is Kind.ORIGINAL:
            assert self.live is None
            self.root = entry.key
        else:
            assert self.live is not None
            assert entry.reference == self.root
        self.live = entry.body["values"]


REVISION = st.tuples(
    st.sampled_from(["ASSERT", "CORRECT", "CONFIRM", "RETRACT"]),
    st.sampled_from(["AUTHORITATIVE", "AUTHORITATIVE", "PROVISIONAL"]),
    st.integers(1, 3),
)
STEP = st.one_of(
    REVISION,
    st.sampled_from(["send", "booked", "lost", "not sent", "refused", "expired"]),
)


@settings(max_examples=400, deadline=None)
@given(st.lists(STEP, max_size=25))
def test_whatever_happens_on_the_way_the_erp_ends_with_what_stands(steps):
    book, erp, revision, stands = Book("acme/shipment/S1", 0), _Erp(), 0, None
    booked: set[str] = set()

    def call(entry: Entry) -> None:
        if entry.key not in booked:  # the ERP honours keys
            erp.book(entry)
            booked.add(entry.key)

    def sending() -> Entry | None:
        return next((item for item in book.entries if item.state is State.SENDING), None)

    for step in steps:
        if isinstance(step, tuple):
            action, assurance, amount = step
            revision += 1
            record = approved(
                "charge.posted", revision, action=action, assurance=assurance, amount=amount
            )
            if action == "RETRACT":
                stands = None
            elif assurance == "AUTHORITATIVE":
                stands = amount
            take(book, record, RULES)
        elif step == "send":
            if sending() is None and (entry := head(book)) is not None:
                was = entry.maybe_booked
                send(entry)
                entry.words = "maybe" if was else ""
        elif (entry := sending()) is not None:
            if step in ("booked", "lost"):
                call(entry)
            if step == "booked":
                entry.move(State.DONE)
            elif step in ("lost", "expired"):
                entry.move(State.PENDING)
            elif step == "not sent":
                entry.maybe_booked = bool(entry.words)
                entry.move(State.PENDING)
            elif not entry.words and entry.key not in booked:
                entry.maybe_booked = False
                refuse(book, entry, RULES, Why.REFUSED, "no")

    if (entry := sending()) is not None:
        call(entry)
        entry.move(State.DONE)
    while True:
        for entry in book.entries:
            if entry.state is State.PARKED:
                release(book, entry)
        entry = head(book)
        if entry is None:
            break
        send(entry)
        call(entry)
        entry.move(State.DONE)
    final = None if erp.live is None else erp.live["amount"]
    assert final == (None if stands is None else f"{stands / 10_000:f}".rstrip("0"))
