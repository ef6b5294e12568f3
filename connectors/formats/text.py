"""From a document's bytes to text: byte-order marks, UTF-8, else Latin-1, with the choice kept.

Must never know a format.
"""

from __future__ import annotations

import codecs
from typing import Final, NamedTuple

_MARKS: Final = (
    (codecs.BOM_UTF8, "utf-8"),
    (codecs.BOM_UTF16_LE, "utf-16-le"),
    (codecs.BOM_UTF16_BE, "utf-16-be"),
)
LATIN_1: Final = "latin-1"


class Text(NamedTuple):
    """A document as text, and how its bytes were read."""

    text: str
    charset: str


def decoded(data: bytes) -> Text:
    """Read bytes as text: by byte-order mark, else UTF-8, else Latin-1, which always works."""
    for mark, charset in _MARKS:
        if data.startswith(mark):
            try:
                return Text(data[len(mark) :].decode(charset), charset)
            except UnicodeDecodeError:
                data = data[len(mark) :]
                break
    try:
        return Text(data.decode("utf-8"), "utf-8")
    except UnicodeDecodeError:
        return Text(data.decode(LATIN_1), LATIN_1)
