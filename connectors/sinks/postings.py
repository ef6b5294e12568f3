"""Posting rules as data: which approved milestones become which ERP postings, and on what terms.

Models and loading of `erp-postings.yaml`, and the facts of a milestone that a posting carries. Must
never know what has been posted, nor how a posting reaches the ERP.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any, Final, Literal

from pydantic import BaseModel, ConfigDict, Field, ValidationError

from pipeline.contract.codec import AMOUNT_SCALE, QUANTITY_SCALE, unscaled
from pipeline.contract.yaml_lines import Document, Finding, InvalidFileError, read
from pipeline.governance.vocabulary import Assurance, Cardinality, Classifier, Flag

FILE: Final = "erp-postings.yaml"
SPLIT: Final = "split"
Carried = Literal[
    "occurred", "location", "document", "quantity", "amount", "currency", "references", "attempt"
]
_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)
_NAME = r"^[a-z][a-z0-9-]{0,31}$"


class _Model(BaseModel):
    model_config = ConfigDict(frozen=True, extra="forbid")


class Backoff(_Model):
    """Waits between tries: doubled each time, with jitter."""

    first: timedelta = Field(default=timedelta(seconds=0.5), gt=timedelta(0))
    most: timedelta = Field(default=timedelta(minutes=1), gt=timedelta(0), le=timedelta(hours=1))


class Endpoint(_Model):
    """A posting API of the ERP, and what it can be relied on for."""

    name: str = Field(pattern=_NAME)
    path: str = Field(pattern=r"^/[^?#\s]*$")
    honours_keys: bool = True
    keys_kept: timedelta = Field(default=timedelta(hours=24), gt=timedelta(0))
    timeout: timedelta = Field(
        default=timedelta(seconds=10), gt=timedelta(0), le=timedelta(minutes=5)
    )
    settles_after: timedelta = Field(default=timedelta(seconds=30), ge=timedelta(0))
    in_flight: int = Field(default=8, ge=1, le=64)
    backoff: Backoff = Backoff()
    gives_up_after: int = Field(default=8, ge=1, le=1_000)


class Posting(_Model):
    """One rule: an event type becomes one kind of posting."""

    posting: str = Field(pattern=_NAME)
    event_type: str
    endpoint: str = ""
    """Empty: the first endpoint of the file."""
    classifiers: list[Classifier] = [Classifier.ACTUAL]
    assurances: list[Assurance] = [Assurance.AUTHORITATIVE]
    requires: list[str] = []
    holds_on: list[Flag | Literal["split"]] = []
    """Flags, and whether the shipment was split: its parts are booked themselves."""
    carries: list[Carried] = Field(min_length=1)
    adjusts_on: list[Carried] | None = None

    def same(self, left: Mapping[str, Any], right: Mapping[str, Any]) -> bool:
        """Whether two sets of carried facts differ in nothing that is worth an adjustment."""
        names: Iterable[str] = self.carries if self.adjusts_on is None else self.adjusts_on
        return all(left.get(name) == right.get(name) for name in names)


class _File(_Model):
    endpoints: list[Endpoint] = Field(min_length=1)
    postings: list[Posting] = Field(min_length=1)


class PostingRules:
    """All rules of one file, ready to be asked."""

    def __init__(
        self,
        postings: Iterable[Posting],
        endpoints: Iterable[Endpoint],
        streams: Iterable[str] = (),
    ) -> None:
        """Index the rules.

        Args:
            postings: in the order in which one milestone's postings are sent.
            endpoints: the first one takes postings that name none.
            streams: event types of which an entity has no end (positions): not remembered as
                prerequisites unless a rule names them.

        """
        self.postings = tuple(postings)
        self.endpoints = {endpoint.name: endpoint for endpoint in endpoints}
        self._default = next(iter(self.endpoints))
        self._by_name = {rule.posting: rule for rule in self.postings}
        named = {rule.event_type for rule in self.postings}
        named.update(name for rule in self.postings for name in rule.requires)
        self._ignored = frozenset(streams) - named

    def of(self, event_type: str) -> list[Posting]:
        """Rules that an event type triggers, in order."""
        return [rule for rule in self.postings if rule.event_type == event_type]

    def named(self, posting: str) -> Posting | None:
        """The rule of a posting; None once the file has it no more."""
        return self._by_name.get(posting)

    def endpoint_of(self, rule: Posting) -> str:
        """Name of the endpoint that a rule's postings go to."""
        return rule.endpoint or self._default

    def remembers(self, event_type: str) -> bool:
        """Whether milestones of this type are kept as possible prerequisites."""
        return event_type not in self._ignored


