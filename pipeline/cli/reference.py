"""`python -m pipeline.cli.reference`: the reference pages, drawn from code and policy.

A page is a pure function of the tables that the product itself uses, so it can't drift; a test
fails while a committed page is not what this module makes. Must never hold a fact of its own.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable, Iterator
from datetime import timedelta
from pathlib import Path
from typing import Annotated, Any, Final, get_args

import typer

from pipeline.cli.flow_drawing import drawing
from pipeline.cli.main import app
from pipeline.contract import bundle, topics
from pipeline.contract.names import data_root
from pipeline.governance.alerts import ALERTS
from pipeline.governance.decisions import table as transitions
from pipeline.governance.reasons import MEANINGS, Reason
from pipeline.settings import PREFIX, Settings
from pipeline.telemetry.metrics import METRICS
from pipeline.testing import scenario_file

_MADE: Final = "<!-- Made by `make docs`. Edit what it is made from instead. -->"
_UNITS = ((86_400, "d"), (3_600, "h"), (60, "min"), (1, "s"))


def reasons() -> str:
    """Every reason, and what a dead letter of it asks for."""
    rows = [
        (
            f"`{reason.value}`",
            MEANINGS[reason].text,
            failure.value if (failure := MEANINGS[reason].failure) else "",
            "yes" if MEANINGS[reason].retryable else "no" if failure else "",
        )
        for reason in Reason
    ]
    return _page(
        "Reasons",
        "Why a record was decided as it was: in the ledger, in approved records, in dead letters"
        " and in `milepost audit show`. A reason with a class can end in the dead letter. DATA: the"
        " sender has to repair it. POLICY: what was waited for did not come. CONFIG: the bundle or"
        " the registry lacks something. Retryable: sending the same bytes through again can help"
        " (`milepost dead-letters replay`).",
        _table(("reason", "meaning", "dead letter class", "retryable"), rows),
    )


def metrics() -> str:
    """Every metric with its attributes."""
    rows = [
        (f"`{name}`", row.kind.value, row.unit, row.meaning, _codes(row.attributes))
        for name, row in METRICS.items()
    ]
    return _page(
        "Metrics",
        "OpenTelemetry; Prometheus on `MILEPOST_METRICS_PORT`, OTLP to `MILEPOST_OTLP_ENDPOINT`."
        " Recorded per batch. Attributes are bounded sets, never ids.",
        _table(("metric", "kind", "unit", "meaning", "attributes"), rows),
    )


def topic_list() -> str:
    """Every topic, its contract and who is behind it."""
    declared = topics.load().topics
    rows = [
        (
            f"`{row.name}`",
            row.purpose,
            row.owner,
            row.key,
            f"{row.schema_name} ({row.compatibility})" if row.schema_name else "none",
            "compacted" if row.compacted else _retention(row.retention_days),
            ", ".join(row.producers),
            ", ".join(row.consumers),
        )
        for row in declared
    ]
    inputs = ", ".join(f"`{row.name}`" for row in declared if row.input)
    heading = ("topic", "purpose", "owner", "key", "schema", "kept", "producers", "consumers")
    return _page(
        "Topics",
        "Declared in `topics.yaml`; `milepost topics plan` compares a cluster with it, `milepost"
        " topics apply` brings it there. All are stamped on append. The subject of a topic with a"
        " schema is `<topic>-value`.",
        _table(heading, rows),
        f"Inputs of the governor share partition count, key and partitioner (murmur2): {inputs}.",
    )


def settings() -> str:
    """Every environment variable."""
    rows = [
        (
            f"`{PREFIX}{name.upper()}`",
            _kind(field.annotation),
            "" if field.default is None else f"`{field.default}`",
            field.description or "",
        )
        for name, field in Settings.model_fields.items()
    ]
    return _page(
        "Settings",
        "Read from the environment by every command. A wrong value ends the command with the"
        " variable and the remedy. `milepost settings` prints this list.",
        _table(("variable", "type", "default", "meaning"), rows),
    )


def ownership() -> str:
    """Who may say what in the bundle that ships."""
    shipped = bundle.load_files().bundle
    regions = tuple(shipped.heading.regions)
    matrices = [
        f"## Tenant `{tenant}`\n\n"
        + _table(
            ("event type", *(f"in {region}" for region in regions)),
            [
                (f"`{row.name}`", *(_owners(shipped, tenant, row.name, here) for here in regions))
                for row in shipped.event_types
            ],
        )
        for tenant in shipped.heading.tenants
    ]
    rules = [
        (
            f"`{rule.rule}`",
            f"`{rule.owner}`",
            "; ".join(map(_deputy, rule.deputies)) or "none",
            _span(rule.tolerance) if rule.tolerance else "equal only",
            rule.from_.date().isoformat() + (f" to {rule.until.date()}" if rule.until else ""),
        )
        for rule in shipped.rules
    ]
    platforms = [
        (
            f"`{row.name}`",
            row.role.value,
            row.region,
            row.tenant or "by account",
            _codes(row.topics),
            f"`{row.dialect}`",
        )
        for row in shipped.platforms
    ]
    return _page(
        "Ownership",
        f"Bundle {shipped.version}, from `policy/ownership.yaml`. There is exactly one owner for"
        " every combination of tenant, event type, region and time; `milepost policy check` proves"
        " it. The region is where it happened, never the sender's own.",
        *matrices,
        "## Rules\n\nA deputy stands in, provisionally, after that much silence of the owner. Two"
        " platforms' times agree within the tolerance.",
        _table(("rule", "owner", "deputies", "tolerance", "since"), rules),
        "## Platforms",
        _table(("platform", "role", "region", "tenant", "topics", "dialect"), platforms),
    )


def event_types() -> str:
    """The catalogue of milestones in the bundle that ships."""
    shipped = bundle.load_files().bundle
    rows = [
        (
            f"`{row.name}`",
            row.entity.value,
            row.cardinality.value,
            row.domain.value,
            f"{row.rank} `{row.status}`" if row.status else "",
            _codes(row.predecessors) + (" (strict)" if row.strict else ""),
            row.labels.get("en", ""),
            row.labels.get("de", ""),
        )
        for row in shipped.event_types
    ]
    heading = ("event type", "of", "occurs per", "domain", "status", "expected before")
    return _page(
        "Event types",
        f"Bundle {shipped.version}, from `policy/catalogue.yaml`. The status is where a standing"
        " milestone puts its entity, the number its rank. A strict type waits for what is expected"
        " before it; others are approved at once and name what was skipped. Customers see labels.",
        _table((*heading, "customer label (en)", "(de)"), rows),
    )


def commands() -> str:
    """Every command with its options."""
    sections = [
        "\n\n".join(part for part in (f"## `{name}`", text, options) if part)
        for name, text, options in _commands("milepost", typer.main.get_command(app))
    ]
    return _page(
        "Commands",
        "Every inspecting command takes `--json`: one document on standard output; logs and"
        " progress go to standard error. Exit codes: 0 fine, 1 a check found something, 2 wrong"
        " use, 3 a dependency is unreachable.",
        *sections,
    )


def semantics() -> str:
    """The page on what the kernel decides: written by hand, its tables made."""
    text = (data_root() / "docs" / "reference" / "semantics.md").read_text("utf-8")
    tables = {"cases": _cases(), "transitions": "\n".join(transitions()), "alerts": _alerts()}

    def made(block: re.Match[str]) -> str:
        return f"<!-- made: {block[1]} -->\n{tables[block[1]]}\n<!-- end -->"

    return re.sub(r"<!-- made: (\w+) -->\n.*?<!-- end -->", made, text, flags=re.DOTALL)


def _cases() -> str:
    """The scenario files, as the reader of a checkout finds them."""
    folder = data_root() / "tests" / "scenarios"
    rows = []
    for path in sorted(folder.glob("*.yaml")):
        scenario = scenario_file.load(path)
        link = f"[{path.stem}](../../tests/scenarios/{path.name})"
        rows.append((scenario.case, scenario.title, link))
    rows.sort(key=lambda row: (row[0].zfill(2), row[2]))
    return _table(("case", "what it is about", "scenario"), rows)


def _alerts() -> str:
    rows = [
        (f"`{kind.value}`", row.severity.value, row.summary, row.remedy)
        for kind, row in ALERTS.items()
    ]
    return _table(("alert", "severity", "what it says", "what to do"), rows)


PAGES: Final[dict[str, Callable[[], str]]] = {
    "cli.md": commands,
    "decision-flow.svg": drawing,
    "event-types.md": event_types,
    "metrics.md": metrics,
    "ownership.md": ownership,
    "reasons.md": reasons,
    "semantics.md": semantics,
    "settings.md": settings,
    "topics.md": topic_list,
}
"""File below docs/reference/ and what makes it."""


def _commands(name: str, command: Any) -> Iterator[tuple[str, str, str]]:
    """Yield (name, help, table of parameters) of a command's leaves, in the order of `--help`."""
    if hasattr(command, "commands"):
        for key, below in command.commands.items():
            if not below.hidden:
                yield from _commands(f"{name} {key}", below)
        return
    parameters = [
        parameter
        for parameter in command.params
        if not getattr(parameter, "hidden", False) and parameter.name != "help"
    ]
    rows = [
        (
            _spelled(parameter),
            "" if _silent(parameter.default) else f"`{parameter.default}`",
            getattr(parameter, "help", None) or "",
        )
        for parameter in parameters
    ]
    text = " ".join((command.help or "").split())
    yield name, text, _table(("argument or option", "default", "meaning"), rows) if rows else ""


