"""Any delimiters, any wrapping, any padding: the same segments."""

import pytest
from x12_text import HEADING, codes, interchange, isa, status_set

from connectors.formats import x12
from connectors.formats.codes import Code
from connectors.formats.limits import LimitExceededError, Limits
from connectors.formats.text import decoded
from connectors.formats.x12.tokens import Fault, Segment, tokens

PLAIN = interchange(status_set("LX*1", "AT7*D1*NS***20260301*1630*LT"))
NAMES = ["ISA", "GS", "ST", "B10", "N1", "LX", "AT7", "SE", "GE", "IEA"]


def segments(text):
    return [token for token in tokens(text, Limits()) if isinstance(token, Segment)]


def faults(text):
    return [token.code for token in tokens(text, Limits()) if isinstance(token, Fault)]


def elements(text):
    return [segment.elements() for segment in segments(text)]


def test_a_plain_file():
    assert [segment.name for segment in segments(PLAIN)] == NAMES
    assert [segment.number for segment in segments(PLAIN)] == list(range(1, 11))
    assert faults(PLAIN) == []


@pytest.mark.parametrize(
    ("element", "component", "terminator"),
    [
        ("|", ">", "\x1c"),
        ("\x1d", "\x1f", "\x1e"),
        ("^", "\\", "'"),
        ("€", "¤", "¶"),
        ("*", ":", "\n"),
    ],
)
def test_delimiters_are_what_the_header_shows(element, component, terminator):
    other = PLAIN.replace("~\n", "~").translate(
        str.maketrans({"*": element, ":": component, "~": terminator})
    )
    assert elements(other)[1:] == elements(PLAIN)[1:]
    assert segments(other)[0].delimiters == (element, component, terminator)


@pytest.mark.parametrize("line_end", ["", "\n", "\r\n", "\r", "\n\n", " \r\n"])
def test_line_ends_between_segments_mean_nothing(line_end):
    assert elements(PLAIN.replace("\n", line_end)) == elements(PLAIN)


@pytest.mark.parametrize("width", [10, 40, 79, 80, 105, 106])
@pytest.mark.parametrize("line_end", ["\n", "\r\n"])
def test_wrapped_lines_are_put_together(width, line_end):
    whole = PLAIN.replace("\n", "")
    wrapped = line_end.join(whole[at : at + width] for at in range(0, len(whole), width))
    assert elements(wrapped) == elements(whole)
    assert faults(wrapped) == []


@pytest.mark.parametrize("line_end", ["\n", "\r\n", "\r"])
def test_line_ends_can_be_the_terminator(line_end):
    text = PLAIN.replace("~\n", line_end).replace(":~", ":" + line_end)
    assert elements(text) == elements(PLAIN)
    assert segments(text)[0].delimiters.component == ":"


def test_an_unpadded_header_is_read_by_its_delimiters_and_said_to_be_so():
    unpadded = "*".join(part.strip() for part in isa().split("*")) + PLAIN.split("~", 1)[1]
    assert elements(unpadded) == elements(PLAIN)
    assert faults(unpadded) == [Code.ISA_UNPADDED]


def test_byte_order_marks_go():
    assert decoded(b"\xef\xbb\xbfISA") == ("ISA", "utf-8")
    assert decoded("\ufeffISA".encode("utf-16-le")) == ("ISA", "utf-16-le")
    assert decoded("\ufeffISA".encode("utf-16-be")) == ("ISA", "utf-16-be")


def test_what_is_no_utf_8_is_latin_1_and_said_to_be_so():
    named = PLAIN.replace("N1*DT*RNO", "N1*DT*ZÜRICH")
    assert x12.parse(named.encode()).charset == "utf-8"
    document = x12.parse(named.encode("latin-1"))
    assert document.charset == "latin-1"
    assert codes(document.findings) == ["latin_1"]
    names = [segment.text for segment in document.interchanges[0].groups[0].sets[0].segments]
    assert "N1*DT*ZÜRICH" in names


def test_interchanges_of_one_file_have_delimiters_of_their_own():
    other = PLAIN.replace("*", "|").replace("~", "'")
    assert elements(PLAIN + other)[10:] == elements(other)
    # Even where the first has lost its trailer
    cut = PLAIN.replace("IEA*1*000000001~\n", "")
    assert elements(cut + other)[9:] == elements(other)


def test_text_around_interchanges_is_a_fault_and_blanks_are_not():
    assert faults("\n\n " + PLAIN + "\n\x1a\x00") == []
    assert faults("From: carrier\n" + PLAIN) == [Code.TEXT_OUTSIDE_INTERCHANGE]
    assert faults(PLAIN + "-- \nsent from my telephone") == [Code.TEXT_OUTSIDE_INTERCHANGE]


def test_a_file_that_ends_within_a_segment():
    assert faults(PLAIN[:-3]) == []  # only the last terminator is missing
    assert faults(PLAIN[: PLAIN.index("*1630")]) == [Code.SEGMENT_UNTERMINATED]


def test_a_missing_component_separator_is_seen_by_what_follows():
    text = PLAIN.replace("*P*:~", "*P*~", 1)
    assert elements(text)[1:] == elements(PLAIN)[1:]
    assert faults(text) == [Code.ISA_MALFORMED]


def test_a_header_with_too_few_elements_still_ends_where_the_group_begins():
    text = PLAIN.replace("*U*00401", "", 1)
    assert elements(text)[1:] == elements(PLAIN)[1:]
    assert faults(text) == [Code.ISA_MALFORMED]


def test_a_sender_may_be_called_like_a_segment():
    text = interchange(status_set("LX*1"), sender="A&GS")
    assert [segment.name for segment in segments(text)][:2] == ["ISA", "GS"]


def test_a_header_that_cannot_be_made_out_does_not_hide_the_next():
    assert faults("ISA*00*~" + PLAIN) == [Code.ISA_UNREADABLE, Code.TEXT_OUTSIDE_INTERCHANGE]
    assert elements("ISA*00*~" + PLAIN) == elements(PLAIN)


@pytest.mark.parametrize(
    ("limits", "name", "position"),
    [
        (Limits(bytes_max=100), "bytes", "the file has"),
        (Limits(segments_max=5), "segments", "segment 6"),
        (Limits(elements_max=5), "elements", "segment 2"),
        (Limits(characters_max=20), "characters", "segment 2"),
    ],
)
def test_limits_are_named_with_the_position(limits, name, position):
    with pytest.raises(LimitExceededError) as caught:
        x12.parse(PLAIN.encode(), limits)
    assert caught.value.limit == name
    assert caught.value.position.startswith(position)
    assert name in str(caught.value)


def test_reading_takes_linear_time_in_delimiters_and_headers():
    # Each of these would hang if any search ran to the end of the file every time
    x12.parse(("ISA" + "*").encode() * 100_000)
    x12.parse("".join(f"ISA{chr(0x2000 + n % 4000)}" for n in range(50_000)).encode())
    x12.parse((isa() + "~" * 500_000).encode())
    assert len(HEADING) == 2
