"""Questions to the cluster that the lane's own thread must not wait for.

One auxiliary thread with one consumer that never reads: where inputs end after a tick, where a log
starts, whether a topic may be an input, whether somebody else could read what this worker leaves
unread. The consumer is made anew after an error; a long-lived admin client is avoided, since it may
answer a stale leader for ever after a broker restart.
"""

from __future__ import annotations

import logging
import queue
import threading
import time
from collections.abc import Callable, Iterable, Mapping
from concurrent.futures import Future
from typing import Any, NamedTuple

from confluent_kafka import (
    Consumer,
    KafkaError,
    KafkaException,
    TopicPartition,
)
from confluent_kafka.admin import (  # type: ignore[attr-defined]  # not re-exported by its stub
    AdminClient,
    ConfigResource,
    ResourceType,
)

from . import clients
from .config import LaneConfig, TopicRefusedError
from .stalls import Place, Unread

log = logging.getLogger(__name__)

LATEST, EARLIEST = -1, -2
CALL_S = 5.0
TRIES_MAX = 20
APPEAR_S = 5.0
"""How long a topic may take to be known to the cluster after somebody created it."""


class AskEnds(NamedTuple):
    """Where do these inputs end, now that a tick was consumed?"""

    generation: int
    partition: int
    append_ms: int
    topics: frozenset[str]


class EndsKnown(NamedTuple):
    """High watermarks, each asked for after the tick was consumed."""

    question: AskEnds
    ends: dict[str, int]


class AskSpan(NamedTuple):
    """Where do the logs of these inputs start and end?"""

    generation: int
    partition: int
    topics: frozenset[str]


class SpanKnown(NamedTuple):
    """Input → (start, end)."""

    question: AskSpan
    spans: dict[str, tuple[int, int]]


class AskInputs(NamedTuple):
    """May the lane read these topics?"""

    topics: frozenset[str]
    answer: Future[frozenset[str]]


class InputsKnown(NamedTuple):
    """They may be read; the lane sets `question.answer` once it does."""

    question: AskInputs


class AskUnread(NamedTuple):
    """Could records be read at these positions?"""

    positions: dict[Place, int]


class UnreadKnown(NamedTuple):
    """What could be, by a consumer outside the group; nothing if the cluster gave no answer."""

    unread: dict[Place, Unread]


class AskGroup(NamedTuple):
    """Is the group settled?"""


class GroupKnown(NamedTuple):
    """Whether it is; not if its coordinator gave no answer."""

    settled: bool


Question = AskEnds | AskSpan | AskInputs | AskUnread | AskGroup
Answer = EndsKnown | SpanKnown | InputsKnown | UnreadKnown | GroupKnown | Exception


