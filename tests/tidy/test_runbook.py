"""What the runbook quotes is what doctor, a log or a command really says, word by word."""

from __future__ import annotations

import ast
import re
from functools import cache

import pytest
from repository import ROOT, product

RUNBOOK = (ROOT / "docs" / "runbook.md").read_text("utf-8")
QUOTE = re.compile(r"(?<!\*)\*([^*]+)\*(?!\*)")
OF_DOCTOR = re.compile(r"[Dd]octor(?: says)?:? " + QUOTE.pattern)
VARYING = re.compile(r"…|(?<!\w)'[^' ]+'(?!\w)|\(7[58]\)")
"""What a quote leaves open, or has as an example of what the product fills in."""
FILLED_IN = "\0"
"""Stands for a value in a text of the product; nobody quotes it."""


@cache
def said(folder: str) -> tuple[str, ...]:
    """Every text of the product below a folder but docstrings; values are one letter each."""
    texts = []
    for module in product():
        if not module.where.startswith(folder):
            continue
        unsaid = {id(node.value) for node in module.nodes(ast.Expr)}
        for node in module.nodes(ast.JoinedStr, ast.Constant):
            if id(node) in unsaid:
                continue
            if isinstance(node, ast.JoinedStr):
                parts = [getattr(part, "value", FILLED_IN) for part in node.values]
                texts.append("".join(p if isinstance(p, str) else FILLED_IN for p in parts))
            elif isinstance(node.value, str):
                texts.append(node.value)
    return tuple(texts)


def quotes(pattern: re.Pattern[str]) -> list[str]:
    return sorted({" ".join(found.split()) for found in pattern.findall(RUNBOOK)})


def pieces(quote: str) -> re.Pattern[str]:
    kept = [part.strip() for part in VARYING.split(quote)]
    return re.compile(".*".join(re.escape(part) for part in kept if part), re.DOTALL)


def is_said(quote: str, folder: str) -> bool:
    wanted = pieces(quote)
    return any(wanted.search(text) for text in said(folder))


@pytest.mark.parametrize("quote", quotes(OF_DOCTOR))
def test_what_doctor_is_quoted_with_is_what_doctor_says(quote):
    assert is_said(quote, "pipeline/operations/")


@pytest.mark.parametrize("quote", quotes(QUOTE))
def test_what_is_quoted_is_said_somewhere(quote):
    assert is_said(quote, "")


def test_an_invented_quote_is_found_out():
    assert quotes(OF_DOCTOR)
    assert not is_said("All is … well tonight", "")
    assert not is_said("No governor … can't be reached", "pipeline/operations/")