def _spelled(parameter: Any) -> str:
    if parameter.param_type_name == "argument":
        written = f"`{parameter.name.upper()}`"
        return written if parameter.required else f"{written} (optional)"
    names = [*parameter.opts, *parameter.secondary_opts]
    shown = ", ".join(f"`{name}`" for name in names)
    return f"{shown} (required)" if parameter.required else shown


def _silent(default: Any) -> bool:
    return default is None or default is False or callable(default) or default == ()


def _owners(shipped: bundle.Bundle, tenant: str, event_type: str, region: str) -> str:
    return "; ".join(
        f"`{rule.owner}` ({rule.rule})"
        for rule in shipped.rules
        if event_type in rule.event_types
        and (rule.tenants == "any" or tenant in rule.tenants)
        and (rule.regions == "any" or region in rule.regions)
    )


def _deputy(deputy: bundle.Deputy) -> str:
    who = f"`{deputy.platform}`" if deputy.platform else f"any {deputy.role}"
    return f"{who} after {_span(deputy.after)}"


def _span(span: timedelta) -> str:
    left, parts = int(span.total_seconds()), []
    for size, unit in _UNITS:
        count, left = divmod(left, size)
        if count:
            parts.append(f"{count} {unit}")
    return " ".join(parts) or "0 s"


