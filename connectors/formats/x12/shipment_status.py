"""The 214, transportation carrier shipment status: one claim for each status segment (AT7).

Codes leave as the carrier wrote them. Must never know what a status means or who may say it.
"""

from __future__ import annotations

import re
from dataclasses import dataclass, field
from typing import Final

from connectors.formats.codes import Code
from connectors.formats.findings import Finding, Position
from connectors.formats.reading import Claim, Context, Reading, Record, raw_event, stop
from connectors.formats.x12 import times
from connectors.formats.x12.envelope import Group, Interchange, TransactionSet
from connectors.formats.x12.places import Place, only_stop, stop_at, take
from connectors.formats.x12.tokens import Segment
from pipeline.governance.vocabulary import Classifier, EntityType

KIND: Final = "214"
APPOINTMENT: Final = "APPOINTMENT"
"""Qualifier of claims whose status is an appointment's (AT703) and not a shipment's (AT701)."""

REFERENCE_KINDS: Final = {"BM": "BOL", "PO": "PO", "CN": "PRO"}
"""Names that other platforms use too, by reference qualifier (L1102); the rest keep theirs."""

_PLACES_MAX: Final = 100
_REFERENCES_MAX: Final = 300
_ATTRIBUTES_MAX: Final = 50
_REMARK_CHARACTERS_MAX: Final = 500
"""What is kept of one loop: the standard allows 10 places, 300 references and 10 remarks."""

_STOP_NUMBER: Final = "QN"
_DEGREES: Final = re.compile(r"(\d{3})(\d{2})(\d{2}(?:\.\d+)?)")
_AT7_DATE: Final = 4
"""Elements 5, 6 and 7 of AT7 are date, time and zone."""


@dataclass(slots=True)
class _Event:
    """One AT7 with what follows it."""

    segment: Segment
    ordinal: int
    town: list[str] = field(default_factory=list)
    equipment: list[str] = field(default_factory=list)


@dataclass(slots=True)
class _Loop:
    """One LX loop, or the heading before the first."""

    events: list[_Event] = field(default_factory=list)
    places: list[Place] = field(default_factory=list)
    references: list[tuple[str, str]] = field(default_factory=list)
    attributes: dict[str, str] = field(default_factory=dict)


def read(
    interchange: Interchange, group: Group, transaction: TransactionSet, context: Context
) -> Reading:
    """Claims and findings of one 214; findings carry the partner's actions.

    What a finding rejects besides its own event is the caller's business.
    """
    return _Set(interchange, group, transaction, context).read()


