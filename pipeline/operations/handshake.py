"""Which release of Kafka a broker is, from the features it says it supports.

Speaks one request of Kafka's protocol, which brokers answer before anyone has logged in. Must
never log in.
"""

from __future__ import annotations

import socket
import ssl
import struct
from contextlib import closing

from pipeline.settings import Settings

TIMEOUT_S = 5.0
ANSWER_BYTES_MAX = 1_000_000
LOSES_MARKERS = frozenset({"4.3", "4.4"})
"""KAFKA-20734; which patch releases hold the fix can't be seen from outside."""

_API_VERSIONS = 18
_UNSUPPORTED_VERSION = 35
_SUPPORTED_FEATURES = 0
# The highest metadata.version that a release's brokers support.
_RELEASES = (
    (34, "4.5 or later"),
    (31, "4.4"),
    (30, "4.3"),
    (28, "4.2"),
    (26, "4.1"),
    (22, "4.0"),
    (21, "3.9"),
)


class HandshakeError(Exception):
    """The broker's answer can't be understood."""


def release(host: str, port: int, settings: Settings) -> str:
    """Ask a broker for its features and tell its release, such as `4.2`.

    Raises:
        OSError: it can't be reached, or TLS fails.
        HandshakeError: it answers something else.

    """
    with closing(connect(host, port, settings)) as connection:
        request = _request()
        connection.sendall(struct.pack(">i", len(request)) + request)
        return named(received(connection))


def received(connection: socket.socket) -> bytes:
    """One answer of a broker.

    Raises:
        OSError: the connection breaks.
        HandshakeError: it is none.

    """
    (size,) = struct.unpack(">i", _receive(connection, 4))
    if not 0 < size <= ANSWER_BYTES_MAX:
        raise HandshakeError("the answer is none of Kafka's")
    return _receive(connection, size)


def named(answer: bytes) -> str:
    """Tell the release from the body of an answer to ApiVersions, version 3.

    Raises:
        HandshakeError: it can't be read.

    """
    try:
        level = _metadata_level(answer)
    except (struct.error, IndexError) as error:
        raise HandshakeError("the answer ends too early") from error
    for lowest, name in _RELEASES:
        if level >= lowest:
            return name
    return "before 3.9"


def connect(host: str, port: int, settings: Settings) -> socket.socket:
    """A connection to a broker, by TLS where the settings say so; nobody has logged in.

    Raises:
        OSError: it can't be reached, or TLS fails.

    """
    connection = socket.create_connection((host, port), timeout=TIMEOUT_S)
    if settings.kafka_security_protocol not in ("SSL", "SASL_SSL"):
        return connection
    context = ssl.create_default_context(cafile=settings.kafka_ssl_ca_location)
    if settings.kafka_ssl_certificate_location is not None:
        secret = settings.kafka_ssl_key_password
        context.load_cert_chain(
            settings.kafka_ssl_certificate_location,
            settings.kafka_ssl_key_location,
            secret.get_secret_value() if secret else None,
        )
    try:
        return context.wrap_socket(connection, server_hostname=host)
    except OSError:
        connection.close()
        raise


def _request() -> bytes:
    def compact(text: bytes) -> bytes:
        return bytes([len(text) + 1]) + text

    client = b"milepost"
    header = struct.pack(">hhih", _API_VERSIONS, 3, 1, len(client)) + client + b"\0"
    return header + compact(client) + compact(b"doctor") + b"\0"


def _receive(connection: socket.socket, size: int) -> bytes:
    parts = []
    while size:
        part = connection.recv(size)
        if not part:
            raise HandshakeError("the broker closed the connection")
        parts.append(part)
        size -= len(part)
    return b"".join(parts)


def _metadata_level(answer: bytes) -> int:
    correlation_and_error = 6
    (error,) = struct.unpack_from(">h", answer, 4)
    if error == _UNSUPPORTED_VERSION:
        return 0
    if error:
        raise HandshakeError(f"the broker answers with error {error}")
    count, at = _varint(answer, correlation_and_error)
    for _ in range(count - 1):
        at = _skip_tags(answer, at + 6)
    throttle_ms = 4
    tags, at = _varint(answer, at + throttle_ms)
    for _ in range(tags):
        tag, at = _varint(answer, at)
        size, at = _varint(answer, at)
        if tag == _SUPPORTED_FEATURES:
            return _feature(answer, at, b"metadata.version")
        at += size
    return 0


def _feature(answer: bytes, at: int, wanted: bytes) -> int:
    count, at = _varint(answer, at)
    for _ in range(count - 1):
        length, at = _varint(answer, at)
        name = answer[at : at + length - 1]
        at += length - 1
        _, highest = struct.unpack_from(">hh", answer, at)
        if name == wanted:
            return int(highest)
        at = _skip_tags(answer, at + 4)
    return 0


def _skip_tags(answer: bytes, at: int) -> int:
    count, at = _varint(answer, at)
    for _ in range(count):
        _, at = _varint(answer, at)
        size, at = _varint(answer, at)
        at += size
    return at


def _varint(answer: bytes, at: int) -> tuple[int, int]:
    value = shift = 0
    while True:
        byte = answer[at]
        at += 1
        value |= (byte & 127) << shift
        if byte < 128:
            return value, at
        shift += 7
