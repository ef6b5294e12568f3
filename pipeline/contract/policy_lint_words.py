"""What is wrong with a bundle's words and numbers: codes, labels, kinds of references, how event
types relate, the brake.

Must never change a bundle, nor judge what a code ought to mean.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Final

from pipeline.contract.bundle import DialectCase, EventTypeModel, LoadedBundle
from pipeline.contract.yaml_lines import Finding
from pipeline.governance.vocabulary import Cardinality

BUNDLE, CATALOGUE, PLATFORMS = "bundle.yaml", "catalogue.yaml", "platforms.yaml"
REFERENCE_KINDS: Final = ("PRO", "BOL", "LOAD", "CONTAINER", "PARCEL", "BOOKING", "PO", "SEAL")
"""Kinds of references that sources give; event ids are bound by `retracts_by_id` alone."""
_AT_STOPS: Final = frozenset({Cardinality.STOP, Cardinality.ATTEMPT})


def findings(loaded: LoadedBundle) -> list[Finding]:
    """Everything of that kind."""
    return [
        *_cases(loaded),
        *_labels(loaded),
        *_binds(loaded),
        *_relations(loaded),
        *_circles(loaded),
        *_brake(loaded),
    ]


def _cases(loaded: LoadedBundle) -> Iterator[Finding]:
    """Cases of one code that have the same conditions: the second is never reached."""
    for file, document in loaded.documents.items():
        if not file.startswith("dialects/"):
            continue
        dialect = next(
            row for row in loaded.bundle.dialects if row.dialect == document.content["dialect"]
        )
        for status, meaning in dialect.codes.items():
            if isinstance(meaning, str):
                continue
            seen: dict[tuple[str | None, ...], DialectCase] = {}
            for number, case in enumerate(meaning):
                conditions = (case.reason, case.qualifier, case.stop_role, case.classifier)
                first = seen.setdefault(conditions, case)
                if first is not case:
                    yield loaded.finding(
                        file,
                        ("codes", status, number),
                        status,
                        f"mapped twice: under the same conditions it means {first.event_type}",
                        "Give the cases different conditions, or remove one",
                    )


def _labels(loaded: LoadedBundle) -> Iterator[Finding]:
    """Labels that a tenant's customers would miss."""
    tenants = loaded.bundle.heading.tenants
    for position, row in enumerate(loaded.bundle.event_types):
        at = ("event_types", position)
        for name in sorted(row.tenant_labels.keys() - tenants.keys()):
            yield loaded.finding(
                CATALOGUE,
                (*at, "tenant_labels", name),
                name,
                "no such tenant",
                "Correct the name",
            )
        used: dict[str, list[str]] = {}
        for name, tenant in tenants.items():
            if tenant.language not in {*row.labels, *row.tenant_labels.get(name, {})}:
                used.setdefault(tenant.language, []).append(name)
        for language, names in used.items():
            yield loaded.finding(
                CATALOGUE,
                (*at, "labels"),
                row.name,
                f"no label in {language!r}, the language of {', '.join(names)}",
                f"Add `{language}: …` to its labels",
            )


def _binds(loaded: LoadedBundle) -> Iterator[Finding]:
    for position, row in enumerate(loaded.bundle.platforms):
        for kind in row.binds:
            if kind.partition(":")[0] not in REFERENCE_KINDS:
                yield loaded.finding(
                    PLATFORMS,
                    ("platforms", position, "binds"),
                    kind,
                    f"no kind of reference that {row.name} could bind",
                    f"Kinds are {', '.join(REFERENCE_KINDS)}, or one with its scope, as PRO:RDLN;"
                    " event ids need retracts_by_id: true",
                )


def _relations(loaded: LoadedBundle) -> Iterator[Finding]:
    """How event types relate: contests, cancels, closes, sets_plan."""
    kinds = {row.name: row for row in loaded.bundle.event_types}
    for position, row in enumerate(loaded.bundle.event_types):
        for field, why, remedy in _related(row, kinds):
            location = ("event_types", position, field)
            yield loaded.finding(CATALOGUE, location, row.name, why, remedy)