class _Set:
    """One 214 while it is read."""

    def __init__(
        self, interchange: Interchange, group: Group, transaction: TransactionSet, context: Context
    ) -> None:
        self._interchange = interchange
        self._group = group
        self._set = transaction
        self._context = context
        self._findings: list[Finding] = []
        self._b10 = [""] * 8
        self._heading = _Loop()
        self._loops: list[_Loop] = []

    def read(self) -> Reading:
        self._gather()
        if not any(self._b10):
            self._report(Code.HEADING_MISSING, self._set.position, "B10")
            return Reading((), tuple(self._findings))
        events = [(loop, event) for loop in self._loops for event in loop.events]
        if not events:
            self._report(Code.NO_EVENTS, self._set.position)
        if not (self._b10[1] or self._b10[2]):
            self._report(Code.SHIPMENT_ID_MISSING, self._set.position, "B1001, B1002")
            return Reading((), tuple(self._findings), len(events))
        recorded = self._recorded()
        claims = []
        for loop, event in events:
            record = self._claim(loop, event, recorded)
            if record is not None:
                claims.append(Claim(record, self._at(event.segment)))
        return Reading(tuple(claims), tuple(self._findings), len(events) - len(claims))

    def _gather(self) -> None:
        """Sort the segments into heading and loops."""
        ordinal = 0
        overflow = None
        loop, event = self._heading, None
        for segment in self._set.segments:
            if segment.name == "LX":
                loop, event = _Loop(), None
                self._loops.append(loop)
            elif segment.name == "AT7":
                if loop is self._heading:
                    # Some carriers leave out the LX
                    loop = _Loop()
                    self._loops.append(loop)
                ordinal += 1
                event = _Event(segment, ordinal)
                loop.events.append(event)
            elif segment.name == "B10":
                self._b10 = [*segment.elements(), *[""] * 8][:8]
            elif segment.name == "MS1" and event is not None:
                event.town = [*segment.elements(), *[""] * 11]
            elif segment.name == "MS2" and event is not None:
                event.equipment = [*segment.elements(), *[""] * 3]
            elif not _take_detail(loop, segment):
                overflow = overflow or segment
        if overflow is not None:
            self._report(Code.DETAIL_LEFT_OUT, self._at(overflow))

    def _claim(self, loop: _Loop, event: _Event, recorded: int | None) -> Record | None:
        """The claim that an AT7 makes; None: a finding says why there is none."""
        known = len(self._findings)
        elements = [*event.segment.elements(), *[""] * 8][:8]
        status, reason, appointment, appointment_reason, date, time, zone = elements[1:]
        attributes = self._attributes(loop, event)
        qualifier, classifier = None, Classifier.ACTUAL
        if status and appointment:
            self._report(
                Code.STATUS_AND_APPOINTMENT,
                self._at(event.segment, 3),
                f"AT701 {status}, AT703 {appointment}",
            )
            attributes["appointment"] = f"{appointment} {appointment_reason}".strip()
        elif appointment:
            status, reason, qualifier = appointment, appointment_reason, APPOINTMENT
            classifier = Classifier.PLANNED
        elif not status:
            self._report(Code.STATUS_MISSING, self._at(event.segment, 1))
            return None
        place = self._stop(loop, event)
        stop_zone = self._context.zone_of(place) if place is not None else None
        moment = times.moment(date, time, zone, stop_zone, self._context.time_zone)
        for code, part, detail in moment.oddities:
            self._report(code, self._at(event.segment, _AT7_DATE + part), detail)
        rejected = any(finding.action.rejects for finding in self._findings[known:])
        if moment.instant is None or rejected:
            return None
        reference = self._own_reference()
        known_by_reference = not self._b10[2]
        return raw_event(
            event_id=f"{self._set.document_id}#{event.ordinal}",
            platform=self._context.platform,
            entity_type=None if known_by_reference else str(EntityType.SHIPMENT),
            entity_id=self._b10[2] or None,
            reference=reference if known_by_reference else None,
            native_status=status,
            native_reason=reason or None,
            native_qualifier=qualifier,
            classifier=str(classifier),
            occurred=moment.instant.utc_ms,
            occurred_precision=str(moment.precision),
            occurred_offset_minutes=moment.instant.offset_minutes,
            recorded=recorded,
            sequence=event.ordinal,
            stop=place,
            references=self._references(loop),
            attributes=attributes,
        )

    def _stop(self, loop: _Loop, event: _Event) -> Record | None:
        """Where a status happened: the town it names, else the only place there is."""
        country = self._context.country
        places = [*self._heading.places, *loop.places]
        numbers = [value for kind, value in loop.references if kind == _STOP_NUMBER]
        number = int(numbers[-1]) if numbers and _is_ordinal(numbers[-1]) else None
        found = None
        if event.town and event.town[1]:
            found = stop_at(places, event.town[1], event.town[2], event.town[3] or country)
        elif not any(event.town[4:6] + event.town[9:11]):
            found, count = only_stop(places, country)
            if count > 1 and number is None:
                self._report(
                    Code.STOP_AMBIGUOUS, self._at(event.segment), f"{count} places, no MS1"
                )
        if number is not None:
            found = stop(country=country) if found is None else found
            found["number"] = number
        return found

    def _attributes(self, loop: _Loop, event: _Event) -> dict[str, str]:
        attributes = {
            "document": KIND,
            "version": self._group.header[8],
            "scac": self._b10[3],
            **self._heading.attributes,
            **loop.attributes,
        }
        if self._interchange.is_test:
            attributes["test"] = "true"
        if event.equipment:
            attributes["equipment_owner"] = event.equipment[1]
            attributes["equipment"] = event.equipment[2]
        attributes |= self._coordinates(event)
        return {name: value for name, value in attributes.items() if value}

    def _coordinates(self, event: _Event) -> dict[str, str]:
        if not event.town:
            return {}
        degrees, decimal = event.town[4:8], event.town[9:11]
        if any(decimal):
            found = {"longitude": _number(decimal[0], 180), "latitude": _number(decimal[1], 90)}
        elif any(degrees[:2]):
            east, north = degrees[2].upper() or "W", degrees[3].upper() or "N"
            found = {
                "longitude": _decimal(degrees[0], east, "EW", 180),
                "latitude": _decimal(degrees[1], north, "NS", 90),
            }
        else:
            return {}
        if not all(found.values()):
            detail = " ".join(part for part in (*degrees, *decimal) if part)
            self._report(Code.POSITION_INVALID, self._at(event.segment), detail)
            return {}
        return found

    def _own_reference(self) -> Record | None:
        number = self._b10[1]
        return {"kind": "PRO", "scope": self._b10[3], "value": number} if number else None

    def _references(self, loop: _Loop) -> list[Record]:
        scac = self._b10[3]
        found = {("PRO", scac, self._b10[1]): None} if self._b10[1] else {}
        for kind, value in (*self._heading.references, *loop.references):
            name = REFERENCE_KINDS.get(kind, kind)
            if kind != _STOP_NUMBER:
                found[name, scac if name == "PRO" else "", value] = None
        return [dict(zip(("kind", "scope", "value"), names, strict=True)) for names in found]

    def _recorded(self) -> int | None:
        """When the group was written, else the interchange."""
        zone = self._context.time_zone
        header, outer = self._group.header, self._interchange.header
        found = times.recorded(header[4], header[5], zone)
        if found is None:
            found = times.recorded(outer[9], outer[10], zone)
        if found is None:
            self._report(Code.RECORDED_UNUSABLE, self._group.position, f"{header[4]} {header[5]}")
        return found

    def _at(self, segment: Segment, element: int | None = None) -> Position:
        return self._set.position._replace(
            segment=segment.number, name=segment.name, element=element
        )

    def _report(self, code: Code, position: Position, detail: str = "") -> None:
        self._findings.append(self._context.policy.finding(code, position, detail))


