"""One Kafka broker of the local stack: configuration, formatting, start and stop.

A combined KRaft node. Must never create topics.
"""

from __future__ import annotations

import shutil
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from confluent_kafka import KafkaException, Producer

from pipeline.local.java import java
from pipeline.local.ports import HOST, answers
from pipeline.local.processes import Command, Process
from pipeline.local.server import Server

FORMAT_S = 60.0
REPLICAS = 3
"""Of topics, where there are so many brokers; one fewer has to be in sync."""
JAVA_OPTIONS: Sequence[str] = ("-XX:+UseG1GC", "-XX:MaxGCPauseMillis=20")
"""Of the runtime, beside its heap."""
LOG4J = """\
appender.file.type=RollingFile
appender.file.name=file
appender.file.fileName={log}
appender.file.filePattern={log}.%i
appender.file.layout.type=PatternLayout
appender.file.layout.pattern=%d{{ISO8601}} %p %m (%c)%n
appender.file.policies.type=SizeBasedTriggeringPolicy
appender.file.policies.size=10MB
appender.file.strategy.type=DefaultRolloverStrategy
appender.file.strategy.max=3
appender.console.type=Console
appender.console.name=console
appender.console.layout.type=PatternLayout
appender.console.layout.pattern=%p %m%n%throwable{{short.message}}%n
rootLogger.level=INFO
rootLogger.appenderRef.file.ref=file
rootLogger.appenderRef.console.ref=console
rootLogger.appenderRef.console.level=ERROR
"""


@dataclass(frozen=True, slots=True)
class Node:
    """Identity and addresses of one broker."""

    id: int
    port: int
    controller_port: int


class Broker(Server):
    """A broker whose data lives in `folder`.

    Args:
        folder: its own folder, kept between starts.
        logs: folder for its output and Kafka's log.
        node: which one of `nodes` this is.
        nodes: all brokers of the cluster, this one among them.
        cluster_id: identity of the cluster.
        class_path: Kafka's jars.
        hold: file descriptors that stay open until it has ended.

    """

    def __init__(
        self,
        folder: Path,
        logs: Path,
        node: Node,
        nodes: Sequence[Node],
        *,
        cluster_id: str,
        class_path: Sequence[Path],
        hold: Sequence[int] = (),
    ) -> None:
        super().__init__(
            f"kafka-{node.id}",
            ports=(node.port, node.controller_port),
            ready_within_s=60.0,
            hold=hold,
        )
        self.node = node
        self.address = f"{HOST}:{node.port}"
        self.url = self.address
        self._folder = folder
        self._logs = logs
        self._nodes = nodes
        self._cluster_id = cluster_id
        self._class_path = class_path

    def command(self) -> Command:
        """Write its configuration, and format its folder if it is new."""
        self._folder.mkdir(parents=True, exist_ok=True)
        self._logs.mkdir(parents=True, exist_ok=True)
        (self._folder / "server.properties").write_text(self._properties(), "utf-8")
        log4j = LOG4J.format(log=self._logs / f"{self.name}.log")
        (self._folder / "log4j2.properties").write_text(log4j, "utf-8")
        self._format()
        heap = ("-Xms256m", "-Xmx512m") if len(self._nodes) == 1 else ("-Xms128m", "-Xmx256m")
        return self._java((*heap, *JAVA_OPTIONS), "kafka.Kafka", "server.properties")

    def serves(self) -> bool:
        """Tell whether clients reach it and it knows all brokers."""
        if not answers(self.node.port):
            return False
        client = Producer({"bootstrap.servers": self.address, "log_level": 0})
        try:
            return len(client.list_topics(timeout=2).brokers) == len(self._nodes)
        except KafkaException:
            return False

    def _format(self) -> None:
        # The mark comes last: without it nothing was ever stored here, so start afresh.
        mark = self._folder / "formatted"
        if mark.exists():
            return
        shutil.rmtree(self._folder / "data", ignore_errors=True)
        process = Process(
            self._java(
                ("-Xmx128m", "-XX:+UseSerialGC", "-XX:TieredStopAtLevel=1"),
                "kafka.tools.StorageTool",
                *("format", "-t", self._cluster_id, "-c", "server.properties"),
            ),
            hold=self._hold,
        )
        try:
            process.wait_done(FORMAT_S)
        finally:
            process.stop()
        mark.write_text(self._cluster_id, "utf-8")

    def _java(self, options: Sequence[str], main: str, *arguments: str) -> Command:
        options = (*options, "-Dlog4j2.configurationFile=log4j2.properties")
        return Command(
            name=self.name,
            argv=[*java(self._folder, options, self._class_path), main, *arguments],
            cwd=self._folder,
            log=self._logs / f"{self.name}.out.log",
        )

    def _properties(self) -> str:
        node, replicas = self.node, min(REPLICAS, len(self._nodes))
        voters = ",".join(f"{one.id}@{HOST}:{one.controller_port}" for one in self._nodes)
        settings = {
            "process.roles": "broker,controller",
            "node.id": node.id,
            "controller.quorum.voters": voters,
            "listeners": f"PLAINTEXT://{self.address},CONTROLLER://{HOST}:{node.controller_port}",
            "advertised.listeners": f"PLAINTEXT://{self.address}",
            "controller.listener.names": "CONTROLLER",
            "log.dirs": "data",
            "auto.create.topics.enable": "false",
            "default.replication.factor": replicas,
            "min.insync.replicas": max(1, replicas - 1),
            "offsets.topic.replication.factor": replicas,
            "offsets.topic.num.partitions": 4,
            "transaction.state.log.replication.factor": replicas,
            "transaction.state.log.min.isr": max(1, replicas - 1),
            "transaction.state.log.num.partitions": 4,
            "share.coordinator.state.topic.replication.factor": replicas,
            "share.coordinator.state.topic.min.isr": max(1, replicas - 1),
            "share.coordinator.state.topic.num.partitions": 1,
            "group.initial.rebalance.delay.ms": 0,
            # A broker that was killed is taken back after this long instead of 9 s.
            "broker.session.timeout.ms": 3000,
            "broker.heartbeat.interval.ms": 500,
            "controlled.shutdown.retry.backoff.ms": 500,
            # Small logs in many partitions: the defaults take 128 MB of heap and 20 MB a segment.
            "log.cleaner.dedupe.buffer.size": 16_777_216,
            "log.index.size.max.bytes": 1_048_576,
        }
        return "".join(f"{name}={value}\n" for name, value in settings.items())
