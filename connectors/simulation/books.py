"""The simulated ERP's books, read over HTTP as an accountant would. Must never book anything."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any, Final

import httpx

_PAGE: Final = 1_000
ANSWER_S: Final = 10.0


def postings(erp_url: str) -> Iterator[Mapping[str, Any]]:
    """Everything in the simulated ERP's books.

    Raises:
        httpx.HTTPError: the ERP does not answer.

    """
    after = 0
    with httpx.Client(base_url=erp_url, timeout=ANSWER_S) as client:
        while True:
            answer = client.get("/postings", params={"after": after, "limit": _PAGE})
            page = answer.raise_for_status().json()
            yield from page
            if len(page) < _PAGE:
                return
            after = page[-1]["number"]


def summary(erp_url: str) -> dict[str, Any]:
    """The simulated ERP's counts.

    Raises:
        httpx.HTTPError: the ERP does not answer.

    """
    answer = httpx.get(f"{erp_url}/summary", timeout=ANSWER_S)
    return dict(answer.raise_for_status().json())