def _retention(days: int | None) -> str:
    return "for ever" if days is None or days < 0 else f"{days} d"


def _kind(annotation: Any) -> str:
    kinds = [kind for kind in get_args(annotation) or (annotation,) if kind is not type(None)]
    words = {"str": "text", "int": "number", "SecretStr": "secret", "bool": "true or false"}
    return " or ".join(words.get(kind.__name__, kind.__name__.lower()) for kind in kinds)


def _codes(values: Iterable[str]) -> str:
    return ", ".join(f"`{value}`" for value in values)


def _table(heading: tuple[str, ...], rows: Iterable[tuple[str, ...]]) -> str:
    def line(cells: Iterable[str]) -> str:
        return f"| {' | '.join(cell.replace('|', chr(92) + '|') for cell in cells)} |"

    lines = [line(heading), line("---" for _ in heading), *map(line, rows)]
    return "\n".join(" ".join(text.split()) for text in lines)


def _page(title: str, introduction: str, *parts: str) -> str:
    return "\n\n".join((_MADE, f"# {title}", introduction, *parts)) + "\n"


def write(
    folder: Annotated[
        Path | None, typer.Option(help="Where to; default: docs/reference/ of the checkout.")
    ] = None,
) -> None:
    """Write every reference page."""
    home = folder or data_root() / "docs" / "reference"
    home.mkdir(parents=True, exist_ok=True)
    for name, make in PAGES.items():
        (home / name).write_text(make(), encoding="utf-8")
    typer.echo(f"Wrote {len(PAGES)} pages to {home}", err=True)


if __name__ == "__main__":
    typer.run(write)