def _related(
    row: EventTypeModel, kinds: dict[str, EventTypeModel]
) -> Iterator[tuple[str, str, str]]:
    if row.contests:
        other = kinds.get(row.contests)
        if other is None:
            yield "contests", f"contests {row.contests}, which is no event type", "Correct the name"
        elif other is row:
            yield "contests", "contests itself", "Name the event type that it calls into question"
        elif other.entity is not row.entity:
            whose = f"{row.contests} is about a {other.entity.value}, this about a {row.entity}"
            yield "contests", whose, "Two entities never share a decision: contest one of its own"
        elif other.cardinality not in _AT_STOPS:
            yield (
                "contests",
                f"{row.contests} is not told stop by stop, so nothing is contested at the same one",
                "Contest an event type with cardinality stop or attempt",
            )
    if row.cancels and row.physical:
        yield (
            "cancels",
            "something that moved can't be a cancellation",
            "Remove cancels or physical",
        )
    if row.cancels and row.closes:
        yield "closes", "what cancels doesn't deliver", "Remove cancels or closes"
    if row.closes and row.cardinality in _AT_STOPS and not row.stop_roles:
        yield (
            "closes",
            "closes at all stops with its roles, and has none",
            "Give stop_roles, e.g. [DELIVERY, DESTINATION]",
        )
    if row.sets_plan and row.cardinality not in {Cardinality.ONCE, Cardinality.DOCUMENT}:
        yield (
            "sets_plan",
            f"a plan is given once or per document, not per {row.cardinality.value}",
            "Change the cardinality, or remove sets_plan",
        )
    if bool(row.partial_rank) != bool(row.partial_status):
        yield "partial_status", "partial_rank and partial_status belong together", "Give both"
    if row.partial_rank > row.rank:
        yield "partial_rank", "a part ranks above the whole", "Give it a lower rank"
    for name in row.predecessors:
        other = kinds.get(name)
        if row.strict and other is not None and other.entity is not row.entity:
            yield (
                "predecessors",
                f"waits for {name} of a {other.entity.value}, which it never sees",
                "A strict event type waits for its own entity's only",
            )


def _circles(loaded: LoadedBundle) -> Iterator[Finding]:
    """Strict event types that wait for each other, for ever."""
    strict = {row.name: list(row.predecessors) for row in loaded.bundle.event_types if row.strict}
    for position, row in enumerate(loaded.bundle.event_types):
        reached: set[str] = set()
        ahead = list(strict.get(row.name, ()))
        while ahead:
            name = ahead.pop()
            if name not in reached:
                reached.add(name)
                ahead += strict.get(name, ())
        if row.name in reached:
            yield loaded.finding(
                CATALOGUE,
                ("event_types", position, "predecessors"),
                row.name,
                "it waits for itself, by what it waits for",
                "Break the circle",
            )


def _brake(loaded: LoadedBundle) -> Iterator[Finding]:
    brake = loaded.bundle.heading.brake
    flaws = []
    if brake.run < 2:
        flaws.append(("run", "a single bad record would hold a platform back", "Give at least 2"))
    if brake.ratio >= 1:
        why = "more than all of the records can't be bad: the share never holds a platform back"
        flaws.append(("ratio", why, "Give less than 1"))
    elif brake.run > brake.window:
        why = "the share of the window is exceeded before so many bad ones come in a row"
        flaws.append(("run", why, f"Give at most the window, {brake.window}"))
    if brake.window < 10:
        flaws.append(("window", "a share of so few records says nothing", "Give at least 10"))
    for field, why, remedy in flaws:
        what = f"brake {field} {getattr(brake, field)}"
        yield loaded.finding(BUNDLE, ("brake", field), what, why, remedy)
