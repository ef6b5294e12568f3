"""Nothing is dead: every module is imported by something, every definition is used by something."""

from __future__ import annotations

import ast
import re
from collections import Counter
from collections.abc import Iterator

from repository import FUNCTIONS, PACKAGES, Module, listed, modules, product, texts

ENTRY_POINTS = {
    "pipeline.cli.main": "the command milepost",
    "pipeline.cli.reference": "make docs",
    "pipeline.local.pinning": "for maintainers, python -m",
}
PLAIN_BASES = {"ABC", "Exception", "Generic", "NamedTuple", "Protocol", "StrEnum"}
WIRE_NAMES = "pipeline.contract.names"
"""Topics may be declared before something writes them: test_documented.py has the list."""
WORD = re.compile(r"[A-Za-z_][A-Za-z0-9_]*")


def imports(module: Module) -> Iterator[str]:
    """Dotted names that a module imports, each parent included."""
    for node in module.nodes(ast.Import, ast.ImportFrom):
        if isinstance(node, ast.Import):
            yield from (alias.name for alias in node.names)
        else:
            parts = module.name.split(".")
            above = len(parts) - node.level + is_package(module)
            within = parts[:above] if node.level else []
            source = ".".join([*within, *([node.module] if node.module else [])])
            yield source
            yield from (f"{source}.{alias.name}" for alias in node.names)
    for node in module.nodes(ast.Constant):  # python -m, look-ups by name, scripts
        if isinstance(node.value, str) and node.value.split(".")[0] in PACKAGES:
            yield node.value.split(":")[0]
        elif isinstance(node.value, str) and node.value.endswith(".py"):
            yield f"{module.name.rpartition('.')[0]}.{node.value.removesuffix('.py')}"


def is_package(module: Module) -> bool:
    return module.path.name == "__init__.py"


def test_every_module_is_reached():
    imported = {name for module in modules() for name in set(imports(module))}
    lonely = [
        module.where
        for module in product()
        if not is_package(module)
        and module.name not in imported
        and module.name not in ENTRY_POINTS
    ]
    assert not lonely, f"nobody imports these:{listed(lonely)}"


def test_entry_points_are_there():
    assert set(ENTRY_POINTS) <= {module.name for module in product()}


def test_every_folder_of_code_holds_code():
    homes = {module.path.parent for module in product() if not is_package(module)}
    empty = [
        module.where
        for module in product()
        if is_package(module) and not any(home.is_relative_to(module.path.parent) for home in homes)
    ]
    assert not empty, f"an empty package:{listed(empty)}"


def uses() -> Counter[str]:
    """How often each identifier is used, not defined: in code, in strings, in other files."""
    found: Counter[str] = Counter()
    for module in modules():
        for node in module.nodes():
            if isinstance(node, ast.Name):
                found[node.id] += 1
            elif isinstance(node, ast.Attribute):
                found[node.attr] += 1
            elif isinstance(node, ast.keyword) and node.arg:
                found[node.arg] += 1
            elif isinstance(node, ast.alias) and not is_package(module):
                found[node.name] += 1
            elif isinstance(node, ast.Constant) and isinstance(node.value, str):
                found.update(WORD.findall(node.value) if len(node.value) < 200 else ())
    for path, text in texts().items():
        if path.suffix in {".toml", ".html", ".js"}:
            found.update(WORD.findall(text))
    return found


def is_overriding(owner: ast.ClassDef, ours: set[str]) -> bool:
    """Whether a class has a base that is not of this repository: its methods may be hooks."""
    parts = (part.value if isinstance(part, ast.Subscript) else part for part in owner.bases)
    names = {part.id if isinstance(part, ast.Name) else getattr(part, "attr", "") for part in parts}
    return bool(names - ours - PLAIN_BASES)


def definitions(module: Module, ours: set[str]) -> Iterator[tuple[ast.AST, str]]:
    """What a module defines for use: functions, classes, constants, methods."""
    for node in module.tree.body:
        if isinstance(node, ast.AnnAssign | ast.Assign):
            targets = node.targets if isinstance(node, ast.Assign) else [node.target]
            yield from ((node, name.id) for name in targets if isinstance(name, ast.Name))
        elif isinstance(node, FUNCTIONS):
            if not node.decorator_list:
                yield node, node.name
        elif isinstance(node, ast.ClassDef):
            yield node, node.name
            if not is_overriding(node, ours):
                yield from (
                    (part, part.name)
                    for part in node.body
                    if isinstance(part, FUNCTIONS)
                    and all(
                        getattr(mark, "id", "") in {"property", "classmethod", "staticmethod"}
                        for mark in part.decorator_list
                    )
                )


def test_every_definition_is_used():
    ours = {node.name for module in product() for node in module.nodes(ast.ClassDef)}
    used = uses()
    assigned = Counter(
        node.id
        for module in modules()
        for node in module.nodes(ast.Name)
        if isinstance(node.ctx, ast.Store)
    )
    dead = [
        f"{module.at(node)}: {name}"
        for module in product()
        if module.name != WIRE_NAMES
        for node, name in definitions(module, ours)
        if not name.startswith("__") and used[name] - assigned[name] <= 0
    ]
    assert not dead, f"defined and never used:{listed(dead)}"
