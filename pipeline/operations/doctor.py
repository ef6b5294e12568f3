"""`milepost doctor`: checks on Kafka, registry and governor, each finding with its remedy.

Only reads: nothing is produced, created or committed. Must never know how findings are shown.
"""

from __future__ import annotations

import re
import shutil
import time
from collections.abc import Iterator, Sequence
from dataclasses import asdict, dataclass, field
from email.utils import parsedate_to_datetime
from pathlib import Path
from typing import Any

import httpx
from confluent_kafka import OFFSET_END, TIMESTAMP_LOG_APPEND_TIME, KafkaException, TopicPartition

from pipeline.contract.yaml_lines import InvalidFileError
from pipeline.kafka import clients
from pipeline.kafka.errors import UnreachableError
from pipeline.kafka.reading import UndecidedError
from pipeline.kafka.registry import credentials, trusted
from pipeline.operations import aborting, governed_checks, handshake, kernel_form, transactions
from pipeline.operations.findings import Check, Dependency, Finding, Patient, Severity, listed
from pipeline.settings import SettingsError

GROUP = "milepost-doctor"
CLOCK_SKEW_MS_MAX = 1_000
BROKER_BEHIND_MS_MAX = 5_000
REGISTRY_SKEW_MS_MAX = 3_000
CLOCK_PARTITIONS_MAX = 200
LISTEN_S = 2.0
REACH_S = 5.0
DISK_BYTES_MIN = 1_000_000_000
MARKER_LOSS = re.compile(r"likely deleted already and hence can be skipped")
PARTITION = re.compile(r"([\w.-]+)-(\d+)(?=[,)\s])")


@dataclass(slots=True)
class Report:
    """What came of an examination."""

    checked: list[str] = field(default_factory=list)
    """Names of the checks that found nothing."""
    findings: list[Finding] = field(default_factory=list)
    left_out: list[str] = field(default_factory=list)
    """Names of the checks that could not be made."""

    @property
    def unreachable(self) -> bool:
        """Whether something could not be reached."""
        return any(finding.severity is Severity.UNREACHABLE for finding in self.findings)

    def as_data(self) -> dict[str, Any]:
        """Give the report as plain data."""
        return asdict(self)


def examine(patient: Patient, checks: Sequence[Check] | None = None) -> Report:
    """Make all checks.

    Args:
        patient: what to examine.
        checks: which checks, in order; None: `CHECKS`.

    """
    report = Report()
    lost: set[Dependency] = set()
    for check in CHECKS if checks is None else checks:
        if check.needs in lost:
            report.left_out.append(check.name)
            continue
        found = _run(check, patient)
        report.findings.extend(found)
        if not found:
            report.checked.append(check.name)
        if check.needs and any(one.severity is Severity.UNREACHABLE for one in found):
            lost.add(check.needs)
    return report


def _run(check: Check, patient: Patient) -> list[Finding]:
    try:
        return list(check.run(patient))
    except KafkaException as error:
        return [
            Finding(
                f"Kafka at {patient.bootstrap} did not answer while this was checked: "
                f"{check.name.lower()} ({error.args[0].str()})",
                "What was to be checked is not known",
                "See that all brokers run and try again; on a cluster with access lists, have "
                "its owner grant DESCRIBE on the cluster and the topics",
                Severity.UNREACHABLE,
            )
        ]
    except UndecidedError as error:
        return [
            Finding(
                f"{check.name}: this could not be checked ({error})",
                "What was to be checked is not known",
                "End that transaction first, see *No transaction stays open*",
            )
        ]
    except UnreachableError as error:
        return [
            Finding(
                f"{check.name}: this could not be checked ({error})",
                "What was to be checked is not known",
                "See that Kafka and the registry answer and try again",
                Severity.UNREACHABLE,
            )
        ]
    except InvalidFileError as error:
        return [
            Finding(
                f"topics.yaml can't be used: {error}",
                "What there should be is not known",
                "Correct the file, or MILEPOST_TOPICS_FILE, which names it",
            )
        ]


def kafka_reachable(patient: Patient) -> Iterator[Finding]:
    """See whether brokers answer."""
    client = clients.consumer(patient.settings, patient.bootstrap, GROUP, "latest")
    try:
        client.list_topics(timeout=REACH_S)
    except KafkaException as error:
        yield Finding(
            f"Kafka at {patient.bootstrap} can't be reached ({error.args[0].str()})",
            "Nothing is governed and no claim is taken in while it is away",
            "Start it (`milepost up`), or correct MILEPOST_BOOTSTRAP_SERVERS and MILEPOST_KAFKA_*",
            Severity.UNREACHABLE,
        )
    finally:
        client.close()