class Lookup:
    """The auxiliary thread. Answers arrive through `answer`, called on that thread."""

    def __init__(
        self, config: LaneConfig, answer: Callable[[Answer], None], on_error: clients.OnError
    ) -> None:
        self._config = config
        self._answer = answer
        self._on_error = on_error
        self._questions: queue.SimpleQueue[Question | None] = queue.SimpleQueue()
        self._consumer: Consumer | None = None
        self._closed = threading.Event()
        self._thread = threading.Thread(target=self._run, name="lane-lookup", daemon=True)
        self._thread.start()

    def ask(self, question: Question) -> None:
        """Queue a question. Thread-safe."""
        self._questions.put(question)

    def close(self, limit_s: float) -> None:
        """Stop the thread; questions without an answer stay so."""
        self._closed.set()
        self._questions.put(None)
        self._thread.join(limit_s)

    def _run(self) -> None:
        while (question := self._questions.get()) is not None and not self._closed.is_set():
            self._settle(question)
        self._renew()

    def _settle(self, question: Question) -> None:
        """Answer one question, trying again while the cluster can't."""
        for attempt in range(TRIES_MAX):
            try:
                answer = self._find(question)
            except TopicRefusedError as refusal:
                if isinstance(question, AskInputs):
                    question.answer.set_exception(refusal)
                return
            except (KafkaException, TimeoutError) as error:
                log.warning("lookup %s: %s", type(question).__name__, error)
                self._renew()
                if isinstance(question, AskUnread | AskGroup):
                    unread = isinstance(question, AskUnread)
                    self._answer(UnreadKnown({}) if unread else GroupKnown(settled=False))
                    return
                if self._closed.wait(min(0.2 * (attempt + 1), 2.0)):
                    return
            else:
                self._answer(answer)
                return
        if isinstance(question, AskInputs):
            question.answer.set_exception(TimeoutError("the cluster gives no answer about topics"))
        elif isinstance(question, AskSpan):
            self._answer(TimeoutError(f"no answer where {sorted(question.topics)} start and end"))

    def _find(self, question: Question) -> Answer:
        if isinstance(question, AskInputs):
            check_inputs(self._config, self._client(), question.topics)
            return InputsKnown(question)
        if isinstance(question, AskUnread):
            return UnreadKnown(self._unread(question.positions))
        if isinstance(question, AskGroup):
            return GroupKnown(group_settled(self._config))
        ends = offsets(self._client(), question.topics, [question.partition], LATEST)
        latest = {topic: offset for (topic, _), offset in ends.items()}
        if isinstance(question, AskEnds):
            return EndsKnown(question, latest)
        starts = offsets(self._client(), question.topics, [question.partition], EARLIEST)
        return SpanKnown(
            question, {topic: (offset, latest[topic]) for (topic, _), offset in starts.items()}
        )

    def _unread(self, positions: Mapping[Place, int]) -> dict[Place, Unread]:
        """Find what could be read; behind a position may be no more than a transaction's marker."""
        topics = sorted({topic for topic, _ in positions})
        ends = offsets(self._client(), topics, sorted({at for _, at in positions}), LATEST)
        behind = {place: at for place, at in positions.items() if ends[place] > at}
        first = readable(self._config, self._on_error, behind) if behind else {}
        return {place: Unread(behind[place], at, ends[place]) for place, at in first.items()}

    def _client(self) -> Consumer:
        if self._consumer is None:
            self._consumer = Consumer(clients.observer(self._config, self._on_error))
        return self._consumer

    def _renew(self) -> None:
        consumer, self._consumer = self._consumer, None
        if consumer is not None:
            consumer.close()


def offsets(
    consumer: Consumer, topics: Iterable[str], partitions: Iterable[int], which: int
) -> dict[tuple[str, int], int]:
    """Ask where logs end (`LATEST`) or start (`EARLIEST`), all in one request per broker.

    Raises:
        KafkaException: the cluster gives no complete answer.

    """
    numbers = list(partitions)
    asked = [TopicPartition(topic, number, which) for topic in topics for number in numbers]
    found = {}
    for answer in consumer.offsets_for_times(asked, timeout=CALL_S):
        if answer.error is not None:
            raise KafkaException(answer.error)
        found[answer.topic, answer.partition] = answer.offset
    return found


def readable(
    config: LaneConfig, on_error: clients.OnError, positions: Mapping[Place, int]
) -> dict[Place, int]:
    """Read the first committed record at or behind each position, with a client of its own.

    Returns:
        Its offset, where there is one: none before an open transaction or at an end.

    Raises:
        KafkaException: the cluster lets nobody read, or gives no answer.

    """
    found: dict[Place, int] = {}
    client = Consumer(clients.probe(config, on_error))
    try:
        client.assign([TopicPartition(*place, at) for place, at in positions.items()])
        todo = set(positions)
        until = time.monotonic() + CALL_S
        while todo and time.monotonic() < until:
            for message in client.consume(100, 0.2):
                place: Any = (message.topic(), message.partition())
                error = message.error()
                if error is None:
                    found.setdefault(place, message.offset() or 0)
                elif error.code() != KafkaError._PARTITION_EOF:  # noqa: SLF001  its public name
                    raise KafkaException(error)
                todo.discard(place)
    finally:
        client.close()
    if todo and not found:
        raise KafkaException(KafkaError(KafkaError._TIMED_OUT))  # noqa: SLF001  its public name
    return found