def _take_detail(loop: _Loop, segment: Segment) -> bool:
    """Keep a place, a reference or what else is of use; False: there is no room for it."""
    elements = [*segment.elements(), *[""] * 8]
    name = segment.name
    if name in ("N1", "N4"):
        if name == "N1" and len(loop.places) >= _PLACES_MAX:
            return False
        take(loop.places, segment)
    elif name == "L11" and elements[1] and elements[2]:
        if len(loop.references) >= _REFERENCES_MAX:
            return False
        loop.references.append((elements[2], elements[1]))
    elif name in ("AT8", "Q7", "K1"):
        if len(loop.attributes) >= _ATTRIBUTES_MAX:
            return False
        return _take_attribute(loop.attributes, name, elements)
    return True


def _take_attribute(attributes: dict[str, str], name: str, elements: list[str]) -> bool:
    """Weights and pieces (AT8), lading exceptions (Q7) and remarks (K1)."""
    if name == "AT8" and elements[3]:
        attributes[f"weight_{elements[1]}"] = f"{elements[3]} {elements[2]}".strip()
        if elements[4]:
            attributes["lading_quantity"] = elements[4]
    elif name == "Q7" and elements[1]:
        attributes[f"lading_exception_{elements[1]}"] = f"{elements[3]} {elements[2]}".strip()
    elif name == "K1" and elements[1]:
        parts = (attributes.get("remark", ""), *elements[1:3])
        remark = " ".join(part for part in parts if part)
        attributes["remark"] = remark[:_REMARK_CHARACTERS_MAX]
        return len(remark) <= _REMARK_CHARACTERS_MAX
    return True


def _is_ordinal(text: str) -> bool:
    return text.isascii() and text.isdigit() and 0 < len(text) <= 4


def _decimal(text: str, direction: str, directions: str, most: int) -> str:
    """Degrees, minutes and seconds as signed decimal degrees; empty: they can't be read."""
    match = _DEGREES.fullmatch(text)
    if match is None or direction not in directions:
        return ""
    value = int(match[1]) + int(match[2]) / 60 + float(match[3]) / 3600
    return f"{-value if direction in 'WS' else value:.5f}" if value <= most else ""


def _number(text: str, most: int) -> str:
    try:
        value = float(text)
    except ValueError:
        return ""
    return f"{value:.5f}" if abs(value) <= most else ""
