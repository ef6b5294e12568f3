"""Two requests of Kafka's protocol that no client library here has: whose transaction is open on a
partition, and writing the marker that ends it.

As `kafka-transactions.sh` does. Asks the partition's leader, without SASL. Must never choose what
to end.
"""

from __future__ import annotations

import socket
import struct
from contextlib import closing
from typing import Final, NamedTuple

from pipeline.operations import handshake
from pipeline.operations.handshake import HandshakeError
from pipeline.settings import Settings

_DESCRIBE_PRODUCERS: Final = 61
_WRITE_MARKERS: Final = 27
_NO_TRANSACTION: Final = -1


class Owner(NamedTuple):
    """A producer with an open transaction on a partition."""

    producer_id: int
    epoch: int
    coordinator_epoch: int
    offset: int
    """Where its transaction begins there."""


def owners(leader: tuple[str, int], settings: Settings, topic: str, number: int) -> list[Owner]:
    """Producers with an open transaction on a partition.

    Args:
        leader: host and port of the partition's leader.
        settings: for TLS.
        topic: of the partition.
        number: the partition's.

    Raises:
        OSError: it can't be reached.
        HandshakeError: it refuses, or answers something else.

    """
    body = b"\x02" + _text(topic) + b"\x02" + struct.pack(">i", number) + b"\0\0"
    answer = _Answer(_ask(leader, settings, _DESCRIBE_PRODUCERS, 0, body))
    answer.skip(4)  # throttling
    found = []
    for _ in range(answer.count()):
        answer.text()
        for _ in range(answer.count()):
            _, error = answer.take(">ih")
            answer.text()
            if error:
                raise HandshakeError(f"the broker answers with error {error}")
            for _ in range(answer.count()):
                producer_id, epoch, _, _, coordinator, start = answer.take(">qiiqiq")
                answer.tags()
                if start != _NO_TRANSACTION:
                    found.append(Owner(producer_id, epoch, coordinator, start))
            answer.tags()
        answer.tags()
    return found


def write_abort(
    leader: tuple[str, int], settings: Settings, topic: str, number: int, owner: Owner
) -> None:
    """Write the marker that aborts a producer's transaction on one partition.

    Args:
        leader: host and port of the partition's leader.
        settings: for TLS.
        topic: of the partition.
        number: the partition's.
        owner: whose transaction.

    Raises:
        OSError: it can't be reached.
        HandshakeError: it refuses, or answers something else.

    """
    place = b"\x02" + _text(topic) + b"\x02" + struct.pack(">i", number) + b"\0"
    marker = struct.pack(">qhb", owner.producer_id, owner.epoch, 0) + place
    marker += struct.pack(">i", max(owner.coordinator_epoch, 0)) + b"\0"
    answer = _Answer(_ask(leader, settings, _WRITE_MARKERS, 1, b"\x02" + marker + b"\0"))
    for _ in range(answer.count()):
        answer.skip(8)  # the producer's id
        for _ in range(answer.count()):
            answer.text()
            for _ in range(answer.count()):
                _, error = answer.take(">ih")
                answer.tags()
                if error:
                    raise HandshakeError(f"the broker answers with error {error}")


def _ask(
    leader: tuple[str, int], settings: Settings, request: int, version: int, body: bytes
) -> bytes:
    if (settings.kafka_security_protocol or "").startswith("SASL"):
        raise HandshakeError("it wants a login, which only `kafka-transactions.sh` has")
    client = b"milepost"
    head = struct.pack(">hhih", request, version, 1, len(client)) + client + b"\0"
    with closing(handshake.connect(*leader, settings)) as connection:
        connection.sendall(struct.pack(">i", len(head + body)) + head + body)
        return _received(connection)


def _received(connection: socket.socket) -> bytes:
    """The body of an answer, behind its correlation id and tags."""
    answer = _Answer(handshake.received(connection))
    answer.skip(4)
    answer.tags()
    return answer.rest()


def _text(text: str) -> bytes:
    """A text of up to 249 characters, as topics' names are."""
    size = len(text) + 1
    head = bytes([size]) if size < 128 else bytes([size & 127 | 128, size >> 7])
    return head + text.encode()


class _Answer:
    """Reads the fields of an answer."""

    def __init__(self, content: bytes) -> None:
        self._content = content
        self._at = 0

    def skip(self, size: int) -> None:
        self._at += size

    def take(self, form: str) -> tuple[int, ...]:
        """Numbers of a fixed size.

        Raises:
            HandshakeError: the answer ends before.

        """
        try:
            found = struct.unpack_from(form, self._content, self._at)
        except struct.error:
            raise HandshakeError("the answer ends too early") from None
        self._at += struct.calcsize(form)
        return found

    def count(self) -> int:
        """How many items follow; none where there is no list."""
        return max(0, self._varint() - 1)

    def text(self) -> None:
        """Pass over a text."""
        self.skip(max(0, self._varint() - 1))

    def tags(self) -> None:
        for _ in range(self._varint()):
            self._varint()
            self.skip(self._varint())

    def rest(self) -> bytes:
        return self._content[self._at :]

    def _varint(self) -> int:
        value = shift = 0
        while True:
            (byte,) = self.take(">B")
            value |= (byte & 127) << shift
            if byte < 128:
                return value
            shift += 7