def group_settled(config: LaneConfig) -> bool:
    """Tell whether the group waits for nobody: no rebalance goes on in it.

    Raises:
        KafkaException: the cluster gives no answer.

    """
    # describe_consumer_groups is newer; with it librdkafka 2.16.0 was once seen to abort a process
    # (an assertion on its request's reference count) as a broker came back
    found = AdminClient(dict(config.client)).list_groups(config.group, timeout=CALL_S)
    return all(group.state in _SETTLED for group in found)


_SETTLED = frozenset({"Stable", "Empty", "Dead"})


def check_inputs(config: LaneConfig, consumer: Consumer, topics: Iterable[str]) -> None:
    """See that topics exist, have the control topic's partition count, and use append time.

    Raises:
        TopicRefusedError: one can't be an input; names it and the remedy.
        KafkaException: the cluster gives no answer.

    """
    names = sorted(topics)
    counts = _partitions(consumer, [config.control_topic, *names])
    wanted = counts[config.control_topic]
    for topic in names:
        count = counts[topic]
        if count != wanted:
            raise TopicRefusedError(
                topic,
                f"has {count} partitions but {config.control_topic!r} has {wanted}: "
                "inputs of one lane need the same partition count and the same keys",
            )
    for topic, settings in _settings(config, names).items():
        kind = settings.get("message.timestamp.type")
        if kind is not None and kind != "LogAppendTime":
            raise TopicRefusedError(topic, append_time_remedy(kind))


def check_changelog(config: LaneConfig, consumer: Consumer) -> None:
    """See that the changelog exists, is compacted and has a partition for each of the control's.

    Raises:
        TopicRefusedError: it can't hold the state; names the remedy.
        KafkaException: the cluster gives no answer.

    """
    topic = config.changelog_topic
    counts = _partitions(consumer, [config.control_topic, topic])
    wanted, count = counts[config.control_topic], counts[topic]
    if count != wanted:
        raise TopicRefusedError(
            topic, f"has {count} partitions but {config.control_topic!r} has {wanted}"
        )
    policy = _settings(config, [topic]).get(topic, {}).get("cleanup.policy")
    if policy is not None and policy != "compact":
        raise TopicRefusedError(
            topic, f"has cleanup.policy={policy}, which loses state: set it to compact"
        )


def append_time_remedy(kind: str) -> str:
    """Say why a topic without append time is refused."""
    return (
        f"has message.timestamp.type={kind}, so its times are its producers' word: "
        "set it to LogAppendTime before anything is written, or copy it into such a topic"
    )


def _partitions(consumer: Consumer, topics: Iterable[str]) -> dict[str, int]:
    """Count partitions of topics, in one request where all of them are known."""
    known = consumer.list_topics(timeout=CALL_S).topics
    return {
        topic: len(known[topic].partitions)
        if topic in known and known[topic].error is None and known[topic].partitions
        else _appearing(consumer, topic)
        for topic in topics
    }


def _appearing(consumer: Consumer, topic: str) -> int:
    """Count partitions of a topic; one just created may take a moment to be known."""
    until = time.monotonic() + APPEAR_S
    while True:
        found = consumer.list_topics(topic, timeout=CALL_S).topics[topic]
        if found.error is None and found.partitions:
            return len(found.partitions)
        if time.monotonic() > until:
            raise TopicRefusedError(
                topic, f"can't be read ({found.error}): create it or grant access to it first"
            )
        time.sleep(0.2)


def _settings(config: LaneConfig, topics: list[str]) -> dict[str, dict[str, str]]:
    """Read topics' settings; what may not be read is left out: the records tell as well."""
    admin = AdminClient(dict(config.client))
    asked = [ConfigResource(ResourceType.TOPIC, topic) for topic in topics]
    found: dict[str, dict[str, str]] = {}
    futures: dict[Any, Any] = admin.describe_configs(asked, request_timeout=CALL_S)
    for resource, future in futures.items():
        try:
            entries = future.result(CALL_S * 2)
        except KafkaException as error:
            log.warning("settings of %s can't be read: %s", resource.name, error)
            continue
        found[resource.name] = {name: entry.value for name, entry in entries.items()}
    return found
