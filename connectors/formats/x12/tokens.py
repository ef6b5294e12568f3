"""X12 text to segments: delimiters are found by scanning the interchange header's 16 elements.

Reads any delimiters, wrapped lines, unpadded headers and several interchanges with delimiters of
their own. Faults are values in the stream. Must never know what a segment means.
"""

from __future__ import annotations

import re
from collections.abc import Generator, Iterator
from itertools import pairwise
from typing import Final, NamedTuple

from connectors.formats.codes import Code
from connectors.formats.limits import LimitExceededError, Limits

ISA: Final = "ISA"
ISA_ELEMENTS: Final = 16
_ISA_WIDTHS: Final = (2, 10, 2, 10, 2, 15, 2, 15, 6, 4, 1, 5, 9, 1, 1, 1)
_ISA_CHARACTERS_MAX: Final = 600
"""No header is longer, however it is padded or wrapped: keeps a search from running away."""
_ISA_LINE_ENDS_MAX: Final = 40
_START: Final = re.compile(r"I[\r\n]*S[\r\n]*A[\r\n]*(?=[^A-Za-z0-9 \t\r\n\f\v\x00])")
_RUN_ON: Final = re.compile(r"[^A-Za-z0-9 ][\r\n]*(?:GS|TA1)\Z")
_NAME: Final = re.compile(r"[A-Z][A-Z0-9]{1,2}")
_BLANK: Final = " \t\r\n\x00\x1a\ufeff"
_EXCERPT: Final = 60
_FOLLOWERS: Final = ("GS", "TA1", "IEA", "ST", "ISB", "ISE")


class Delimiters(NamedTuple):
    """What separates things in one interchange."""

    element: str
    component: str
    """Empty if the header doesn't say."""
    terminator: str
    r"""`\n` stands for line ends of any kind."""


class Segment(NamedTuple):
    """One segment; its elements are taken apart when they are asked for."""

    name: str
    text: str
    number: int
    """Ordinal in the file, from 1."""
    delimiters: Delimiters

    def elements(self) -> list[str]:
        """All elements, blanks around them removed; index 0 is the segment's name."""
        return [element.strip(" \t") for element in self.text.split(self.delimiters.element)]


class Fault(NamedTuple):
    """Something is odd about the text before or in the segment of this number."""

    code: Code
    segment: int
    detail: str


Token = Segment | Fault


class _Header(NamedTuple):
    elements: list[str]
    delimiters: Delimiters
    end: int


def tokens(text: str, limits: Limits) -> Iterator[Token]:
    """Segments and faults, in the order of the text.

    Raises:
        LimitExceededError: too many segments, or too many elements in one.

    """
    if "\r" in text and "\n" not in text:
        text = text.replace("\r", "\n")
    position, number = 0, 0
    while True:
        match = _START.search(text, position)
        outside = text[position : match.start() if match else len(text)].strip(_BLANK)
        if outside:
            yield Fault(Code.TEXT_OUTSIDE_INTERCHANGE, number + 1, excerpt(outside))
        if match is None:
            return
        header = _header(text, match.end())
        if header is None:
            detail = excerpt(text[match.start() : match.start() + _EXCERPT * 2])
            yield Fault(Code.ISA_UNREADABLE, number + 1, detail)
            position = match.end()
            continue
        number, position = yield from _interchange(text, header, number, limits)


def _interchange(
    text: str, header: _Header, number: int, limits: Limits
) -> Generator[Token, None, tuple[int, int]]:
    """Tokens of one interchange; returns the number of its last segment and the position after."""
    delimiters = header.delimiters
    number += 1
    _check(number, limits)
    isa = delimiters.element.join((ISA, *header.elements))
    yield Segment(ISA, isa, number, delimiters)
    yield from _header_faults(header, number)
    lines = delimiters.terminator == "\n"
    position, size = header.end, len(text)
    while position < size:
        end = text.find(delimiters.terminator, position)
        terminated = end >= 0
        end = end if terminated else size
        raw = text[position:end]
        if "\n" in raw or "\r" in raw:
            raw = raw.replace("\r", "").replace("\n", "")
        raw = raw.strip(_BLANK)
        if not raw:
            position = end + 1
            continue
        if raw.startswith(ISA) and _START.match(raw):
            # The header of the next interchange: it may have other delimiters
            break
        number += 1
        _check(number, limits)
        _check_size(raw, delimiters, number, limits)
        name = raw.split(delimiters.element, 1)[0].strip()
        position = min(end + 1, size)
        if not terminated and not lines and name != "IEA":
            yield Fault(Code.SEGMENT_UNTERMINATED, number, excerpt(raw))
        if not _NAME.fullmatch(name):
            yield Fault(Code.SEGMENT_ID_INVALID, number, excerpt(raw))
        yield Segment(name, raw, number, delimiters)
        if name == "IEA":
            break
    return number, position


