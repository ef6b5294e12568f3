"""What counts as an outage for the portal, and how it is told. Must never wait for one."""

from __future__ import annotations

from typing import Final

from confluent_kafka import KafkaError, KafkaException
from sqlalchemy.exc import SQLAlchemyError

from pipeline.kafka.errors import UnreachableError

OUTAGES: Final = (UnreachableError, KafkaException, SQLAlchemyError, OSError)
"""What passes by itself: waited out, never a reason to end."""


def sentence(error: BaseException) -> str:
    """What is the matter, in one sentence."""
    if isinstance(error, KafkaException):
        cause: KafkaError = error.args[0]
        return f"Kafka does not answer ({cause.name()}: {cause.str()})"
    if isinstance(error, SQLAlchemyError):
        return f"The portal's store can't be used ({type(error).__name__}: {_first_line(error)})"
    return _first_line(error)


def _first_line(error: BaseException) -> str:
    return str(error).partition("\n")[0][:500] or type(error).__name__
