"""The simulated ERP over real HTTP."""

from __future__ import annotations

from typing import Any

import httpx
import pytest
from erp_process import ErpProcess


@pytest.fixture
def erp(tmp_path):
    with ErpProcess(tmp_path / "books.sqlite") as process:
        yield process


def posting(**changes: Any) -> dict[str, Any]:
    return {
        "posting": "goods-issue",
        "kind": "ORIGINAL",
        "reference": None,
        "tenant": "acme",
        "entity_type": "shipment",
        "entity_id": "S1",
        "milestone_id": "m1",
        "revision": 1,
        "values": {"occurred": "2026-11-01T10:00:00Z"},
        **changes,
    }


def post(erp: ErpProcess, key: str, **changes: Any) -> httpx.Response:
    return httpx.post(
        f"{erp.url}/postings", json=posting(**changes), headers={"idempotency-key": key}
    )


def test_a_known_key_books_nothing_and_gives_the_same_document(erp):
    first, second = post(erp, "k1"), post(erp, "k1")

    assert (first.status_code, second.status_code) == (201, 200)
    assert first.json() == second.json()
    assert second.headers["idempotent-replayed"] == "true"
    summary = erp.summary()
    assert (summary["postings"], summary["requests"], summary["replays"]) == (1, 2, 1)


def test_a_known_key_with_another_body_is_refused(erp):
    post(erp, "k1")
    answer = post(erp, "k1", values={"occurred": "2026-11-02T10:00:00Z"})
    assert answer.status_code == 422
    assert "was used for another posting" in answer.json()["detail"]


def test_a_posting_without_a_key_is_refused(erp):
    assert httpx.post(f"{erp.url}/postings", json=posting()).status_code == 400


def test_an_erp_that_does_not_honour_keys_books_twice_and_the_summary_says_so(erp):
    erp.faults(honours_keys=False)
    post(erp, "k1")
    post(erp, "k1")
    summary = erp.summary()
    assert (summary["double_postings"], summary["double_effects"]) == (1, 1)


def test_the_same_effect_under_two_keys_is_found_out(erp):
    post(erp, "k1")
    post(erp, "k2", revision=2)
    assert erp.summary()["double_effects"] == 1


def test_a_reversal_needs_the_posting_that_it_reverses(erp):
    assert post(erp, "k2", kind="REVERSAL", reference="k1", revision=2).status_code == 422
    post(erp, "k1")
    assert post(erp, "k2", kind="REVERSAL", reference="k1", revision=2).status_code == 201
    assert post(erp, "k3", kind="REVERSAL", reference="k1", revision=3).status_code == 422
    assert post(erp, "k4", revision=4).status_code == 201
    assert erp.summary()["double_effects"] == 0


def test_a_key_can_be_asked_for(erp):
    post(erp, "a:1:x")
    assert httpx.get(f"{erp.url}/postings/a%3A1%3Ax").json()["posting"] == "goods-issue"
    assert httpx.get(f"{erp.url}/postings/other").status_code == 404


def test_a_lost_answer_is_a_booked_posting(erp):
    erp.faults(lose_next=1)
    with pytest.raises(httpx.RemoteProtocolError):
        post(erp, "k1")
    assert erp.summary()["postings"] == 1
    assert post(erp, "k1").status_code == 200


@pytest.mark.parametrize(
    ("faults", "status"),
    [
        ({"down": True}, 503),
        ({"too_many": True, "retry_after_s": 7}, 429),
        ({"error_rate": 1}, 500),
        ({"refuse": [{"posting": "goods-issue", "words": "period 10 is closed"}]}, 422),
    ],
)
def test_faults_are_switched_on_and_off(erp, faults, status):
    erp.faults(**faults)
    answer = post(erp, "k1")
    assert answer.status_code == status
    assert answer.headers.get("retry-after") == ("7" if "retry_after_s" in faults else None)
    erp.faults()
    assert post(erp, "k1").status_code == 201


def test_an_unknown_fault_is_named(erp):
    answer = httpx.put(f"{erp.url}/faults", json={"explode": True})
    assert answer.status_code == 422
    assert answer.json()["field"] == "explode"


def test_the_books_survive_a_kill(erp):
    post(erp, "k1")
    erp.kill()
    erp.start()
    assert post(erp, "k1").status_code == 200
    assert [row["key"] for row in erp.postings()] == ["k1"]


def test_a_body_beyond_the_limit_is_refused(erp):
    assert post(erp, "k1", padding="x" * 70_000).status_code == 413