def broker_releases(patient: Patient) -> Iterator[Finding]:
    """See whether a broker is of a release that can lose commit markers (KAFKA-20734)."""
    client = clients.consumer(patient.settings, patient.bootstrap, GROUP, "latest")
    try:
        brokers = client.list_topics(timeout=REACH_S).brokers.values()
    finally:
        client.close()
    affected: dict[str, list[str]] = {}
    for broker in brokers:
        try:
            release = handshake.release(broker.host, broker.port, patient.settings)
        except (OSError, handshake.HandshakeError) as error:
            yield Finding(
                f"The release of the broker at {broker.host}:{broker.port} is unknown ({error})",
                "Some releases of Kafka can lose commit markers (KAFKA-20734)",
                "Ask its owner whether it is 4.3 or 4.4",
                Severity.WARNING,
            )
            continue
        if release in handshake.LOSES_MARKERS:
            affected.setdefault(release, []).append(f"{broker.host}:{broker.port}")
    for release, addresses in sorted(affected.items()):
        yield Finding(
            f"Kafka {release} at {', '.join(addresses)} can lose commit markers (KAFKA-20734)",
            "When such a broker crashes or stops while a partition has no leader, a committed "
            "transaction can stay invisible to read_committed readers, or visible in part",
            "Use 4.2.1, or a build that holds the fix; until then keep replication at 3 with "
            "min.insync.replicas=2 on every topic, so that partitions keep a leader",
            Severity.WARNING,
        )


def lost_markers(patient: Patient) -> Iterator[Finding]:
    """See whether a local broker wrote that it skipped commit markers of topics that exist."""
    skipped: dict[Path, list[str]] = {}
    for path in sorted((patient.settings.state_dir / "logs").glob("kafka-*.log*")):
        with path.open(encoding="utf-8", errors="replace") as log:
            skipped[path] = [line for line in log if MARKER_LOSS.search(line)]
    if not any(skipped.values()):
        return
    there = _topics(patient)
    for path, lines in skipped.items():
        named = {partition for line in lines for partition in PARTITION.findall(line)}
        known = sorted({topic for topic, _ in named if there is None or topic in there})
        if known:
            yield Finding(
                f"A broker skipped transaction markers for {listed(known)}, says {path}",
                "These topics are there, so transactions were left open or torn"
                if there is not None
                else "Unless those topics were deleted, transactions were left open or torn",
                "Stop the workers, run `milepost verify`, see `milepost transactions list`, and "
                "move to Kafka 4.2.1",
            )


def _topics(patient: Patient) -> frozenset[str] | None:
    """Names of all topics; None if no broker answers."""
    client = clients.consumer(patient.settings, patient.bootstrap, GROUP, "latest")
    try:
        return frozenset(client.list_topics(timeout=REACH_S).topics)
    except KafkaException:
        return None
    finally:
        client.close()


def open_transactions(patient: Patient) -> Iterator[Finding]:
    """See whether a partition's last stable offset stands still below its end."""
    patience_s = patient.settings.transaction_timeout_ms / 1_000 + 2
    for one in aborting.hanging(patient.settings, patient.bootstrap, patience_s, patient.wait):
        last = f"{one.transactional_id} {one.state}" if one.state else "nothing that is still known"
        yield Finding(
            f"{one.topic}[{one.partition}] has had an open transaction at offset {one.offset} for "
            f"over {patience_s:.0f} s; its coordinator last wrote: {last}",
            "Readers of committed records see nothing beyond that offset",
            transactions.advice(one.state),
        )


def broker_clock(patient: Patient) -> Iterator[Finding]:
    """Compare append times with our clock, where records with append times are at hand."""
    ahead, behind = _append_times(patient)
    if ahead > CLOCK_SKEW_MS_MAX:
        yield Finding(
            f"A broker's clock is at least {ahead} ms ahead of this machine's",
            "Deadlines and latencies are counted in the brokers' append times",
            "Synchronise the clocks (NTP) of the brokers and of this machine",
            Severity.WARNING,
        )
    elif behind > BROKER_BEHIND_MS_MAX:
        yield Finding(
            f"A broker's clock is about {behind} ms behind this machine's",
            "Deadlines and latencies are counted in the brokers' append times",
            "Synchronise the clocks (NTP) of the brokers and of this machine",
            Severity.WARNING,
        )


def _append_times(patient: Patient) -> tuple[int, int]:
    """How far append times are ahead of our clock, and behind it for records that arrive now."""
    client = clients.consumer(
        patient.settings, patient.bootstrap, GROUP, "latest", **{"fetch.wait.max.ms": 100}
    )
    ahead = behind = 0
    try:
        topics = client.list_topics(timeout=REACH_S).topics.values()
        names = [
            (topic.topic, number)
            for topic in topics
            if topic.topic.startswith("logistics.")
            for number in topic.partitions
        ][:CLOCK_PARTITIONS_MAX]
        if not names:
            return 0, 0
        ends = {
            name: client.get_watermark_offsets(TopicPartition(*name), timeout=10)[1]
            for name in names
        }
        client.assign(
            [
                TopicPartition(topic, number, end - 1 if end > 0 else OFFSET_END)
                for (topic, number), end in ends.items()
            ]
        )
        deadline = time.monotonic() + LISTEN_S
        while time.monotonic() < deadline:
            for record in client.consume(500, 0.2):
                kind, append_ms = record.timestamp()
                if record.error() is not None or kind != TIMESTAMP_LOG_APPEND_TIME:
                    continue
                ahead = max(ahead, append_ms - patient.now_ms())
                name = (str(record.topic()), int(record.partition() or 0))
                if int(record.offset() or 0) >= ends.get(name, 0):
                    behind = max(behind, patient.now_ms() - append_ms)
    finally:
        client.close()
    return ahead, behind


