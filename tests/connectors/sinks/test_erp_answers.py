"""What an answer of the ERP means."""

from __future__ import annotations

import httpx
import pytest
from erp_records import T0

from connectors.sinks.answers import (
    WAIT_MS_MAX,
    Verdict,
    judge,
    judge_failure,
    judge_question,
    retry_after_ms,
)


@pytest.mark.parametrize(
    ("status", "verdict", "sent"),
    [
        (200, Verdict.BOOKED, True),
        (201, Verdict.BOOKED, True),
        (204, Verdict.BOOKED, True),
        (202, Verdict.TROUBLE, True),  # taken in, not yet booked
        (301, Verdict.OUTAGE, False),
        (400, Verdict.REFUSED, False),
        (401, Verdict.OUTAGE, False),
        (403, Verdict.OUTAGE, False),
        (404, Verdict.REFUSED, False),
        (408, Verdict.TROUBLE, True),
        (409, Verdict.TROUBLE, True),  # the same key is under way
        (422, Verdict.REFUSED, False),
        (425, Verdict.TROUBLE, True),
        (429, Verdict.OUTAGE, False),
        (500, Verdict.TROUBLE, True),
        (502, Verdict.TROUBLE, True),
        (503, Verdict.TROUBLE, True),
        (504, Verdict.TROUBLE, True),
    ],
)
def test_a_status_says_whether_it_was_booked_and_whose_fault_it_is(status, verdict, sent):
    answer = judge(status, {}, b"", T0)
    assert (answer.verdict, answer.sent) == (verdict, sent)


def test_a_503_that_names_a_time_is_an_outage():
    answer = judge(503, {"retry-after": "30"}, b"", T0)
    assert (answer.verdict, answer.wait_ms) == (Verdict.OUTAGE, 30_000)


def test_a_web_page_is_no_booking():
    page = {"content-type": "text/html; charset=utf-8"}
    assert judge(200, page, b"<html>sign in</html>", T0).verdict is Verdict.OUTAGE
    assert judge_question(404, page, b"<html>not here</html>", T0).verdict is Verdict.OUTAGE


@pytest.mark.parametrize(
    ("body", "words"),
    [
        (b'{"detail": "period 10 is closed"}', "422 period 10 is closed"),
        (b'{"error": "locked"}', "422 locked"),
        (b"plain\n text\x00", "422 plain text"),
        (b"\xff\xfe", "422 \ufffd\ufffd"),
        (b"", "422"),
    ],
)
def test_the_erps_own_words_are_kept(body, words):
    assert judge(422, {}, body, T0).words == words


def test_the_document_number_is_kept():
    assert judge(201, {}, b'{"document": 4900000001}', T0).document == "4900000001"


@pytest.mark.parametrize(
    ("value", "wait_ms"),
    [
        (None, None),
        ("7", 7_000),
        ("Mon, 24 Nov 2025 16:02:00 GMT", 120_000),
        ("Mon, 24 Nov 2025 15:00:00 GMT", 0),
        ("999999999999", WAIT_MS_MAX),
        ("soon", None),
        ("-5", None),
    ],
)
def test_retry_after_is_seconds_or_a_date(value, wait_ms):
    assert retry_after_ms(value, T0) == wait_ms


@pytest.mark.parametrize(
    ("error", "verdict", "sent"),
    [
        (httpx.ConnectError("refused"), Verdict.OUTAGE, False),
        (httpx.ConnectTimeout("slow"), Verdict.OUTAGE, False),
        (httpx.PoolTimeout("busy"), Verdict.OUTAGE, False),
        (httpx.ReadTimeout("slow"), Verdict.TROUBLE, True),
        (httpx.WriteTimeout("slow"), Verdict.TROUBLE, True),
        (httpx.RemoteProtocolError("cut"), Verdict.TROUBLE, True),
        (httpx.ReadError("reset"), Verdict.TROUBLE, True),
    ],
)
def test_without_an_answer_only_what_was_never_sent_is_certainly_not_booked(error, verdict, sent):
    answer = judge_failure(error)
    assert (answer.verdict, answer.sent) == (verdict, sent)


def test_only_a_404_says_that_a_key_is_unknown():
    assert judge_question(404, {}, b"", T0).verdict is Verdict.UNKNOWN_KEY
    assert judge_question(200, {}, b'{"document": "1"}', T0).verdict is Verdict.BOOKED
    assert judge_question(410, {}, b"", T0).verdict is Verdict.TROUBLE
    assert judge_question(500, {}, b"", T0).verdict is Verdict.TROUBLE
    assert judge_question(429, {}, b"", T0).verdict is Verdict.OUTAGE