def excerpt(text: str) -> str:
    """The beginning of a text, on one line and fit to be shown."""
    shown = "".join(c if c.isprintable() else "\N{REPLACEMENT CHARACTER}" for c in text[:_EXCERPT])
    return shown + ("…" if len(text) > _EXCERPT else "")


def _check(number: int, limits: Limits) -> None:
    if number > limits.segments_max:
        raise LimitExceededError("segments", limits.segments_max, f"segment {number}")


def _check_size(raw: str, delimiters: Delimiters, number: int, limits: Limits) -> None:
    if len(raw) > limits.characters_max:
        raise LimitExceededError("characters", limits.characters_max, f"segment {number}")
    if raw.count(delimiters.element) > limits.elements_max:
        raise LimitExceededError("elements", limits.elements_max, f"segment {number}")


def _header(text: str, start: int) -> _Header | None:
    """The header whose first separator is here; None: it can't be made out at all."""
    window = text[start : start + _ISA_CHARACTERS_MAX]
    separator = window[0]
    mark = re.escape(separator)
    another = re.search(rf"[^A-Za-z0-9 {mark}][\r\n]*ISA{mark}", window)
    window = window[: another.start() + 1] if another else window
    marks = [0]
    while len(marks) < ISA_ELEMENTS:
        at = window.find(separator, marks[-1] + 1)
        if at < 0:
            return _short_header(window, start, separator)
        marks.append(at)
    elements = [_unwrapped(window[a + 1 : b]) for a, b in pairwise(marks)]
    ending = _ending(window, marks[-1] + 1, separator)
    if ending is None or _runs_on(elements):
        return _short_header(window, start, separator)
    component, terminator, end = ending
    return _Header(
        [*elements, component], Delimiters(separator, component, terminator), start + end
    )


def _runs_on(elements: list[str]) -> bool:
    """Whether one of them holds the group header: there are too few; names of parties may."""
    return any(_RUN_ON.search(e) for index, e in enumerate(elements, 1) if index not in (6, 8))


def _ending(window: str, position: int, separator: str) -> tuple[str, str, int] | None:
    """Component separator, terminator and the position after it."""
    position = _skip(window, position, "\r\n")
    if position >= len(window):
        return None
    first = window[position]
    if _follows(window, position + 1, separator) and (
        window[position + 1] not in "\r\n" or _ends_a_line(window, position + 1, first)
    ):
        return "", first, position + 1
    after = _skip(window, position + 1, " ")
    if after >= len(window):
        return first, "\n", len(window)
    if window[after] not in "\r\n":
        return first, window[after], after + 1
    # A line end: the terminator itself, or a wrapped line just before it
    beyond = _skip(window, after, "\r\n")
    wrapped = beyond < len(window) and not window[beyond].isalnum()
    if wrapped and _follows(window, beyond + 1, separator):
        return first, window[beyond], beyond + 1
    return first, "\n", after


def _short_header(window: str, start: int, separator: str) -> _Header | None:
    """A header without its 16 elements, if the group header that follows shows where it ends."""
    mark = re.escape(separator)
    found = re.search(rf"([^A-Za-z0-9 {mark}])[\r\n]*(?:GS{mark}|TA1{mark})", window)
    if found is None or not found.start():
        return None
    end = found.start()
    terminator = "\n" if found[1] in "\r\n" else found[1]
    elements = [_unwrapped(element) for element in window[1:end].split(separator)]
    return _Header(elements, Delimiters(separator, "", terminator), start + end + 1)


def _header_faults(header: _Header, number: int) -> Iterator[Fault]:
    elements = header.elements
    if len(elements) != ISA_ELEMENTS:
        yield Fault(Code.ISA_MALFORMED, number, f"{len(elements)} elements")
    elif not header.delimiters.component:
        yield Fault(Code.ISA_MALFORMED, number, "no component separator, ISA16")
    elif any(len(e) != width for e, width in zip(elements, _ISA_WIDTHS, strict=True)):
        yield Fault(Code.ISA_UNPADDED, number, "")


def _follows(window: str, position: int, separator: str) -> bool:
    """Whether what comes after an interchange header begins here, wrapped or not."""
    beginning = _unwrapped(window[position : position + _ISA_LINE_ENDS_MAX]).lstrip(" ")
    return beginning.startswith(tuple(name + separator for name in _FOLLOWERS))


def _ends_a_line(window: str, position: int, mark: str) -> bool:
    """Whether the line that follows the line end here is closed by this mark."""
    start = _skip(window, position, "\r\n")
    end = window.find("\n", start)
    return end > 0 and window[start:end].rstrip("\r ").endswith(mark)


def _skip(text: str, position: int, characters: str) -> int:
    while position < len(text) and text[position] in characters:
        position += 1
    return position


def _unwrapped(element: str) -> str:
    return element.replace("\r", "").replace("\n", "")
