"""What has to be booked follows from the approved records, whenever which posting was sent."""

from __future__ import annotations

from collections import defaultdict
from random import Random

import pytest
from bookings import Bookings

from connectors.simulation.address import Addresses, encode
from connectors.simulation.traffic import compose
from connectors.sinks import booking
from connectors.sinks.entries import Book, State
from connectors.sinks.postings import load_postings
from pipeline.contract import names
from pipeline.contract.bundle import load_bundle
from pipeline.contract.policy_tables import compile_policy
from pipeline.testing.driver import TopologyDriver

NOW_MS = 1_793_000_000_000
RULES = load_postings(names.data_root() / "policy")


@pytest.fixture(scope="module")
def approved():
    """What is approved of three worlds, in order."""
    bundle = load_bundle()
    driver = TopologyDriver([compile_policy(bundle)], 1, NOW_MS)
    addresses = Addresses(bundle)
    for seed in range(3):
        for at, sending in enumerate(compose(seed, NOW_MS, events=400).sendings):
            said = sending.statement
            driver.pipe_bytes(
                addresses.topic(said), addresses.key(said), encode(said, 1), at_ms=NOW_MS + at
            )
    return driver.records(names.APPROVED)


class Erp:
    """The sink's own rules in memory, with an ERP that is called at random moments."""

    def __init__(self, seed):
        self.roll = Random(seed)
        self.books = {}
        self.postings = []

    def take(self, record):
        entity = record["tenant"], record["entity_type"], record["entity_id"]
        book = self.books.setdefault(entity, Book("/".join(entity), 0))
        booking.take(book, record, RULES)
        if self.roll.random() < 0.5:
            self.send(book)

    def send(self, book):
        due = [entry for entry in book.entries if entry.state is State.PENDING]
        for entry in sorted(due, key=lambda entry: entry.turn):
            entry.maybe_booked = True
            entry.move(State.SENDING)
            entry.move(State.DONE)
            self.postings.append({"body": entry.body})

    def settle(self):
        for book in self.books.values():
            self.send(book)


def told_of(approved, seed=0, skipped=()):
    """What is due, what may be there, and what an ERP has that some records never reached."""
    bookings, erp = Bookings(RULES), Erp(seed)
    for at, record in enumerate(approved):
        bookings.take(record)
        if at not in skipped:
            erp.take(record)
    erp.settle()
    return bookings.due(), bookings.allowed(), bookings.booked(erp.postings)


@pytest.mark.parametrize("seed", range(6))
def test_the_books_end_where_the_approved_records_end(approved, seed):
    due, allowed, booked = told_of(approved, seed)
    assert due - booked == set()
    assert booked - due - allowed == set()


def test_most_of_what_is_booked_is_due_and_not_just_allowed(approved):
    due, _, booked = told_of(approved)
    assert len(due) > 100
    assert len(due & booked) > 0.8 * len(booked)


def test_an_erp_that_nothing_reached_is_found_out(approved):
    due, _, booked = told_of(approved, skipped=range(len(approved)))
    assert booked == set()
    assert due


def test_each_record_that_did_not_arrive_is_found_out(approved):
    """A sample of those that alone make a posting due."""
    posted = defaultdict(list)
    for at, record in enumerate(approved):
        if record["event_type"] in {"goods.issued", "charge.posted"}:
            posted[record["milestone_id"]].append(at)
    alone = [at for (at, *more) in posted.values() if not more][:40]
    for at in alone:
        due, _, booked = told_of(approved, skipped={at})
        assert len(due - booked) >= 1
    assert alone


def test_what_nobody_approved_is_found_out(approved):
    due, allowed, _ = told_of(approved)
    bookings = Bookings(RULES)
    body = {"milestone_id": "m", "posting": "goods-issue", "kind": "ORIGINAL", "values": {}}
    assert bookings.booked([{"body": body}]) - due - allowed
