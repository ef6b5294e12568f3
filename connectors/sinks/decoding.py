"""Governed records from the bytes of a topic, and what is wrong with those that are none.

Must never know a sink's store.
"""

from __future__ import annotations

import time
from typing import Final

from pipeline.contract import codec
from pipeline.contract.codec import Record, Schema, UndecodableError
from pipeline.contract.names import APPROVED, ENTITY_STATUS, subject
from pipeline.governance.reasons import Reason
from pipeline.kafka.registry import NEGATIVE_CACHE_MS, Registry

SCHEMAS: Final = {APPROVED: "approved-milestone", ENTITY_STATUS: "entity-status"}
"""Schema that sinks read each topic with: what newer ones add is left out, and words they
add to a list come out as UNRECOGNISED."""


class Decoder:
    """Decodes values with the schema they were written with, as the registry has it."""

    def __init__(self, registry: Registry) -> None:
        self._registry = registry
        self._written: dict[tuple[str, int], Schema] = {}

    def decode(self, topic: str, value: bytes) -> Record:
        """Read one value.

        Raises:
            UndecodableError: it is no record that may be on this topic.
            RegistryUnavailableError: nobody can tell now.

        """
        written = self._schema(topic, codec.schema_id(value))
        return codec.decode(value, written, codec.committed(SCHEMAS[topic]))

    def decode_patiently(self, topic: str, value: bytes) -> Record:
        """Decode; a schema that the registry does not show yet is asked for once more.

        Raises:
            UndecodableError: as for `decode`.
            RegistryUnavailableError: nobody can tell now.

        """
        try:
            return self.decode(topic, value)
        except UndecodableError as error:
            if error.reason not in {Reason.SCHEMA_NOT_ALLOWED, Reason.UNKNOWN_SCHEMA}:
                raise
        time.sleep(NEGATIVE_CACHE_MS / 1_000 * 1.1)
        return self.decode(topic, value)

    def _schema(self, topic: str, schema_id: int) -> Schema:
        known = self._written.get((topic, schema_id))
        if known is not None:
            return known
        # Only the topic's own schemas: one of a stranger may be made to crash a decoder
        if not self._registry.allowed(subject(topic), schema_id):
            raise UndecodableError(
                Reason.SCHEMA_NOT_ALLOWED, f"schema {schema_id} is none of {subject(topic)}"
            )
        definition = self._registry.schema(schema_id)
        if definition is None:
            raise UndecodableError(
                Reason.UNKNOWN_SCHEMA, f"the registry does not know schema {schema_id}"
            )
        schema = self._written[topic, schema_id] = codec.parse(definition)
        return schema
