"""`python -m pipeline.local.pinning`: resolve the chosen versions anew and write `artifacts.json`.

For maintainers who raise a version. Must never run as part of the product: what runs is what was
pinned and reviewed.
"""

from __future__ import annotations

import hashlib
import json
import tarfile
import tempfile
from concurrent.futures import ThreadPoolExecutor
from dataclasses import asdict
from pathlib import Path
from typing import Any

from jgo.maven import MavenContext

from pipeline.local.pins import Pin
from pipeline.local.unpacking import tree_digest, unpack

KAFKA = "4.2.1"
"""Not 4.3.0 to 4.4.0: they can drop commit markers when a broker stops (KAFKA-20734)."""
REGISTRY = "2.6.13.Final"
LOGGING = "2.25.4"
"""The binding that Kafka's own distribution adds, in the version of its log4j."""


def resolve(folder: Path) -> dict[str, Any]:
    """Download everything that the chosen versions need into `folder` and describe it."""
    context = MavenContext(repo_cache=folder, timeout=30)
    broker = context.create_dependency(f"org.apache.kafka:kafka_2.13:{KAFKA}")
    inputs, transitive = context.resolver.resolve([broker])
    # Not a second root: its bill of materials would override Kafka's own versions.
    binding = context.create_dependency(f"org.apache.logging.log4j:log4j-slf4j-impl:{LOGGING}")
    jars = [dependency.artifact for dependency in [*inputs, *transitive, binding]]
    archive = (
        context.project("io.apicurio", "apicurio-registry-app")
        .at_version(REGISTRY)
        .artifact("all", "tar.gz")
    )
    with ThreadPoolExecutor(4) as pool:
        pinned = list(pool.map(_pin, [*jars, archive]))
    unpacked = folder / "unpacked"
    with tarfile.open(archive.resolve()) as tar:
        unpack(tar, unpacked)
    files, digest = tree_digest(unpacked)
    return {
        "kafka": {
            "version": KAFKA,
            "artifacts": sorted((asdict(pin) for pin in pinned[:-1]), key=lambda pin: pin["name"]),
        },
        "registry": {
            "version": REGISTRY,
            "archive": asdict(pinned[-1]),
            "files": files,
            "tree_sha256": digest,
        },
    }


def _pin(artifact: Any) -> Pin:
    path: Path = artifact.resolve()
    with path.open("rb") as file:
        digest = hashlib.file_digest(file, "sha256").hexdigest()
    return Pin(
        group=artifact.groupId,
        name=artifact.artifactId,
        version=artifact.version,
        classifier=artifact.classifier,
        packaging=artifact.packaging,
        size=path.stat().st_size,
        sha256=digest,
    )


def main() -> None:
    """Write the pins beside this module."""
    with tempfile.TemporaryDirectory() as folder:
        pins = resolve(Path(folder))
    target = Path(__file__).with_name("artifacts.json")
    target.write_text(json.dumps(pins, indent=1) + "\n", "utf-8")


if __name__ == "__main__":
    main()
