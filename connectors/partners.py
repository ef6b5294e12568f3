"""Partner profiles: `partners/<name>/profile.yaml`, one folder a partner, no code.

A profile says who a partner is, how its documents are read and what is done about each finding.
Must never know how a format is parsed.
"""

from __future__ import annotations

from pathlib import Path
from typing import Literal, Self
from zoneinfo import available_timezones

from pydantic import (
    BaseModel,
    ConfigDict,
    Field,
    ValidationError,
    field_validator,
    model_validator,
)

from connectors.formats.codes import MEANINGS, STRICTNESS, Action, Code, Family
from connectors.formats.findings import FindingPolicy
from connectors.formats.reading import Context, ZoneOf, no_zone
from pipeline.contract.names import data_root
from pipeline.contract.yaml_lines import Document, Finding, InvalidFileError, read

PROFILE = "profile.yaml"


class Sender(BaseModel):
    """An interchange sender id; without a qualifier it counts with any."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    id: str = Field(min_length=1, description="ISA06 without padding")
    qualifier: str | None = Field(None, description="ISA05")


class Profile(BaseModel):
    """`profile.yaml` of one partner."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    name: str = Field(pattern=r"^[a-z0-9][a-z0-9-]*$", description="As its folder")
    platform: str = Field(description="Name in policy/platforms.yaml; topic and tenant are there")
    format: Literal["x12"]
    senders: list[Sender] = Field(min_length=1, description="By whom its documents are sent")
    sets: list[str] = Field(["214"], min_length=1, description="Transaction sets that are read")
    time_zone: str | None = Field(
        None, description="IANA zone of last resort for local times, and of document headers"
    )
    country: str | None = Field(
        None, pattern=r"^[A-Z]{2}$", description="ISO 3166-1 code of places without a country"
    )
    envelope_policy: dict[Code, Action] = {}
    content_policy: dict[Code, Action] = {}
    time_policy: dict[Code, Action] = {}

    @field_validator("time_zone")
    @classmethod
    def _known_zone(cls, name: str | None) -> str | None:
        if name is not None and name not in available_timezones():
            raise ValueError(f"{name!r} is no IANA time zone, such as America/Chicago")
        return name

    @field_validator("envelope_policy", "content_policy", "time_policy")
    @classmethod
    def _possible(cls, actions: dict[Code, Action]) -> dict[Code, Action]:
        for code, action in actions.items():
            mildest = MEANINGS[code].mildest
            if STRICTNESS[action] < STRICTNESS[mildest]:
                raise ValueError(f"{code} can't be {action}: at least {mildest}")
        return actions

    @model_validator(mode="after")
    def _in_the_right_place(self) -> Self:
        for family in Family:
            for code in getattr(self, f"{family}_policy"):
                if MEANINGS[code].family is not family:
                    raise ValueError(f"{code} belongs in {MEANINGS[code].family}_policy")
        return self

    def policy(self) -> FindingPolicy:
        """What is done about each finding."""
        return FindingPolicy(self.envelope_policy | self.content_policy | self.time_policy)

    def context(self, zone_of: ZoneOf = no_zone) -> Context:
        """What a reader has to know.

        Args:
            zone_of: tells the time zone at a stop.

        """
        return Context(
            platform=self.platform,
            time_zone=self.time_zone,
            country=self.country,
            zone_of=zone_of,
            sets=frozenset(self.sets),
            policy=self.policy(),
        )


class Partners:
    """All profiles, found by who sent a document."""

    def __init__(self, profiles: list[Profile]) -> None:
        self.profiles = profiles
        self._by_sender = {
            (sender.qualifier, sender.id): profile
            for profile in profiles
            for sender in profile.senders
        }

    def match(self, qualifier: str, sender: str) -> Profile | None:
        """The partner that sends under this qualifier and id."""
        return self._by_sender.get((qualifier, sender)) or self._by_sender.get((None, sender))


def load_partners(folder: Path | None = None) -> Partners:
    """Read every profile below a folder.

    Args:
        folder: default is the one that ships with Milepost.

    Raises:
        InvalidFileError: a profile can't be used; each finding names file and line.

    """
    root = folder or data_root() / "partners"
    findings: list[Finding] = []
    loaded: list[tuple[Profile, Document]] = []
    for path in sorted(root.glob(f"*/{PROFILE}")):
        try:
            document = read(path, root)
            profile = _profile(document, path.parent.name)
        except InvalidFileError as error:
            findings.extend(error.findings)
        else:
            loaded.append((profile, document))
    findings.extend(_shared_senders(loaded))
    if findings:
        raise InvalidFileError(findings)
    return Partners([profile for profile, _ in loaded])


def _profile(document: Document, folder: str) -> Profile:
    try:
        profile = Profile.model_validate(document.content)
    except ValidationError as error:
        raise InvalidFileError(document.findings(error)) from None
    if profile.name != folder:
        line = document.line(("name",))
        finding = Finding(
            document.file, line, "name", f"the folder is {folder}", "Give both the same name"
        )
        raise InvalidFileError([finding])
    return profile


def _shared_senders(loaded: list[tuple[Profile, Document]]) -> list[Finding]:
    """Two partners can't send under one id."""
    seen: dict[tuple[str | None, str], str] = {}
    found = []
    for profile, document in loaded:
        for index, sender in enumerate(profile.senders):
            key = (sender.qualifier, sender.id)
            if key in seen:
                found.append(
                    Finding(
                        document.file,
                        document.line(("senders", index)),
                        f"sender {sender.id}",
                        f"{seen[key]} has it too",
                        "Tell them apart by `qualifier`, or remove one",
                    )
                )
            seen[key] = profile.name
    return found
