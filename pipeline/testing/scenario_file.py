"""Scenario files: given, when and then of one governance case, as people write them.

The format is described in `tests/scenarios/README.md`. Every scalar is read as text, so that an
order number keeps its zeros; what is not known here is refused with file and line. Must never
know what the right outcome is.
"""

from __future__ import annotations

import re
from datetime import datetime
from pathlib import Path
from typing import Annotated, Any, Final, Literal

import yaml
from pydantic import (
    BaseModel,
    BeforeValidator,
    ConfigDict,
    Discriminator,
    Field,
    Tag,
    ValidationError,
    model_validator,
)

from pipeline.contract.yaml_lines import Document, Finding, InvalidFileError, Location

START_MS: Final = int(datetime.fromisoformat("2026-01-05T10:00:00+00:00").timestamp() * 1000)
_UNITS_MS: Final = {"d": 86_400_000, "h": 3_600_000, "m": 60_000, "s": 1_000}
_DURATION: Final = re.compile(r"(?:\d+[dhms])+")
_ENTITY_TYPES: Final = ("shipment", "order", "stock")


class Moment(BaseModel):
    """A point in time: so much after the start of the story, or absolute."""

    model_config = ConfigDict(frozen=True)

    relative_ms: int | None = None
    absolute_ms: int | None = None
    offset_minutes: int | None = None

    def ms(self, start_ms: int) -> int:
        """The moment in a story that starts then, ms UTC."""
        return start_ms + (self.relative_ms or 0) if self.absolute_ms is None else self.absolute_ms


def duration_ms(text: str) -> int:
    """Length of `4h`, `1h30m`, `90s`, `7d`.

    Raises:
        ValueError: it is written otherwise.

    """
    if not _DURATION.fullmatch(text):
        raise ValueError(f"{text!r} is no duration: write 4h, 1h30m, 90s or 7d")
    return sum(int(part[:-1]) * _UNITS_MS[part[-1]] for part in re.findall(r"\d+[dhms]", text))


def moment(text: object) -> Moment:
    """`+10m` or `-2h` from the start, or `2026-01-05T10:05Z` with any offset.

    Raises:
        ValueError: it is written otherwise.

    """
    if not isinstance(text, str):
        raise ValueError("write a time: +10m, -2h or 2026-01-05T10:05Z")  # noqa: TRY004  pydantic
    if text[:1] in {"+", "-"}:
        length = 0 if text[1:] == "0" else duration_ms(text[1:])
        return Moment(relative_ms=-length if text[0] == "-" else length)
    try:
        parsed = datetime.fromisoformat(text)
    except ValueError:
        raise ValueError(f"{text!r} is no time: write +10m, -2h or 2026-01-05T10:05Z") from None
    offset = parsed.utcoffset()
    if offset is None:
        raise ValueError(f"{text!r} lacks its offset: end it with Z or -06:00")
    minutes = None if text.endswith("Z") else int(offset.total_seconds()) // 60
    return Moment(absolute_ms=int(parsed.timestamp() * 1000), offset_minutes=minutes)


Time = Annotated[Moment, BeforeValidator(moment)]
Duration = Annotated[int, BeforeValidator(duration_ms)]


class _Strict(BaseModel):
    model_config = ConfigDict(frozen=True, extra="forbid", populate_by_name=True)


class StopText(_Strict):
    """A stop, in as many of a platform's words as it uses."""

    number: int | None = None
    role: str | None = None
    location: str | None = None
    name: str | None = None
    city: str | None = None
    subdivision: str | None = None
    country: str | None = None


def _stop(written: object) -> object:
    """`DAL1`, `2` (its number), `PICKUP DAL1`, or a mapping."""
    if not isinstance(written, str):
        return written
    words = written.split()
    found: dict[str, object] = {}
    for word in words:
        if word in {"ORIGIN", "PICKUP", "TRANSIT", "DELIVERY", "DESTINATION"}:
            found["role"] = word
        elif word.isdigit() and len(word) < 3:
            found["number"] = word
        elif "location" not in found:
            found["location"] = word
        else:
            raise ValueError(f"{written!r} is no stop: write [number] [ROLE] [code]")
    return found


StopLike = Annotated[StopText, BeforeValidator(_stop)]


class QuantityText(_Strict):
    """How much."""

    value: str
    unit: str
    basis: Literal["DELTA", "CUMULATIVE", "UNRECOGNISED"] = "UNRECOGNISED"
    completeness: Literal["PARTIAL", "COMPLETE", "UNRECOGNISED"] = "UNRECOGNISED"


