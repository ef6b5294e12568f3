"""Which versions of Kafka and the registry the local stack runs, with the digest of each file.

Reads `artifacts.json`, which `pinning.py` writes. Must never touch the network.
"""

from __future__ import annotations

import json
from dataclasses import dataclass
from functools import cache
from importlib import resources
from typing import Any


@dataclass(frozen=True, slots=True)
class Pin:
    """One Maven artifact: coordinates, length in bytes and SHA-256 in hex."""

    group: str
    name: str
    version: str
    classifier: str
    packaging: str
    size: int
    sha256: str

    @property
    def filename(self) -> str:
        """The artifact's name in a Maven repository."""
        classifier = f"-{self.classifier}" if self.classifier else ""
        return f"{self.name}-{self.version}{classifier}.{self.packaging}"

    @property
    def coordinates(self) -> str:
        """What people call it: `group:name:version`, with classifier and packaging if unusual."""
        parts = [self.group, self.name, self.version]
        if self.classifier:
            parts.append(f"{self.packaging}:{self.classifier}")
        return ":".join(parts)


@dataclass(frozen=True, slots=True)
class Pins:
    """Everything the local stack downloads."""

    kafka_version: str
    kafka: tuple[Pin, ...]
    registry_version: str
    registry: Pin
    registry_files: int
    """How many files the registry's archive unpacks to."""
    registry_tree_sha256: str
    """Digest over the sorted lines `<sha256>  <path>` of those files."""

    @property
    def size(self) -> int:
        """Bytes to download when nothing is there yet."""
        return sum(pin.size for pin in self.kafka) + self.registry.size


@cache
def load() -> Pins:
    """Read the pins that ship with this version of Milepost."""
    text = resources.files("pipeline.local").joinpath("artifacts.json").read_text("utf-8")
    data: dict[str, Any] = json.loads(text)
    kafka, registry = data["kafka"], data["registry"]
    return Pins(
        kafka_version=kafka["version"],
        kafka=tuple(Pin(**item) for item in kafka["artifacts"]),
        registry_version=registry["version"],
        registry=Pin(**registry["archive"]),
        registry_files=registry["files"],
        registry_tree_sha256=registry["tree_sha256"],
    )
