"""How the product's code is written: sizes, docstrings, names, and calls that have no place."""

from __future__ import annotations

import ast
import re
from statistics import median

from repository import FUNCTIONS, Module, listed, modules, product

MODULE_LINES_MEDIAN, MODULE_LINES_SOFT, MODULE_LINES_HARD = 150, 400, 600
LONG_MODULES_SHARE = 0.05
KERNEL_LINES_HARD = 700
"""The kernel may be longer: one file decides."""
FUNCTION_LINES_HARD = 70
FORBIDDEN_NAMES = re.compile(
    r"^(utils?|helpers?|common|misc|base_.*|.*(manager|handler|service)s?)$"
)
READS_ENVIRONMENT = {
    "pipeline/native.py": "decides which form of the hot path is imported, before anything is",
    "pipeline/settings.py": "the one module that reads settings",
    "pipeline/local/artifacts.py": "XDG_CACHE_HOME says where a user's cache is",
    "pipeline/local/components.py": "children inherit the environment",
    "pipeline/local/processes.py": "the part of the environment that Java gets",
    "pipeline/cli/show.py": "its own stack must not take over anybody's settings",
    "pipeline/cli/run.py": "the option --slot is handed to the worker process",
}
UNFINISHED = re.compile(r"\b(TO" + "DO|FIX" + "ME|XX" + "X|HA" + r"CK)\b")


def lines(module: Module) -> int:
    return module.text.count("\n")


def hard_limit(module: Module) -> int:
    return KERNEL_LINES_HARD if module.name == "pipeline.governance.kernel" else MODULE_LINES_HARD


def test_modules_are_short():
    too_long = [f"{m.where}: {lines(m)}" for m in modules() if lines(m) > hard_limit(m)]
    assert not too_long, f"longer than a module may be:{listed(too_long)}"
    assert median(lines(module) for module in product()) <= MODULE_LINES_MEDIAN


def test_few_modules_are_long():
    long = [f"{m.where}: {lines(m)}" for m in product() if lines(m) > MODULE_LINES_SOFT]
    few = len(product()) * LONG_MODULES_SHARE
    assert len(long) <= few, f"longer than {MODULE_LINES_SOFT} lines, split some:{listed(long)}"


def test_functions_are_short():
    """In tests, what only lists data may be longer."""
    too_long = [
        f"{module.at(node)}: {node.name} has {node.end_lineno - node.lineno + 1} lines"
        for module in modules()
        for node in module.nodes(*FUNCTIONS)
        if (not module.where.startswith("tests/") or node.name.startswith("test_"))
        and node.end_lineno - node.lineno + 1 > FUNCTION_LINES_HARD
    ]
    assert not too_long, f"longer than {FUNCTION_LINES_HARD} lines:{listed(too_long)}"


def test_every_module_says_what_it_holds():
    silent = [module.where for module in product() if not ast.get_docstring(module.tree)]
    assert not silent, f"no docstring:{listed(silent)}"


def test_every_module_that_does_something_says_what_it_must_never():
    silent = [
        module.where
        for module in product()
        if module.path.name != "__init__.py"
        and not re.search(
            r"\b(never|must|only|no|not|nothing|neither|without|pure)\b",
            (ast.get_docstring(module.tree) or "").lower(),
        )
    ]
    assert not silent, f"the docstring names no limit of its module:{listed(silent)}"


def test_every_class_says_what_it_is():
    silent = [
        f"{module.at(node)}: {node.name}"
        for module in product()
        for node in module.nodes(ast.ClassDef)
        if not node.name.startswith("_") and not ast.get_docstring(node)
    ]
    assert not silent, f"no docstring:{listed(silent)}"


def test_every_return_is_annotated():
    bare = [
        f"{module.at(node)}: {node.name}"
        for module in product()
        for node in module.nodes(*FUNCTIONS)
        if node.returns is None
    ]
    assert not bare, f"no return type:{listed(bare)}"


def test_names_say_what_is_inside():
    vague = [
        f"{module.where}: {part}"
        for module in modules()
        for part in module.path.with_suffix("").parts[-2:]
        if FORBIDDEN_NAMES.match(part)
    ]
    assert not vague, f"a name that says nothing:{listed(vague)}"


def test_nothing_prints_to_standard_output_but_commands():
    printing = [
        module.at(node)
        for module in product()
        for node in module.nodes(ast.Call)
        if isinstance(node.func, ast.Name) and node.func.id in {"print", "breakpoint"}
    ]
    assert not printing, f"use a logger, or the console of a command:{listed(printing)}"


def test_no_error_is_swallowed():
    swallowing = [
        module.at(node)
        for module in modules()
        for node in module.nodes(ast.ExceptHandler)
        if all(isinstance(step, ast.Pass) for step in node.body) or node.type is None
    ]
    assert not swallowing, (
        "name the exception and say what happens then (contextlib.suppress where nothing does)"
        f"{listed(swallowing)}"
    )


def test_there_are_no_markers_of_unfinished_work():
    marked = [
        f"{module.where}:{number}"
        for module in modules()
        for number, line in enumerate(module.text.splitlines(), 1)
        if UNFINISHED.search(line)
    ]
    assert not marked, f"do it, or write it into docs/roadmap.md:{listed(marked)}"


def test_ignored_findings_name_their_rule():
    blanket = [
        f"{module.where}:{number}"
        for module in modules()
        for number, line in enumerate(module.text.splitlines(), 1)
        if re.search(r"#\s*noqa(?!:)|#\s*type:\s*ignore(?!\[)|#\s*pragma: no cover", line)
    ]
    assert not blanket, f"an ignore without its code:{listed(blanket)}"


def reads_environment(node: ast.AST) -> bool:
    return (
        isinstance(node, ast.Attribute)
        and isinstance(node.value, ast.Name)
        and node.value.id == "os"
        and node.attr in {"environ", "getenv", "putenv", "environb"}
    )


def test_only_settings_read_the_environment():
    reading = {module.where for module in product() if any(map(reads_environment, module.nodes()))}
    assert reading <= set(READS_ENVIRONMENT)
    assert set(READS_ENVIRONMENT) <= reading, "an exception that is not needed any more"


def test_servers_bind_loopback_unless_told_otherwise():
    every_address = {"0.0" + ".0.0", ":" + ":"}
    open_to_all = [
        module.at(node)
        for module in product()
        for node in module.nodes(ast.Constant)
        if node.value in every_address
    ]
    assert not open_to_all, f"MILEPOST_HOST decides that:{listed(open_to_all)}"