class EventStep(_Strict):
    """A platform says something."""

    id: str
    at: Time | None = None
    from_: str = Field(alias="from")
    status: str = ""
    garbage: str | None = None
    event_id: str | None = None
    account: str | None = None
    shipment: str | None = None
    order: str | None = None
    stock: str | None = None
    reference: str | None = None
    happened: Time | None = None
    precision: Literal["DAY", "MINUTE", "SECOND", "MILLISECOND"] = "SECOND"
    recorded: Time | None = None
    classifier: Literal["ACTUAL", "ESTIMATED", "PLANNED", "REQUESTED"] = "ACTUAL"
    reason: str | None = None
    qualifier: str | None = None
    sequence: int | None = None
    stop: StopLike | None = None
    stops: list[StopLike] = []
    orders: list[str] = []
    references: list[str] = []
    document: str | None = None
    leg: str | None = None
    attempt: str | None = None
    task: str | None = None
    quantity: QuantityText | None = None
    amount: str | None = None
    retracts: str | None = None
    shipments: list[str] = []
    by: str | None = None
    remark: str | None = None
    topic: str | None = None
    key: str | None = None
    partition: Literal["right", "wrong"] = "right"
    mends: str | None = None
    """A record that can't be read and is sent through again, put right, as this."""

    @model_validator(mode="after")
    def _one_subject(self) -> EventStep:
        if sum(getattr(self, kind) is not None for kind in (*_ENTITY_TYPES, "reference")) != 1:
            raise ValueError("name exactly one of shipment, order, stock and reference")
        if bool(self.status) == (self.garbage is not None):
            raise ValueError("give either a status or garbage")
        return self

    def entity(self) -> tuple[str, str] | None:
        """Type and id as the platform writes it; None: it knows a reference only."""
        for kind in _ENTITY_TYPES:
            name = getattr(self, kind)
            if name is not None:
                return kind, name
        return None


class AgainStep(_Strict):
    """A record comes again: `again` on its topic, `replay` from the dead letter, edited or not."""

    id: str
    at: Time | None = None
    again: str | None = None
    replay: str | None = None
    by: str | None = None
    status: str | None = None
    happened: Time | None = None

    @model_validator(mode="after")
    def _one_source(self) -> AgainStep:
        if (self.again is None) == (self.replay is None):
            raise ValueError("name a claim in either again or replay")
        edited = self.status is not None or self.happened is not None
        if edited != (self.by is not None) or (edited and self.replay is None):
            raise ValueError("a replay is edited by somebody: name status or happened, and by")
        return self


class ClockStep(_Strict):
    """Time passes."""

    clock: Time


class ControlStep(_Strict):
    """An operator or a source steers every partition."""

    suspend: str | None = None
    release: str | None = None
    watermark: str | None = None
    complete_to: Time | None = None
    activate: str | None = None
    redecide: list[str] = []

    @model_validator(mode="after")
    def _one_thing(self) -> ControlStep:
        things = (self.suspend, self.release, self.watermark, self.activate, self.redecide or None)
        if sum(thing is not None for thing in things) != 1:
            raise ValueError("name one of suspend, release, watermark, activate and redecide")
        if (self.watermark is None) != (self.complete_to is None):
            raise ValueError("a watermark needs complete_to, and nothing else does")
        return self


class InputStep(_Strict):
    """An input can't be read from here on, or can again: only in memory."""

    unread: str | None = None
    read: str | None = None


WorkerStep = Literal[
    "worker stops", "worker starts", "worker restarts", "another worker takes over"
]
Step = WorkerStep | ClockStep | AgainStep | EventStep | ControlStep | InputStep
_CONTROL: Final = frozenset(ControlStep.model_fields)


def _kind_of_step(written: object) -> str:
    """A step's kind by its keys, so that an error is about that kind only."""
    if not isinstance(written, dict):
        return "worker"
    if "clock" in written:
        return "clock"
    if written.keys() & _CONTROL:
        return "control"
    if written.keys() & {"unread", "read"}:
        return "input"
    return "again" if "again" in written or "replay" in written else "event"


StepLike = Annotated[
    Annotated[WorkerStep, Tag("worker")]
    | Annotated[ClockStep, Tag("clock")]
    | Annotated[AgainStep, Tag("again")]
    | Annotated[ControlStep, Tag("control")]
    | Annotated[InputStep, Tag("input")]
    | Annotated[EventStep, Tag("event")],
    Discriminator(_kind_of_step),
]


class DeadLetterText(_Strict):
    """An expected dead letter."""

    claim: str
    reason: str
    class_: Literal["DATA", "POLICY", "CONFIG"] | None = Field(None, alias="class")
    stage: str | None = None
    retryable: Literal["true", "false"] | None = None
    detail: str | None = None


class StoryText(_Strict):
    """An entity's expected story; what is not named is not compared, milestones are complete."""

    status: str | None = None
    entity_seq: str | None = None
    region: str | None = None
    flags: list[str] | None = None
    linked: dict[str, str] | None = None
    milestones: dict[str, dict[str, Any]] | None = None


