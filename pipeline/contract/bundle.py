"""The policy bundle: the YAML files of `policy/` as one checked, versioned, digested value.

Models and loading; `policy_tables` makes the kernel's tables of it, `policy_lint` judges it. Must
never know how a decision is made.
"""

from __future__ import annotations

import hashlib
import json
from datetime import datetime, timedelta
from functools import cache
from pathlib import Path
from typing import Any, Literal

from pydantic import AwareDatetime, BaseModel, ConfigDict, Field, ValidationError, field_validator

from pipeline.contract.names import data_root
from pipeline.contract.yaml_lines import Document, Finding, InvalidFileError, read
from pipeline.governance.vocabulary import Cardinality, Domain, EntityType, Role

IdRule = Literal["trim", "upper", "strip_zeros", "no_blanks", "alphanumeric"]
StopRole = Literal["ORIGIN", "PICKUP", "TRANSIT", "DELIVERY", "DESTINATION"]


@cache
def _zones() -> frozenset[str]:
    """Names of all time zones: hundreds of files are read for them."""
    from zoneinfo import available_timezones  # noqa: PLC0415  only when a zone is checked

    return frozenset(available_timezones())


class _Model(BaseModel):
    model_config = ConfigDict(frozen=True, extra="forbid")


class Tenant(_Model):
    """A customer of the governed topics, and how far back claims count."""

    horizon: timedelta
    language: str = "en"


class Waits(_Model):
    """How long a claim is held for want of what."""

    region: timedelta
    stop: timedelta
    predecessor: timedelta
    reference: timedelta
    target: timedelta = timedelta(days=3)
    withheld: timedelta = timedelta(days=3)


class References(_Model):
    """For how long a reference names what it was bound to."""

    early: timedelta = timedelta(days=7)
    valid: timedelta = timedelta(days=180)
    lingers: timedelta = timedelta(days=30)
    reused_after: timedelta = timedelta(days=60)


class BrakeModel(_Model):
    """When a platform is held back because most of what it sends is bad."""

    run: int = Field(200, ge=1)
    window: int = Field(1_000, ge=1)
    ratio: float = Field(0.5, gt=0, le=1)


class LimitsModel(_Model):
    """Caps on the state of one entity."""

    open_claims: int = Field(200, ge=1, le=10_000)


class Heading(_Model):
    """`bundle.yaml`."""

    version: str = Field(pattern=r"^[0-9A-Za-z._-]{1,64}$")
    author: str
    approver: str
    effective: AwareDatetime
    tenants: dict[str, Tenant]
    regions: dict[str, list[str]]
    waits: Waits
    references: References = References()
    brake: BrakeModel = BrakeModel()  # type: ignore[call-arg]
    limits: LimitsModel = LimitsModel()  # type: ignore[call-arg]


class EventTypeModel(_Model):
    """A row of `catalogue.yaml`."""

    name: str
    entity: EntityType
    cardinality: Cardinality
    domain: Domain
    rank: int = 0
    status: str = ""
    partial_rank: int = 0
    partial_status: str = ""
    stop_roles: list[StopRole] = []
    predecessors: list[str] = []
    strict: bool = False
    physical: bool = False
    cancels: bool = False
    closes: bool = False
    contests: str = ""
    sets_plan: bool = False
    closed_by: list[str] = []
    estimate_as: str = ""
    labels: dict[str, str]
    tenant_labels: dict[str, dict[str, str]] = {}
    partial_labels: dict[str, str] = {}
    """What customers call `partial_status`."""


class PlatformModel(_Model):
    """A row of `platforms.yaml`."""

    name: str
    role: Role
    region: str
    tenant: str | None = None
    accounts: dict[str, str] = {}
    topics: list[str]
    dialect: str
    site_list: str = ""
    country: str | None = None
    ids: dict[EntityType, list[IdRule]] = {}
    binds: list[str] = []
    retracts_by_id: bool = False
    watermarks: bool = False
    watermark_every: timedelta = timedelta(minutes=5)
    clock_tolerance: timedelta = timedelta(minutes=5)
    earliest: AwareDatetime = datetime.fromisoformat("2000-01-01T00:00:00+00:00")


class SiteModel(_Model):
    """A row of `sites.yaml`."""

    id: str
    tenant: str | None = None
    name: str
    zone: str
    country: str
    city: str = ""
    subdivision: str = ""
    region: str | None = None
    codes: dict[str, list[str]] = {}

    @field_validator("zone")
    @classmethod
    def _known_zone(cls, zone: str) -> str:
        if zone not in _zones():
            raise ValueError(f"{zone!r} is no IANA time zone")
        return zone


class Deputy(_Model):
    """Who may stand in for an owner: one platform, or every platform of a role."""

    platform: str | None = None
    role: Role | None = None
    after: timedelta


class Rule(_Model):
    """A row of `ownership.yaml`."""

    rule: str
    tenants: list[str] | Literal["any"]
    event_types: list[str]
    regions: list[str] | Literal["any"]
    owner: str
    deputies: list[Deputy] = []
    tolerance: timedelta = timedelta(0)
    from_: AwareDatetime = Field(alias="from")
    until: AwareDatetime | None = None
    handover: Literal["by_shipment_start", "by_occurrence"] = "by_shipment_start"
    grace: timedelta = timedelta(0)


