"""What is imported is declared, what is declared is imported, and every version is pinned."""

from __future__ import annotations

import ast
import json
import re
import subprocess
import sys
import tomllib
from importlib.metadata import distribution, packages_distributions

from repository import PACKAGES, ROOT, listed, modules, product

PROJECT = tomllib.loads((ROOT / "pyproject.toml").read_text("utf-8"))["project"]
NOT_IMPORTED = {
    "tzdata": "time zones for zoneinfo where the system has none",
    "hatchling": "builds the wheel",
    "import-linter": "a command",
    "mypy": "a command",
    "pytest-timeout": "a plugin",
    "pytest-xdist": "a plugin",
    "ruff": "a command",
    "types-psutil": "for mypy",
    "types-pyyaml": "for mypy",
}
TEST_ONLY = {"pipeline.local.containers"}
"""Part of the product for whoever installs the extra `test`."""
SHARED_NAMESPACES = {"opentelemetry"}


def canonical(name: str) -> str:
    return re.sub(r"[-_.]+", "-", name).lower()


def declared(requirements: list[str]) -> set[str]:
    return {canonical(re.match(r"[\w.-]+", text).group()) for text in requirements}


RUN = declared(PROJECT["dependencies"])
EXTRAS = PROJECT["optional-dependencies"]
TEST = (declared(EXTRAS["test"]) | declared(EXTRAS["postgresql"])) - {"milepost"}


def imported(sources) -> dict[str, str]:
    """Distributions that are imported, with one place each."""
    owners = packages_distributions()
    found: dict[str, str] = {}
    for module in sources:
        for node in module.nodes(ast.Import, ast.ImportFrom):
            if isinstance(node, ast.ImportFrom) and node.level:
                continue
            names = (
                [node.module]
                if isinstance(node, ast.ImportFrom)
                else [alias.name for alias in node.names]
            )
            for name in names:
                top = name.split(".")[0]
                if top in sys.stdlib_module_names or top in PACKAGES or top not in owners:
                    continue
                for owner in owners_of(name, owners[top]):
                    found[canonical(owner)] = module.at(node)
    return found


def owners_of(name: str, candidates: list[str]) -> list[str]:
    """Which distributions of a shared namespace hold a module."""
    if name.split(".", maxsplit=1)[0] not in SHARED_NAMESPACES:
        return sorted(set(candidates))
    path = name.replace(".", "/")
    return [
        candidate
        for candidate in sorted(set(candidates))
        if any(
            str(file) in {f"{path}.py", f"{path}/__init__.py"}
            for file in distribution(candidate).files or ()
        )
    ]


def test_what_the_product_imports_is_declared():
    found = imported(module for module in product() if module.name not in TEST_ONLY)
    missing = [f"{where}: {name}" for name, where in found.items() if name not in RUN]
    assert not missing, f"imported, not in pyproject.toml's dependencies:{listed(missing)}"


def test_what_tests_import_is_declared():
    missing = [
        f"{where}: {name}"
        for name, where in imported(modules()).items()
        if name not in RUN | TEST | {"milepost"}
    ]
    assert not missing, f"imported, not declared:{listed(missing)}"


def test_what_is_declared_is_imported():
    idle = RUN - set(imported(product())) - set(NOT_IMPORTED)
    assert not idle, f"declared and never imported:{listed(sorted(idle))}"
    idle = TEST - set(imported(modules())) - set(NOT_IMPORTED)
    assert not idle, f"declared for tests and never imported:{listed(sorted(idle))}"


def test_each_dependency_has_its_reason_written_down():
    page = (ROOT / "docs/adr/0001-dependencies.md").read_text("utf-8").lower()
    silent = [name for name in sorted(RUN | TEST) if f"`{name}`" not in page]
    assert not silent, f"not in docs/adr/0001-dependencies.md:{listed(silent)}"


def test_every_installed_version_is_pinned():
    text = (ROOT / "constraints.txt").read_text("utf-8")
    pins = dict(re.findall(r"^([\w.-]+)==(\S+)$", text, re.MULTILINE))
    pinned = {canonical(name): version for name, version in pins.items()}
    others = [line for line in text.splitlines() if "==" not in line and not line.startswith("#")]
    assert not others
    drifted = [
        f"{name}: {distribution(name).version} is installed, {version} is pinned"
        for name in needed("milepost", {"test"})
        if (version := pinned.get(name, "nothing")) != distribution(name).version
    ]
    assert not drifted, f"run make test in a fresh clone, or raise the pins:{listed(drifted)}"


def needed(root: str, extras: set[str]) -> list[str]:
    """Everything that installing a distribution brings along, by pip's own account."""
    told = subprocess.run(
        [sys.executable, "-m", "pip", "inspect", "--local"],
        check=True,
        capture_output=True,
        text=True,
    ).stdout
    rows = {
        canonical(row["metadata"]["name"]): row["metadata"].get("requires_dist", [])
        for row in json.loads(told)["installed"]
    }
    found, waiting = set(), [(root, extras)]
    while waiting:
        name, wanted = waiting.pop()
        for requirement in rows[name]:
            extra = re.search(r"extra\s*==\s*[\"']([\w-]+)[\"']", requirement)
            other = canonical(re.match(r"[\w.-]+", requirement).group())
            if (extra and extra[1] not in wanted) or other not in rows or other in found:
                continue
            found.add(other)
            asked = re.match(r"[\w.-]+\s*\[([\w,\s-]+)\]", requirement)
            waiting.append((other, set(re.split(r"[,\s]+", asked[1])) if asked else set()))
    return sorted(found - {root})  # one extra may contain another
