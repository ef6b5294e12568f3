"""The reading side of the ERP sink: records of the approved topic into the outbox.

Entries and positions commit in one database transaction, and a worker that was replaced is refused.
Must never know HTTP or the ERP.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence

import structlog
from confluent_kafka import Consumer
from confluent_kafka.admin._metadata import ClusterMetadata
from sqlalchemy import Connection, Engine

from connectors.applied import Claim, TopicPartition
from connectors.sinks.courier import Courier
from connectors.sinks.database import APPLIED, OutboxError, begin
from connectors.sinks.decoding import Decoder
from connectors.sinks.engines import reading_only
from connectors.sinks.following import Incoming, Intake
from connectors.sinks.outbox import Arrival, Outbox
from connectors.sinks.postings import utc_text
from pipeline.contract.codec import UndecodableError
from pipeline.contract.names import APPROVED
from pipeline.governance.identity import entity_key
from pipeline.telemetry.metrics import MetricName, Metrics

_log = structlog.get_logger(__name__)


class ErpIntake(Intake):
    """Takes records into the outbox; holds the claims of this worker's partitions.

    Args:
        engine: the outbox's database.
        outbox: its entries.
        decoder: of the approved topic.
        courier: told what it may send, and when something new is there.
        metrics: records are counted there.
        start_ms: from when on a new outbox books.
        tell: writes down that all is well; called now and then.

    """

    topics = (APPROVED,)

    def __init__(
        self,
        engine: Engine,
        outbox: Outbox,
        decoder: Decoder,
        courier: Courier,
        metrics: Metrics,
        start_ms: int,
        tell: Callable[[], None],
    ) -> None:
        self._engine = engine
        self._outbox = outbox
        self._decoder = decoder
        self._courier = courier
        self._metrics = metrics
        self._cut_over_ms = start_ms
        self._tell = tell
        self._claims: dict[TopicPartition, Claim] = {}

    def prepare(self, cluster: ClusterMetadata) -> Sequence[str]:
        """Tie the outbox to its cluster; at the first start, fix from when on it books.

        Raises:
            OutboxError: it belongs to another cluster or version.

        """
        with self._engine.begin() as connection:
            self._cut_over_ms = begin(connection, self._cut_over_ms, str(cluster.cluster_id))
        _log.info("erp outbox books milestones published from", since=utc_text(self._cut_over_ms))
        return self.topics

    def claim(self, partitions: Sequence[TopicPartition]) -> dict[TopicPartition, int]:
        """Take partitions over, and have the courier send under the new epochs."""
        endpoints = self._outbox.rules.endpoints.values()
        honouring = [endpoint.name for endpoint in endpoints if endpoint.honours_keys]
        with self._engine.begin() as connection:
            claims = APPLIED.claim(connection, partitions)
            for at, claim in claims.items():
                self._outbox.adopt(connection, at.partition, claim.epoch, honouring)
        self._claims = claims
        self._courier.own({at.partition: claim.epoch for at, claim in claims.items()})
        return {at: claim.next_offset for at, claim in claims.items()}

    def forget(self, partitions: Iterable[TopicPartition]) -> None:
        """Take no more records of these partitions."""
        for at in partitions:
            self._claims.pop(at, None)

    def take(self, records: Sequence[Incoming]) -> dict[TopicPartition, int]:
        """Apply records and move positions in one transaction.

        Raises:
            FencedError: another process took a partition over.
            RegistryUnavailableError: a schema can't be asked for now.
            sqlalchemy.exc.SQLAlchemyError: the database can't be written now.

        """
        ours = [record for record in records if record.at in self._claims]
        if not ours:
            return {}
        arrivals = [self._arrival(item, item.value) for item in ours if item.value is not None]
        ends = {record.at: record.offset + 1 for record in ours}
        with self._engine.begin() as connection:
            moved = {
                at: APPLIED.advance(connection, at, self._claims[at], end)
                for at, end in sorted(ends.items())
            }
            taken = self._outbox.take(connection, arrivals, self._cut_over_ms)
        self._claims.update(moved)
        for outcome, number in taken.items():
            name: MetricName = "milepost_sink_records_total"
            self._metrics.add(name, number, sink="erp", outcome=outcome.value)
        self._courier.wake()
        return ends

    def positions(self) -> dict[TopicPartition, int]:
        """Where the outbox is, whoever takes the records."""
        with reading_only(self._engine).begin() as connection:
            found = APPLIED.positions(connection)
        return {at: claim.next_offset for at, claim in found.items() if at.topic == APPROVED}

    def tick(self, _consumer: Consumer) -> dict[TopicPartition, int]:
        """Write down that all is well."""
        self._tell()
        return {}

    def removed(self, at: TopicPartition) -> OutboxError:
        """The error to raise if the topic no longer has what comes next."""
        return OutboxError(
            f"{at.topic}[{at.partition}] no longer has the offset where the ERP outbox ends: "
            "records were removed or the topic was made anew. Book by hand what is missing, then "
            "start with a new outbox and --from now"
        )

    def _arrival(self, incoming: Incoming, value: bytes) -> Arrival:
        partition, offset = incoming.at.partition, incoming.offset
        try:
            record = self._decoder.decode_patiently(APPROVED, value)
        except UndecodableError as error:
            entity = (incoming.key or b"").decode("utf-8", "replace")
            problem = (
                f"offset {offset} of {APPROVED}[{partition}] can't be read ({error}): see what it "
                "says, book it by hand, then withdraw this"
            )
            _log.error("record can't be read", entity=entity, problem=problem)
            return Arrival(partition, offset, incoming.published_ms, entity, None, problem, value)
        entity = entity_key(record["tenant"], record["entity_type"], record["entity_id"])
        return Arrival(partition, offset, incoming.published_ms, entity, record)


def epochs_in_force(connection: Connection) -> dict[int, int]:
    """Epoch in force of each partition of the approved topic."""
    positions = APPLIED.positions(connection)
    return {at.partition: item.epoch for at, item in positions.items() if at.topic == APPROVED}