def load_postings(root: Path) -> PostingRules:
    """Read the posting rules of a policy folder.

    Args:
        root: folder with `erp-postings.yaml` and the catalogue whose event types it names.

    Raises:
        InvalidFileError: by line, what a person should change.

    """
    document = read(root / FILE, root)
    try:
        content = _File.model_validate(document.content)
    except ValidationError as error:
        raise InvalidFileError(document.findings(error)) from None
    catalogue = read(root / "catalogue.yaml", root).content
    cardinalities = {row["name"]: row["cardinality"] for row in catalogue["event_types"]}
    findings = list(_lint(document, content, cardinalities))
    if findings:
        raise InvalidFileError(findings)
    streams = [name for name, kind in cardinalities.items() if kind == Cardinality.STREAM]
    return PostingRules(content.postings, content.endpoints, streams)


def carried(rule: Posting, record: Mapping[str, Any]) -> dict[str, Any]:
    """What a posting tells the ERP of a milestone: plain JSON values.

    Args:
        rule: names the facts.
        record: an approved milestone; decimals are scaled integers, times ms.

    """
    return {name: _FACTS[name](record) for name in rule.carries}


def utc_text(value_ms: int) -> str:
    """A time as RFC 3339, UTC, to the millisecond."""
    moment = _EPOCH + timedelta(milliseconds=value_ms)
    return moment.isoformat(timespec="milliseconds").replace("+00:00", "Z")


def _lint(
    document: Document, content: _File, cardinalities: Mapping[str, str]
) -> Iterable[Finding]:
    def finding(location: tuple[str | int, ...], what: str, why: str, remedy: str) -> Finding:
        return Finding(document.file, document.line(location), what, why, remedy)

    endpoints = [endpoint.name for endpoint in content.endpoints]
    names = [rule.posting for rule in content.postings]
    for index, name in enumerate(endpoints):
        if name in endpoints[:index]:
            yield finding(("endpoints", index), name, "named twice", "Rename one of them")
    for index, rule in enumerate(content.postings):
        at: tuple[str | int, ...] = ("postings", index)
        if rule.posting in names[:index]:
            yield finding(at, rule.posting, "named twice", "Rename one of them")
        if rule.endpoint and rule.endpoint not in endpoints:
            why = "no such endpoint in this file"
            yield finding((*at, "endpoint"), rule.endpoint, why, "Name one of them")
        for name in [rule.event_type, *rule.requires]:
            if name not in cardinalities:
                remedy = "Correct the spelling, or add it to catalogue.yaml"
                yield finding(at, name, "no event type of the catalogue", remedy)
        for fact in set(rule.adjusts_on or ()) - set(rule.carries):
            why = "the posting does not carry it"
            yield finding((*at, "adjusts_on"), fact, why, "Add it to carries")


def _location(record: Mapping[str, Any]) -> str | None:
    """Code of the site; which visit to it is meant (`DEN1#2`) no ERP knows."""
    stop = record["stop"]
    if stop is None:
        return None
    return (stop["location"] or "").partition("#")[0] or stop["name"] or stop["city"]


def _quantity(record: Mapping[str, Any]) -> dict[str, str] | None:
    quantity = record["quantity"]
    if quantity is None:
        return None
    return {
        "value": _decimal(quantity["value"], QUANTITY_SCALE),
        "unit": quantity["unit"],
        "basis": quantity["basis"],
        "completeness": quantity["completeness"],
    }


def _amount(record: Mapping[str, Any]) -> str | None:
    amount = record["amount"]
    return None if amount is None else _decimal(amount, AMOUNT_SCALE)


def _references(record: Mapping[str, Any]) -> list[dict[str, str]]:
    return sorted(
        (dict(reference) for reference in record["references"]),
        key=lambda item: (item["kind"], item["scope"], item["value"]),
    )


def _decimal(value: int, scale: int) -> str:
    return f"{unscaled(value, scale).normalize():f}"


_FACTS: Final[Mapping[str, Callable[[Mapping[str, Any]], Any]]] = {
    "occurred": lambda record: utc_text(record["occurred"]),
    "location": _location,
    "document": lambda record: record["document"],
    "quantity": _quantity,
    "amount": _amount,
    "currency": lambda record: record["currency"],
    "references": _references,
    "attempt": lambda record: record["attempt"],
}
