"""Tests that can fail, under names of their own."""

from __future__ import annotations

import ast
from collections import Counter

from repository import FUNCTIONS, below, listed

CHECKS = {"raises", "fail", "warns"}
MARKERS = {"kafka", "browser", "fault", "slow"}


def is_check(node: ast.AST) -> bool:
    """Whether a node can make a test fail: an assert, pytest.raises, or a call of a check."""
    if isinstance(node, ast.Assert):
        return True
    if not isinstance(node, ast.Call):
        return False
    name = getattr(node.func, "attr", getattr(node.func, "id", ""))
    return name in CHECKS or name.startswith(("assert_", "check_", "expect", "verify"))


def test_every_test_file_checks_something():
    idle = [
        module.where
        for module in below("tests")
        if module.path.name.startswith("test_") and not any(map(is_check, module.nodes()))
    ]
    assert not idle, f"nothing in these can fail:{listed(idle)}"


def test_every_module_of_tests_has_a_name_of_its_own():
    """pytest imports them by their bare names."""
    names = Counter(
        module.path.name for module in below("tests") if module.path.name != "conftest.py"
    )
    twice = [module.where for module in below("tests") if names[module.path.name] > 1]
    assert not twice, f"the same name in two folders:{listed(twice)}"


def test_tests_do_not_sleep_to_wait():
    sleeping = [
        f"{module.at(function)}: {function.name}"
        for module in below("tests")
        for function in module.nodes(*FUNCTIONS)
        if function.name.startswith("test_")
        for node in function.body
        if isinstance(node, ast.Expr)
        and isinstance(node.value, ast.Call)
        and getattr(node.value.func, "attr", "") == "sleep"
    ]
    assert not sleeping, f"wait for a condition, with a deadline:{listed(sleeping)}"


def test_what_is_skipped_says_why():
    silent = [
        module.at(node)
        for module in below("tests")
        for node in module.nodes(ast.Attribute)
        if node.attr in {"skip", "xfail"} and getattr(node.value, "attr", "") == "mark"
    ]
    assert not silent, f"skip where the reason is known (skipif, or pytest.skip):{listed(silent)}"
