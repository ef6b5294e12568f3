"""What can go wrong between Milepost and the systems it talks to.

Every message names the thing and the remedy. Must never import a client library.
"""

from __future__ import annotations


class UnreachableError(Exception):
    """A dependency can't be reached or doesn't answer: an outage, not a fault of the data.

    Commands end with exit code 3; a running process waits and tries again.
    """


class RegistryUnavailableError(UnreachableError):
    """The schema registry doesn't answer, or not in a usable way."""


class SchemaRefusedError(Exception):
    """The registry refuses a schema: incompatible, or no valid schema."""

    def __init__(self, subject: str, messages: list[str]) -> None:
        super().__init__(f"The registry refuses the schema for {subject}: {'; '.join(messages)}")
        self.subject = subject
        self.messages = messages


class UnregisteredError(Exception):
    """A schema that something wants to write with is not registered for its topic."""


class DeliveryError(Exception):
    """Kafka did not acknowledge every record of a set.

    Which of the others were written is unknown: send the whole set again, repeats are recognised.
    """

    def __init__(self, topic: str, detail: str, remedy: str) -> None:
        super().__init__(f"Records for topic {topic} were not acknowledged ({detail}): {remedy}")
        self.topic = topic


class DeliveryTimeoutError(DeliveryError, UnreachableError):
    """Kafka did not acknowledge in time: it is away or too slow, so try again later."""


class DeliveryRefusedError(DeliveryError):
    """Kafka refused a record for good: trying again does not help."""