class DialectCase(_Model):
    """When a native status means which event type."""

    reason: str | None = None
    qualifier: str | None = None
    stop_role: StopRole | None = None
    classifier: str | None = None
    event_type: str
    retracts: bool = False


class Dialect(_Model):
    """A file of `dialects/`: event type by native status; `ignore` says it is no milestone."""

    dialect: str
    extends: str | None = None
    codes: dict[str, str | list[DialectCase]]


class SyncClass(_Model):
    """A row of `sync-classes.yaml`."""

    name: str
    latency_p99: timedelta
    freshness: timedelta


class Bundle(_Model):
    """Everything that a version of the policy says."""

    heading: Heading
    event_types: list[EventTypeModel]
    platforms: list[PlatformModel]
    sites: list[SiteModel]
    rules: list[Rule]
    dialects: list[Dialect]
    sync_classes: list[SyncClass]

    @property
    def version(self) -> str:
        """Version of the bundle."""
        return self.heading.version

    def document(self) -> bytes:
        """The bundle as the canonical JSON document that is published."""
        content = self.model_dump(mode="json", by_alias=True)
        return json.dumps(
            content, sort_keys=True, separators=(",", ":"), ensure_ascii=False
        ).encode()

    def digest(self) -> str:
        """SHA-256 of the document as this version of Milepost writes it, hex."""
        return digest_of(self.document())

    def label(self, event_type: str, tenant: str, language: str) -> str:
        """What a customer of a tenant calls an event type."""
        for row in self.event_types:
            if row.name == event_type:
                labels = {**row.labels, **row.tenant_labels.get(tenant, {})}
                return labels.get(language) or labels.get("en") or event_type
        return event_type

    def platform(self, name: str) -> PlatformModel | None:
        """A platform by its name."""
        return next((row for row in self.platforms if row.name == name), None)


def digest_of(document: bytes) -> str:
    """SHA-256 of a published document, hex: stays the same whichever version reads it."""
    return hashlib.sha256(document).hexdigest()


def from_document(document: bytes) -> Bundle:
    """Read a published bundle.

    Raises:
        ValueError: the document is no bundle of this version of Milepost.

    """
    return Bundle.model_validate_json(document)


class LoadedBundle:
    """A bundle read from files, which knows the line of everything in it."""

    def __init__(self, bundle: Bundle, documents: dict[str, Document]) -> None:
        self.bundle = bundle
        self.documents = documents

    def finding(
        self, file: str, location: tuple[str | int, ...], what: str, why: str, remedy: str
    ) -> Finding:
        """A finding at a place of a file."""
        document = self.documents[file]
        return Finding(document.file, document.line(location), what, why, remedy)


class CatalogueFile(_Model):
    """`catalogue.yaml`."""

    event_types: list[EventTypeModel]


class PlatformsFile(_Model):
    """`platforms.yaml`."""

    platforms: list[PlatformModel]


class SitesFile(_Model):
    """`sites.yaml`."""

    sites: list[SiteModel]


class OwnershipFile(_Model):
    """`ownership.yaml`."""

    rules: list[Rule]


class SyncClassesFile(_Model):
    """`sync-classes.yaml`."""

    sync_classes: list[SyncClass]


_LISTS: dict[str, type[BaseModel]] = {
    "catalogue.yaml": CatalogueFile,
    "platforms.yaml": PlatformsFile,
    "sites.yaml": SitesFile,
    "ownership.yaml": OwnershipFile,
    "sync-classes.yaml": SyncClassesFile,
}


def load_files(folder: Path | None = None) -> LoadedBundle:
    """Read a bundle from its folder.

    Args:
        folder: default is the one that ships with Milepost.

    Raises:
        InvalidFileError: a file is missing or says what can't be; each finding names file and line.

    """
    root = folder or data_root() / "policy"
    findings: list[Finding] = []
    documents: dict[str, Document] = {}
    parts: dict[str, Any] = {"dialects": []}

    def part(file: str, model: Any) -> Any:
        try:
            document = documents[file] = read(root / file, root)
            return model.model_validate(document.content)
        except InvalidFileError as error:
            findings.extend(error.findings)
        except ValidationError as error:
            findings.extend(documents[file].findings(error))
        return None

    parts["heading"] = part("bundle.yaml", Heading)
    for file, model in _LISTS.items():
        content = part(file, model)
        parts |= {} if content is None else dict(content)
    for path in sorted((root / "dialects").glob("*.yaml")):
        parts["dialects"].append(part(f"dialects/{path.name}", Dialect))
    if findings:
        raise InvalidFileError(findings)
    return LoadedBundle(Bundle.model_validate(parts), documents)


def load_bundle(folder: Path | None = None) -> Bundle:
    """Read a bundle from its folder; see `load_files`."""
    return load_files(folder).bundle
