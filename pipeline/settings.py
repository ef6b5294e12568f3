"""Every setting of Milepost: environment names `MILEPOST_*`, their types, defaults and meaning.

The only module that reads the environment. It must never open a connection or a file.
"""

from __future__ import annotations

import os
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from pydantic import BaseModel, ConfigDict, Field, SecretStr, ValidationError

PREFIX = "MILEPOST_"


class SettingsError(ValueError):
    """A setting has a value that can't be used; the message names the variable and the remedy."""


class Settings(BaseModel):
    """What can be set from outside. Field `x_y` is read from `MILEPOST_X_Y`."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    # Where things are
    bootstrap_servers: str | None = Field(
        None,
        description="Kafka bootstrap servers. Empty: the running local stack, else an embedded one",
    )
    registry_url: str | None = Field(
        None,
        description="Schema registry with the Confluent API. Empty: the local stack's",
    )
    state_dir: Path = Field(
        Path(".milepost"),
        description="Durable data of the local stack and of sinks: topics, stores, logs",
    )
    cache_dir: Path | None = Field(
        None,
        description="Downloaded artifacts. Empty: milepost/ under the user's cache folder",
    )
    policy_dir: Path | None = Field(
        None, description="Folder of the policy bundle. Empty: the one that ships with Milepost"
    )

    pure: bool = Field(
        default=False,
        description="Run the hot path in pure Python even where its compiled form is there",
    )
    topics_file: Path | None = Field(
        None,
        description="File that declares the topics. Empty: the topics.yaml that ships with "
        "Milepost",
    )

    # Kafka clients: passed through to every producer, consumer and admin client
    kafka_security_protocol: str | None = Field(
        None, description="librdkafka security.protocol: PLAINTEXT, SSL, SASL_PLAINTEXT, SASL_SSL"
    )
    kafka_sasl_mechanism: str | None = Field(
        None, description="librdkafka sasl.mechanism: PLAIN, SCRAM-SHA-512, OAUTHBEARER"
    )
    kafka_sasl_username: str | None = Field(None, description="SASL user name")
    kafka_sasl_password: SecretStr | None = Field(None, description="SASL password")
    kafka_ssl_ca_location: Path | None = Field(None, description="File of trusted CA certificates")
    kafka_ssl_certificate_location: Path | None = Field(None, description="Client certificate")
    kafka_ssl_key_location: Path | None = Field(None, description="Client key")
    kafka_ssl_key_password: SecretStr | None = Field(None, description="Password of the client key")
    registry_username: str | None = Field(None, description="Basic authentication of the registry")
    registry_password: SecretStr | None = Field(None, description="Its password")
    registry_ca_location: Path | None = Field(
        None,
        description="File of the CA certificates (PEM) that the registry's is checked with. Empty: "
        "the public ones",
    )

    # The governor
    governor_group: str = Field(
        "milepost-governor", description="Consumer group and prefix of transactional ids"
    )
    governor_slot: str = Field(
        "0", description="Name of this worker: its static membership and transactional id"
    )
    governor_batch_records_max: int = Field(
        10_000, ge=1, le=100_000, description="Records in one transaction at most"
    )
    governor_linger_ms: int = Field(
        25,
        ge=1,
        le=1_000,
        description="How long the broker gathers records before a worker gets them: latency"
        " against the broker's CPU",
    )
    governor_session_ms: int = Field(
        6_000, ge=1_000, le=300_000, description="Kafka session time-out of a worker"
    )
    transaction_timeout_ms: int = Field(
        15_000, ge=5_000, le=900_000, description="Kafka transaction time-out of a worker"
    )
    tick_ms: int = Field(
        60_000, ge=500, le=600_000, description="How often an idle partition's clock is moved"
    )
    record_bytes_max: int = Field(
        262_144, ge=1_024, description="Raw records above this size go undecoded to the dead letter"
    )

    cloudevents: bool = Field(
        default=False,
        description="Whether approved records also have the headers of CloudEvents (binary mode)",
    )

    # HTTP servers: loopback unless told otherwise
    host: str = Field("127.0.0.1", description="Address that every HTTP server binds to")
    public_hosts: str | None = Field(
        None,
        description="Host names under which the pages are published, comma-separated. Empty: only "
        "loopback names, if the address is loopback",
    )
    portal_port: int = Field(0, ge=0, le=65_535, description="Port of the portal; 0: a free one")
    webhook_port: int = Field(0, ge=0, le=65_535, description="Port of the webhook source")
    metrics_port: int | None = Field(
        None,
        ge=0,
        le=65_535,
        description="Port of the Prometheus endpoint; under `milepost up` the first of several, "
        "one for each process, 0: free ones. Empty: no endpoint",
    )
    otlp_endpoint: str | None = Field(
        None, description="OpenTelemetry collector (HTTP). Empty: nothing is sent"
    )
    webhook_secret: SecretStr | None = Field(
        None,
        description="Shared secrets of the webhook source, the newest first, comma-separated; "
        "platform=secret for one platform only. Empty: one is made in the state dir, on loopback",
    )
    mailbox_dir: Path | None = Field(
        None, description="Folder that the mailbox source watches. Empty: mailbox/ in the state dir"
    )
    mailbox_poll_ms: int = Field(
        1_000,
        ge=50,
        le=600_000,
        description="How often the mailbox looks; a file unchanged between two looks is complete",
    )
    watermark_interval_ms: int = Field(
        60_000,
        ge=1_000,
        le=86_400_000,
        description="How often a source says at most up to when a platform has told everything",
    )
    partners_dir: Path | None = Field(
        None, description="Folder of partner profiles. Empty: the one that ships with Milepost"
    )

    # Sinks
    portal_database_url: str | None = Field(
        None,
        description="URL of the portal's store, SQLite or postgresql+psycopg://USER:PASSWORD@HOST/"
        "NAME. Empty: SQLite in the state dir",
    )
    portal_group: str = Field(
        "milepost-portal",
        description="Consumer group of the portal's sink; each store needs a group of its own",
    )
    portal_tenant: str | None = Field(
        None, description="The only tenant that the portal shows. Empty: all of them"
    )
    portal_staff: bool = Field(
        default=False,
        description="Whether the portal is for staff: it names who stated something by hand, and "
        "why; a customer reads that the operations desk did",
    )
    portal_stale_ms: int = Field(
        30_000,
        ge=1_000,
        description="Age of the last verification above which the portal calls its story stale",
    )
    erp_url: str | None = Field(None, description="Base URL of the ERP's posting API")
    erp_token: SecretStr | None = Field(
        None, description="Bearer token that the ERP sink shows to the ERP"
    )
    erp_group: str = Field(
        "milepost-erp",
        description="Consumer group of the ERP sink; each outbox needs a group of its own",
    )
    erp_slot: str = Field(
        "0", description="Name of this worker of the ERP sink: its static membership"
    )
    erp_database_url: str | None = Field(
        None, description="SQLAlchemy URL of the ERP sink's outbox. Empty: SQLite in the state dir"
    )
    log_format: str = Field(
        "console", pattern="^(console|json)$", description="console for people, json for machines"
    )
    log_level: str = Field(
        "INFO", pattern="^(DEBUG|INFO|WARNING|ERROR)$", description="Least level that is logged"
    )

    def kafka_client(self) -> dict[str, Any]:
        """Settings that every librdkafka client gets, without `bootstrap.servers`.

        Returns:
            librdkafka configuration properties, only those that are set.

        """
        names = {
            "security.protocol": self.kafka_security_protocol,
            "sasl.mechanism": self.kafka_sasl_mechanism,
            "sasl.username": self.kafka_sasl_username,
            "sasl.password": _reveal(self.kafka_sasl_password),
            "ssl.ca.location": _text(self.kafka_ssl_ca_location),
            "ssl.certificate.location": _text(self.kafka_ssl_certificate_location),
            "ssl.key.location": _text(self.kafka_ssl_key_location),
            "ssl.key.password": _reveal(self.kafka_ssl_key_password),
        }
        return {name: value for name, value in names.items() if value is not None}


def load(environ: Mapping[str, str] | None = None) -> Settings:
    """Read the settings from the environment.

    Args:
        environ: variables to read instead of the process environment.

    Raises:
        SettingsError: a variable is unknown or its value can't be used.

    """
    source = os.environ if environ is None else environ
    given = {
        name.removeprefix(PREFIX).lower(): value
        for name, value in source.items()
        if name.startswith(PREFIX) and value != ""
    }
    try:
        return Settings.model_validate(given)
    except ValidationError as error:
        raise SettingsError("; ".join(_explain(item) for item in error.errors())) from None


def _explain(item: Any) -> str:
    field = str(item["loc"][0])
    name = PREFIX + field.upper()
    if item["type"] == "extra_forbidden":
        return f"{name} is no setting of Milepost: remove it, or see `milepost settings`"
    described = Settings.model_fields[field].description
    return f"{name} is {item['input']!r}: {_remedy(item)} ({described})"


def _remedy(item: Any) -> str:
    """What to give instead, in our words where pydantic's say how it parses."""
    given = item.get("ctx", {})
    match item["type"]:
        case "int_parsing":
            return "give a whole number"
        case "greater_than_equal":
            return f"give {given['ge']} or more"
        case "less_than_equal":
            return f"give {given['le']} or less"
        case "bool_parsing":
            return "give true or false"
        case "string_pattern_mismatch":
            return f"give {given['pattern'].strip('^()$').replace('|', ' or ')}"
    return str(item["msg"])


def _reveal(secret: SecretStr | None) -> str | None:
    return None if secret is None else secret.get_secret_value()


def _text(path: Path | None) -> str | None:
    return None if path is None else str(path)
