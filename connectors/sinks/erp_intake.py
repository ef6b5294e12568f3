"""The reading side of the ERP sink: records of the approved topic into the outbox.

Entries and positions commit in one database transaction, and a worker that was replaced is refused.
Must never know HTTP or the ERP.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence

import structlog
from confluent_kafka import OFFSET_BEGINNING, KafkaError, KafkaException, Message
from confluent_kafka import TopicPartition as KafkaPartition
from sqlalchemy import Connection, Engine

from connectors.applied import NOTHING, Claim, TopicPartition
from connectors.sinks.database import APPLIED, OutboxError, begin
from connectors.sinks.decoding import Decoder
from connectors.sinks.entries import Taken
from connectors.sinks.outbox import Arrival, Outbox
from connectors.sinks.postings import utc_text
from pipeline.contract.codec import UndecodableError
from pipeline.contract.names import APPROVED
from pipeline.governance.identity import entity_key

_log = structlog.get_logger(__name__)


class Intake:
    """Takes records into the outbox; holds the claims of this worker's partitions.

    Args:
        engine: the outbox's database.
        outbox: its entries.
        decoder: of the approved topic.

    """

    def __init__(self, engine: Engine, outbox: Outbox, decoder: Decoder) -> None:
        self.engine = engine
        self.outbox = outbox
        self._decoder = decoder
        self._claims: dict[int, Claim] = {}
        self._cut_over_ms = 0

    def begin(self, cluster_id: str, start_ms: int) -> None:
        """Tie the outbox to its cluster; at the first start, fix from when on it books.

        Raises:
            OutboxError: it belongs to another cluster or version.

        """
        with self.engine.begin() as connection:
            self._cut_over_ms = begin(connection, start_ms, cluster_id)
        _log.info("erp outbox books milestones published from", since=utc_text(self._cut_over_ms))

    def claim(self, partitions: Sequence[int]) -> tuple[list[KafkaPartition], dict[int, int]]:
        """Take partitions over: where to read on, and the epochs to send under."""
        endpoints = self.outbox.rules.endpoints.values()
        honouring = [endpoint.name for endpoint in endpoints if endpoint.honours_keys]
        with self.engine.begin() as connection:
            ours = [TopicPartition(APPROVED, partition) for partition in partitions]
            claims = APPLIED.claim(connection, ours)
            for at, claim in claims.items():
                self.outbox.adopt(connection, at.partition, claim.epoch, honouring)
        self._claims = {at.partition: claim for at, claim in claims.items()}
        positions = [
            KafkaPartition(
                APPROVED,
                partition,
                OFFSET_BEGINNING if claim.next_offset == NOTHING else claim.next_offset,
            )
            for partition, claim in self._claims.items()
        ]
        return positions, {partition: claim.epoch for partition, claim in self._claims.items()}

    def forget(self, partitions: Iterable[int]) -> None:
        """Take no more records of these partitions."""
        for partition in partitions:
            self._claims.pop(partition, None)

    def take(self, messages: Sequence[Message]) -> tuple[list[KafkaPartition], Mapping[Taken, int]]:
        """Apply records and move positions in one transaction.

        Returns:
            The new positions, and how many records became what.

        Raises:
            FencedError: another process took a partition over.
            OutboxError: records were removed before they were read.
            RegistryUnavailableError: a schema can't be asked for now.
            sqlalchemy.exc.SQLAlchemyError: the database can't be written now.

        """
        arrivals = [item for message in messages if (item := self._arrival(message)) is not None]
        ends = {
            partition: offset + 1
            for partition, offset in (
                (m.partition(), m.offset()) for m in messages if not m.error()
            )
            if partition is not None and offset is not None and partition in self._claims
        }
        if not ends:
            return [], {}
        moved = {}
        with self.engine.begin() as connection:
            for partition, end in sorted(ends.items()):
                at = TopicPartition(APPROVED, partition)
                moved[partition] = APPLIED.advance(connection, at, self._claims[partition], end)
            taken = self.outbox.take(connection, arrivals, self._cut_over_ms)
        self._claims.update(moved)
        return [KafkaPartition(APPROVED, partition, end) for partition, end in ends.items()], taken

    def _arrival(self, message: Message) -> Arrival | None:
        failure, value, partition = message.error(), message.value(), message.partition()
        if failure is not None:
            _judge(failure, message)
            return None
        if value is None or partition is None or partition not in self._claims:
            return None
        offset = message.offset() or 0
        published_ms = message.timestamp()[1]
        try:
            record = self._decoder.decode_patiently(APPROVED, value)
        except UndecodableError as error:
            entity = (message.key() or b"").decode("utf-8", "replace")
            problem = (
                f"offset {offset} of {APPROVED}[{partition}] can't be read ({error}): see what it "
                "says, book it by hand, then withdraw this"
            )
            _log.error("record can't be read", entity=entity, problem=problem)
            return Arrival(partition, offset, published_ms, entity, None, problem, value)
        entity = entity_key(record["tenant"], record["entity_type"], record["entity_id"])
        return Arrival(partition, offset, published_ms, entity, record)


def epochs_in_force(connection: Connection) -> dict[int, int]:
    """Epoch in force of each partition of the approved topic."""
    positions = APPLIED.positions(connection)
    return {at.partition: item.epoch for at, item in positions.items() if at.topic == APPROVED}


def _judge(error: KafkaError, message: Message) -> None:
    """Tell what ends the session from what the client mends by itself."""
    code = error.code()
    if code == KafkaError._AUTO_OFFSET_RESET:  # noqa: SLF001  librdkafka's codes have no other name
        raise OutboxError(
            f"{APPROVED}[{message.partition()}] no longer has the offset where the ERP outbox "
            "ends: records were removed or the topic was made anew. Book by hand what is missing, "
            "then start with a new outbox and --from now"
        )
    if error.fatal() or code in (
        KafkaError._MAX_POLL_EXCEEDED,  # noqa: SLF001
        KafkaError.UNKNOWN_TOPIC_OR_PART,
        KafkaError.TOPIC_AUTHORIZATION_FAILED,
        KafkaError.GROUP_AUTHORIZATION_FAILED,
    ):
        raise KafkaException(error)
