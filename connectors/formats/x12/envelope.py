"""Segments to interchanges, groups and transaction sets, with every fault of the envelope.

No fault stops the reading: what is missing is said and the rest is kept. Must never know what a
transaction set means or what a partner's policy accepts.
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import Final, NamedTuple

from connectors.formats.codes import MEANINGS, Code
from connectors.formats.findings import Finding, Position
from connectors.formats.limits import LimitExceededError, Limits
from connectors.formats.text import LATIN_1, decoded
from connectors.formats.x12.tokens import ISA_ELEMENTS, Fault, Segment, tokens

GROUP_OF_SET: Final = {
    "204": "SM",
    "210": "IM",
    "214": "QM",
    "315": "QO",
    "322": "SO",
    "404": "SR",
    "824": "AG",
    "856": "SH",
    "940": "OW",
    "943": "AR",
    "944": "RE",
    "945": "SW",
    "947": "AW",
    "990": "GF",
    "997": "FA",
    "999": "FA",
}
"""Functional identifier (GS01) that goes with each transaction set (ST01)."""


@dataclass(slots=True)
class TransactionSet:
    """One ST … SE, without the two."""

    kind: str
    control: str
    position: Position
    document_id: str
    """Sender, receiver, date and three control numbers: the same each time it is read."""
    segments: list[Segment] = field(default_factory=list)


@dataclass(slots=True)
class Group:
    """One GS … GE."""

    position: Position
    header: list[str]
    """Elements of GS, the name at index 0; all empty if there is none."""
    sets: list[TransactionSet] = field(default_factory=list)


@dataclass(slots=True)
class Interchange:
    """One ISA … IEA, and everything that is wrong with its envelope."""

    position: Position
    header: list[str]
    """Elements of ISA, the name at index 0, always 17 of them."""
    groups: list[Group] = field(default_factory=list)
    findings: list[Finding] = field(default_factory=list)

    @property
    def sender(self) -> tuple[str, str]:
        """Qualifier and id of who sent it (ISA05, ISA06)."""
        return self.header[5], self.header[6]

    @property
    def receiver(self) -> tuple[str, str]:
        """Qualifier and id of whom it is for (ISA07, ISA08)."""
        return self.header[7], self.header[8]

    @property
    def control(self) -> str:
        """Interchange control number (ISA13)."""
        return self.header[13]

    @property
    def is_test(self) -> bool:
        """Whether the sender marked it as test data (ISA15)."""
        return self.header[15] == "T"


class Document(NamedTuple):
    """A file of X12 text."""

    interchanges: tuple[Interchange, ...]
    findings: tuple[Finding, ...]
    """What concerns no interchange."""
    charset: str


def parse(data: bytes, limits: Limits = Limits()) -> Document:  # noqa: B008  immutable
    """Read the envelope of a file; findings carry the default actions.

    Raises:
        LimitExceededError: the file is larger than the limits allow.

    """
    if len(data) > limits.bytes_max:
        raise LimitExceededError("bytes", limits.bytes_max, f"the file has {len(data):,}")
    text, charset = decoded(data)
    reader = _Reader()
    for token in tokens(text, limits):
        reader.take(token)
    reader.close_interchange()
    if charset == LATIN_1:
        reader.outside.append(_finding(Code.LATIN_1, Position()))
    if not reader.interchanges and not any(
        finding.code is Code.ISA_UNREADABLE for finding in reader.outside
    ):
        reader.outside.append(_finding(Code.NOT_X12, Position()))
    return Document(tuple(reader.interchanges), tuple(reader.outside), charset)


def _finding(code: Code, position: Position, detail: str = "") -> Finding:
    return Finding(code, position, detail, MEANINGS[code].default)


class _Reader:
    """Keeps what is open while segments go by."""

    def __init__(self) -> None:
        self.interchanges: list[Interchange] = []
        self.outside: list[Finding] = []
        self._interchange: Interchange | None = None
        self._group: Group | None = None
        self._set: TransactionSet | None = None
        self._set_segments = 0
        self._sets = 0
        self._groups = 0
        self._interchange_ids: set[str] = set()
        self._repeated = False
        self._set_ids: dict[str, int] = {}

    def take(self, token: Segment | Fault) -> None:
        if isinstance(token, Fault):
            self._fault(token)
            return
        if self._set is not None:
            self._set_segments += 1
        match token.name:
            case "ISA":
                self._open_interchange(token)
            case "GS":
                self._open_group(token)
            case "ST":
                self._open_set(token)
            case "SE":
                self._take_set_trailer(token)
            case "GE":
                self._take_group_trailer(token)
            case "IEA":
                self._take_interchange_trailer(token)
            case "TA1" if self._set is None:
                pass
            case _ if self._set is None:
                self._add(Code.SEGMENT_OUTSIDE_SET, token)
            case _:
                self._set.segments.append(token)

    def close_interchange(self) -> None:
        """End what is still open; it should have been ended by its trailer."""
        self._close_group()
        if self._interchange is not None:
            self._report(Code.INTERCHANGE_TRAILER_MISSING, self._interchange.position)
        self._interchange = None

    def _open_interchange(self, token: Segment) -> None:
        self.close_interchange()
        elements = token.elements()
        header = [*elements, *[""] * ISA_ELEMENTS][: ISA_ELEMENTS + 1]
        position = Position(len(self.interchanges) + 1, segment=token.number, name="ISA")
        opened = Interchange(position, header)
        self._interchange = opened
        self.interchanges.append(opened)
        if opened.is_test:
            self._add(Code.TEST_INTERCHANGE, token, 15)
        if not opened.control:
            self._add(Code.INTERCHANGE_CONTROL_MISSING, token, 13)
        same = f"{opened.sender}{opened.receiver}{opened.control}"
        self._repeated = same in self._interchange_ids
        self._interchange_ids.add(same)
        if self._repeated:
            self._add(Code.DUPLICATE_INTERCHANGE, token, 13, opened.control)

    def _open_group(self, token: Segment) -> None:
        self._close_group()
        self._groups += 1
        position = self._at(token)._replace(group=self._groups)
        self._group = Group(position, [*token.elements(), *[""] * 8][:9])
        self._owner().groups.append(self._group)

    def _open_set(self, token: Segment) -> None:
        self._close_set()
        if self._group is None:
            self._groups += 1
            self._group = Group(self._at(token)._replace(group=self._groups), [""] * 9)
            self._owner().groups.append(self._group)
            self._add(Code.GROUP_HEADER_MISSING, token)
        self._sets += 1
        self._set_segments = 1
        elements = [*token.elements(), "", ""]
        kind, control = elements[1], elements[2]
        position = self._at(token)._replace(set=self._sets)
        opened = TransactionSet(kind, control, position, "")
        self._set = opened
        self._group.sets.append(opened)
        if not control:
            self._add(Code.SET_CONTROL_MISSING, token, 2)
        declared = self._group.header[1]
        expected = GROUP_OF_SET.get(kind)
        if declared and expected is not None and declared != expected:
            self._add(Code.GROUP_TYPE_MISMATCH, token, 1, f"GS01 {declared}, ST01 {kind}")

    def _take_set_trailer(self, token: Segment) -> None:
        opened = self._set
        if opened is None:
            self._add(Code.SEGMENT_OUTSIDE_SET, token)
            return
        _, count, control, *_ = [*token.elements(), "", ""]
        if not _same_number(count, str(self._set_segments)):
            detail = f"SE01 says {count or 'nothing'}, there are {self._set_segments}"
            self._add(Code.SEGMENT_COUNT_MISMATCH, token, 1, detail)
        if not _same_number(control, opened.control):
            detail = f"ST02 {opened.control or 'empty'}, SE02 {control or 'empty'}"
            self._add(Code.SET_CONTROL_MISMATCH, token, 2, detail)
        self._end_set()

    def _take_group_trailer(self, token: Segment) -> None:
        self._close_set()
        group = self._group
        if group is None:
            self._add(Code.SEGMENT_OUTSIDE_SET, token)
            return
        _, count, control, *_ = [*token.elements(), "", ""]
        if not _same_number(count, str(len(group.sets))):
            detail = f"GE01 says {count or 'nothing'}, there are {len(group.sets)}"
            self._add(Code.SET_COUNT_MISMATCH, token, 1, detail)
        if group.header[0] and not _same_number(control, group.header[6]):
            detail = f"GS06 {group.header[6] or 'empty'}, GE02 {control or 'empty'}"
            self._add(Code.GROUP_CONTROL_MISMATCH, token, 2, detail)
        self._group = None

    def _take_interchange_trailer(self, token: Segment) -> None:
        self._close_group()
        opened = self._owner()
        _, count, control, *_ = [*token.elements(), "", ""]
        if not _same_number(count, str(len(opened.groups))):
            detail = f"IEA01 says {count or 'nothing'}, there are {len(opened.groups)}"
            self._add(Code.GROUP_COUNT_MISMATCH, token, 1, detail)
        if not _same_number(control, opened.control):
            detail = f"ISA13 {opened.control or 'empty'}, IEA02 {control or 'empty'}"
            self._add(Code.INTERCHANGE_CONTROL_MISMATCH, token, 2, detail)
        self._interchange = None

    def _close_group(self) -> None:
        self._close_set()
        if self._group is not None and self._group.header[0]:
            self._report(Code.GROUP_TRAILER_MISSING, self._group.position)
        self._group = None

    def _close_set(self) -> None:
        if self._set is not None:
            self._report(Code.SET_TRAILER_MISSING, self._set.position)
            self._end_set()

    def _end_set(self) -> None:
        """Name the set that ends here; a name given before in the file gets a count."""
        ended, group, interchange = self._set, self._group, self._interchange
        if ended is None or group is None or interchange is None:
            return
        numbers = (interchange.control, group.header[6], ended.control)
        # The date too: partners start their control numbers over
        parties = f"{interchange.sender[1]}:{interchange.receiver[1]}"
        name = f"{parties}:{interchange.header[9]}:{'/'.join(numbers)}"
        if not (interchange.control and ended.control):
            name = f"{name}:{_digest(ended)}"
        self._set_ids[name] = times = self._set_ids.get(name, 0) + 1
        if times > 1:
            name = f"{name}~{times}"
            if not self._repeated:
                self._report(Code.DUPLICATE_SET, ended.position, ended.control)
        ended.document_id = name
        self._set = None

    def _owner(self) -> Interchange:
        """The open interchange: the tokenizer gives no segment outside of one."""
        if self._interchange is None:
            raise AssertionError("a segment before any interchange header")
        return self._interchange

    def _at(self, token: Segment, element: int | None = None) -> Position:
        interchange = self._interchange.position.interchange if self._interchange else None
        group = self._group.position.group if self._group else None
        ordinal = self._set.position.set if self._set else None
        return Position(interchange, group, ordinal, token.number, token.name, element)

    def _add(
        self, code: Code, token: Segment, element: int | None = None, detail: str = ""
    ) -> None:
        self._report(code, self._at(token, element), detail)

    def _report(self, code: Code, position: Position, detail: str = "") -> None:
        found = _finding(code, position, detail)
        target = self.outside if self._interchange is None else self._interchange.findings
        target.append(found)

    def _fault(self, fault: Fault) -> None:
        if fault.code is Code.ISA_UNREADABLE:
            self.close_interchange()
        position = Position(segment=fault.segment)
        if self._interchange is not None:
            position = position._replace(
                interchange=self._interchange.position.interchange,
                group=self._group.position.group if self._group else None,
                set=self._set.position.set if self._set else None,
            )
        self._report(fault.code, position, fault.detail)


def _same_number(a: str, b: str) -> bool:
    """Whether two control numbers or counts are the same; leading zeros don't matter."""
    if a == b:
        return bool(a)
    return a.isdecimal() and b.isdecimal() and a.lstrip("0") == b.lstrip("0")


def _digest(ended: TransactionSet) -> str:
    content = hashlib.sha256()
    for segment in ended.segments:
        content.update(segment.text.encode())
        content.update(b"\n")
    return content.hexdigest()[:16]


def sets_of(interchange: Interchange) -> Iterator[tuple[Group, TransactionSet]]:
    """Every transaction set, with its group."""
    for group in interchange.groups:
        for transaction_set in group.sets:
            yield group, transaction_set