def disk_space(patient: Patient) -> Iterator[Finding]:
    """See whether the disk of the state directory has room."""
    folder = patient.settings.state_dir.absolute()
    existing: Path = next(path for path in (folder, *folder.parents) if path.exists())
    usage = shutil.disk_usage(existing)
    if usage.free < DISK_BYTES_MIN:
        yield Finding(
            f"{usage.free // 1_000_000} MB are free on the disk of {folder}",
            "A broker whose disk is full stops, and so do the sinks' stores",
            "Free some space, or set MILEPOST_STATE_DIR to a folder on another disk",
        )


def registry_reachable(patient: Patient) -> Iterator[Finding]:
    """See whether the registry answers, lets us write, and has our time."""
    with _registry(patient) as client:
        try:
            answer = client.get("/subjects")
            answer.raise_for_status()
        except httpx.HTTPError as error:
            yield Finding(
                f"The schema registry at {patient.registry_url} can't be used ({error})",
                "Records with schemas that are not known yet wait until it answers",
                "See that it runs, and that MILEPOST_REGISTRY_URL, MILEPOST_REGISTRY_USERNAME, "
                "MILEPOST_REGISTRY_PASSWORD and MILEPOST_REGISTRY_CA_LOCATION are right",
                Severity.UNREACHABLE,
            )
            return
        skew_ms = _skew_ms(answer, patient.now_ms())
    if skew_ms > REGISTRY_SKEW_MS_MAX:
        yield Finding(
            f"The registry's clock is {skew_ms} ms away from this machine's",
            "Times in its log can't be compared with ours; other clocks may be wrong too",
            "Synchronise the clocks (NTP)",
            Severity.WARNING,
        )


def registry_rules(patient: Patient) -> Iterator[Finding]:
    """See whether each subject's compatibility can be read."""
    with _registry(patient) as client:
        try:
            subjects = client.get("/subjects").raise_for_status().json()
        except (httpx.HTTPError, ValueError) as error:
            yield _unreadable("its subjects", error)
            return
        for subject in subjects:
            try:
                answer = client.get(f"/config/{subject}", params={"defaultToGlobal": "true"})
                answer.raise_for_status().json()["compatibilityLevel"]
            except (httpx.HTTPError, ValueError, KeyError) as error:
                yield _unreadable(f"the compatibility rule of {subject}", error)


def _unreadable(what: str, error: Exception) -> Finding:
    return Finding(
        f"The registry does not tell {what} ({error})",
        "A schema that breaks readers could be registered without anyone noticing",
        "Run `milepost schemas register`, which sets the rules and reads them back; if it can't, "
        "have the registry's owner grant READ on its configuration",
        Severity.WARNING,
    )


def _registry(patient: Patient) -> httpx.Client:
    # The environment may name a proxy; loopback must not go there.
    try:
        loopback = httpx.URL(patient.registry_url).host in ("127.0.0.1", "localhost", "::1")
    except httpx.InvalidURL as error:
        raise SettingsError(
            f"MILEPOST_REGISTRY_URL is no address ({error}): give one such as http://127.0.0.1:8081"
        ) from None
    authorities = trusted(patient.settings)
    return httpx.Client(
        base_url=patient.registry_url,
        auth=credentials(patient.settings),
        verify=True if authorities is None else authorities,
        timeout=REACH_S,
        trust_env=not loopback,
    )


def _skew_ms(answer: httpx.Response, now_ms: int) -> int:
    date = answer.headers.get("date")
    if date is None:
        return 0
    return abs(now_ms - int(parsedate_to_datetime(date).timestamp() * 1_000))


CHECKS: tuple[Check, ...] = (
    Check("Kafka answers", kafka_reachable, Dependency.KAFKA),
    Check("No broker is of a release that loses commit markers", broker_releases, Dependency.KAFKA),
    Check("No local broker skipped commit markers", lost_markers),
    Check("No transaction stays open", open_transactions, Dependency.KAFKA),
    Check("Append times agree with our clock", broker_clock, Dependency.KAFKA),
    Check("The schema registry answers", registry_reachable, Dependency.REGISTRY),
    Check("Compatibility rules can be read", registry_rules, Dependency.REGISTRY),
    *governed_checks.CHECKS,
    Check("The state directory's disk has room", disk_space),
    kernel_form.CHECK,
)
"""Every check, in the order in which they are made."""