class PageText(_Strict):
    """What a customer is expected to be shown of an entity; what is not named is not compared."""

    status: str | None = None
    provisional: Literal["true", "false"] | None = None
    cancelled: str | None = None
    after_cancel: Literal["true", "false"] | None = None
    incomplete: Literal["true", "false"] | None = None
    split_into: list[str] | None = None
    part_of: list[str] | None = None
    linked: list[str] | None = None
    timeline: list[dict[str, Any]] | None = None
    expected: list[dict[str, Any]] | None = None


class Then(_Strict):
    """What is expected; a list that is not given is expected to be empty.

    What readers are told (`portal`, `erp`) is compared only where it is given.
    """

    decided: dict[str, str | list[str]] = {}
    later: list[dict[str, str]] = []
    approved: list[dict[str, Any]] = []
    dead_letters: list[DeadLetterText] = []
    alerts: list[str] = []
    story: dict[str, StoryText] = {}
    portal: dict[str, PageText] | None = None
    erp: dict[str, list[dict[str, Any]]] | None = None


class Variant(_Strict):
    """One way the case can go."""

    name: str
    given: list[StepLike] = []
    when: list[StepLike]
    then: Then
    in_any_order: Literal["true", "false"] = "false"
    in_memory_only: str | None = None
    """Why it is not run on a real stack: what happens on the way depends on what is read first."""
    not_again: dict[Literal["at_once", "at_last"], str] = {}
    """Why it goes otherwise if each of its records is read again, right after it or at last."""


class RuleText(_Strict):
    """Durations of one ownership rule that differ in this file."""

    tolerance: Duration | None = None
    after: dict[str, Duration] = {}


class HandoverText(_Strict):
    """A rule ends at a time, and another platform owns what it covered from then on."""

    rule: str
    to: str
    at: Time
    mode: Literal["by_shipment_start", "by_occurrence"] = "by_shipment_start"
    grace: Duration = 0


class BrakeText(_Strict):
    """When a platform is held back."""

    run: int
    window: int
    ratio: float


class SiteText(_Strict):
    """A site of the file's tenant that the shipped bundle lacks."""

    city: str = ""
    subdivision: str = ""
    country: str
    zone: str
    codes: dict[str, list[str]] = {}
    """By list of location codes, as in `sites.yaml`."""


class PolicyText(_Strict):
    """What differs from the shipped bundle in this file, or in a later version of it."""

    waits: dict[
        Literal["region", "stop", "predecessor", "reference", "target", "withheld"], Duration
    ] = {}
    horizon: Duration | None = None
    open_claims: int | None = None
    handovers: list[HandoverText] = []
    brake: BrakeText | None = None
    watermarks: list[str] = []
    retracts_by_id: list[str] = []
    rules: dict[str, RuleText] = {}
    sites: dict[str, SiteText] = {}
    """By canonical location."""
    without: list[str] = []
    """Platforms and event types that it knows no more."""


class Scenario(_Strict):
    """A file: one case of the semantics and its variants."""

    case: str
    title: str
    rule: str
    start: Time = Moment(absolute_ms=START_MS)
    policy: PolicyText = PolicyText()
    policies: dict[str, PolicyText] = {}
    given: list[StepLike] = []
    variants: list[Variant] = Field(min_length=1)


def load(path: Path) -> Scenario:
    """Read a scenario file.

    Raises:
        InvalidFileError: it says what can't be; each finding names file and line.

    """
    document = _read(path)
    try:
        return Scenario.model_validate(document.content)
    except ValidationError as error:
        raise InvalidFileError(document.findings(error)) from None


def _read(path: Path) -> Document:
    text = path.read_text(encoding="utf-8")
    try:
        node = yaml.compose(text, Loader=yaml.BaseLoader)
        content = yaml.load(text, Loader=yaml.BaseLoader)  # noqa: S506  knows texts only
    except yaml.MarkedYAMLError as error:
        line = 1 if error.problem_mark is None else error.problem_mark.line + 1
        raise InvalidFileError(
            [Finding(path.name, line, "no YAML", str(error.problem), "Correct the syntax")]
        ) from None
    document = Document(path.name, content, {})
    twice: list[Finding] = []
    if node is not None:
        _index(node, (), document, twice)
    if twice:
        raise InvalidFileError(twice)
    return document


def _index(node: yaml.Node, location: Location, document: Document, twice: list[Finding]) -> None:
    """Note the line of every value, and keys that are there twice."""
    document.lines[location] = node.start_mark.line + 1
    if isinstance(node, yaml.MappingNode):
        for key, value in node.value:
            inner = (*location, str(key.value))
            line = key.start_mark.line + 1
            if inner in document.lines:
                finding = Finding(
                    document.file, line, str(key.value), "it is there twice", "Remove one"
                )
                twice.append(finding)
            _index(value, inner, document, twice)
            document.lines[inner] = line
    elif isinstance(node, yaml.SequenceNode):
        for position, value in enumerate(node.value):
            _index(value, (*location, position), document, twice)
