"""Values decoded with the schema they were written with, as the registry has it.

For commands and checks that read what may have been written by older and newer versions. Must
never decide which schema a topic may carry.
"""

from __future__ import annotations

from pipeline.contract import codec
from pipeline.contract.codec import Record, Schema, UndecodableError
from pipeline.contract.schemas import unsafe
from pipeline.governance.reasons import Reason
from pipeline.kafka.registry import Registry


class Decoder:
    """Decodes values; asks the registry once for each schema id."""

    def __init__(self, registry: Registry) -> None:
        self._registry = registry
        self._known: dict[int, Schema] = {}

    def decode(self, value: bytes | None, name: str) -> Record:
        """Read one framed value.

        Args:
            value: header and datum.
            name: schema that it is read as, `schemas/<name>.avsc`.

        Raises:
            UndecodableError: it is no such record.
            RegistryUnavailableError: nobody can tell now.

        """
        written = self.written(codec.schema_id(value))
        return codec.decode(value or b"", written, codec.committed(name))

    def written(self, number: int) -> Schema:
        """The schema with a registry id.

        Raises:
            UndecodableError: there is none, or one that could crash a reader.
            RegistryUnavailableError: nobody can tell now.

        """
        return self._known.get(number) or self._look_up(number)

    def _look_up(self, number: int) -> Schema:
        definition = self._registry.schema(number)
        if definition is None:
            detail = f"the registry does not know schema {number}"
            raise UndecodableError(Reason.UNKNOWN_SCHEMA, detail)
        flaws = unsafe(definition)
        if flaws:
            detail = f"schema {number} could crash a reader: {flaws[0].why}"
            raise UndecodableError(Reason.SCHEMA_NOT_ALLOWED, detail)
        self._known[number] = codec.parse(definition)
        return self._known[number]
