"""Judges a run once it has settled: what the old landscape made of the same raw records, what the
governed one did, and which promises were kept.

Must never start anything or draw anything.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from typing import Any, NamedTuple

from connectors.simulation import books, outcome
from connectors.simulation.after import book, governed_portal
from connectors.simulation.before import Received, old_portal
from connectors.simulation.explain import contested
from connectors.simulation.follow import Followed
from connectors.simulation.outcome import Outcome, Promise
from connectors.simulation.publish import SEQUENCE_HEADER, Sent
from connectors.simulation.shown import measure
from connectors.simulation.statement import Record
from connectors.simulation.traffic import Traffic
from connectors.simulation.world import TENANT
from pipeline.contract import codec
from pipeline.contract.bundle import Bundle
from pipeline.governance.vocabulary import Action, Assurance
from pipeline.kafka.reading import read_to_end
from pipeline.kafka.registry import Registry
from pipeline.settings import Settings


class Run(NamedTuple):
    """A run that has settled."""

    traffic: Traffic
    bundle: Bundle
    sent: list[Sent]
    followed: Followed
    settled: Promise
    verify: Callable[[], dict[str, Any]]
    """Waits for what `milepost verify` says; asked last."""
    seconds: dict[str, float]


def judge(
    run: Run, settings: Settings, bootstrap: str, registry: Registry, erp_url: str
) -> Outcome:
    """Everything that is told about a run.

    Args:
        run: settled.
        settings: security settings pass through.
        bootstrap: where its raw records are read again.
        registry: what schemas they name.
        erp_url: where the simulated ERP opens its books.

    Raises:
        UnreachableError: Kafka or the registry is away.
        httpx.HTTPError: the ERP is.

    """
    world, approved = run.traffic.world, run.followed.approved
    topics = sorted({item.position.topic for item in run.sent})
    old = old_portal(world, run.bundle, received(topics, settings, bootstrap, registry))
    new = governed_portal(world, run.bundle, approved)
    booked = list(books.postings(erp_url))
    book(new, booked)
    erp = books.summary(erp_url)
    ours = [record for record in approved if record["tenant"] == TENANT]
    deputies = {
        record["milestone_id"] for record in ours if record["assurance"] == Assurance.PROVISIONAL
    }
    rows = outcome.fault_rows(run.sent, run.followed.ends())
    told = contested(run.traffic, run.bundle, approved, old, booked)
    final = outcome.fingerprint(world, run.bundle, approved)
    verify = run.verify()
    return Outcome(
        seed=world.seed,
        events=len(run.sent),
        shipments=len(world.shipments),
        samples=len(approved) - len(ours),
        before=measure(world, old),
        after=measure(world, new),
        dispositions=outcome.dispositions(run.followed),
        provisional=len(deputies),
        taken_back=sum(record["action"] == Action.RETRACT for record in ours),
        reversals=sum(item["kind"] == "REVERSAL" for item in booked),
        adjustments=sum(item["kind"] == "ADJUSTMENT" for item in booked),
        bound=run.followed.bound,
        latency_ms=outcome.latency(run.followed),
        latency_histogram=outcome.latency_histogram(run.followed),
        verify=verify,
        erp=erp,
        faults=rows,
        contested=told,
        promises=[
            run.settled,
            outcome.conservation(run.sent, run.followed),
            outcome.once(approved),
            outcome.booked_once(erp),
            outcome.books_agree(approved, booked),
            outcome.verified(verify),
        ],
        fingerprint=final,
        seconds=run.seconds,
    )


def received(
    topics: Iterable[str], settings: Settings, bootstrap: str, registry: Registry
) -> Iterator[Received]:
    """The raw records of a run, read from Kafka as the old portal's interface would.

    Raises:
        UnreachableError: Kafka or the registry is away.

    """
    written: dict[int, codec.Schema | None] = {}
    for topic in topics:
        for record in read_to_end(settings, bootstrap, topic):
            sequence = dict(record.headers).get(SEQUENCE_HEADER)
            if sequence is not None:
                yield Received(int(sequence), _read(record.value, written, registry))


def _read(
    value: bytes | None, written: dict[int, codec.Schema | None], registry: Registry
) -> Record | None:
    """A raw event; None if it can't be read."""
    try:
        number = codec.schema_id(value)
        if number not in written:
            found = registry.schema(number)
            written[number] = None if found is None else codec.parse(found)
        schema = written[number]
        if schema is None:
            return None
        return codec.decode(value or b"", schema, codec.committed("raw-event"))
    except codec.UndecodableError:
        return None
