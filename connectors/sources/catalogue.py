"""Every source by its noun, and how each is set up from the settings and run.

Must never know what a source does once it runs.
"""

from __future__ import annotations

import base64
import os
import secrets as randomness
import threading
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Final, NamedTuple, Protocol

import structlog

from connectors.addressing import Addressing
from connectors.partners import Partners, load_partners
from connectors.protocols import ConfigurationError
from connectors.runtime import Publisher, Runtime
from connectors.sources.checkpoint import Checkpoint
from connectors.sources.mailbox import Mailbox
from connectors.sources.signature import Secret, secrets
from connectors.sources.webhook import Webhook
from connectors.watermarks import Watermarks
from pipeline.contract.bundle import load_bundle
from pipeline.kafka.registry import Registry
from pipeline.settings import Settings
from pipeline.telemetry.endpoints import exposed
from pipeline.web.headers import LOOPBACK, hosts_allowed
from pipeline.web.server import serve
from pipeline.web.stopping import stopped_by_signals

SECRET_FILE: Final = "webhook-secret"  # noqa: S105  a file's name
_log = structlog.get_logger(__name__)


class Addresses(NamedTuple):
    """Where Kafka and the registry are."""

    bootstrap: str
    registry_url: str


class Runner(Protocol):
    """Runs one source until it is told to stop."""

    def __call__(
        self,
        settings: Settings,
        where: Addresses,
        *,
        once: bool,
        stop: threading.Event,
        ready: Callable[[str], None] | None,
    ) -> None:
        """Run it; `ready` is told its address, if it has one."""
        ...


def run_source(
    name: str,
    settings: Settings,
    where: Addresses,
    *,
    once: bool = False,
    stop: threading.Event | None = None,
    ready: Callable[[str], None] | None = None,
) -> None:
    """Run a source until it is told to stop: by `stop`, SIGINT or SIGTERM.

    Args:
        name: a name of `SOURCES`.
        settings: what is set from outside.
        where: Kafka and the registry; they may be away, the source waits for them.
        once: read what is there and end, for sources that can.
        stop: set from outside to end it.
        ready: told the base URL of a source that serves, once it does.

    Raises:
        ConfigurationError: it can't run as it is set up.
        pipeline.contract.yaml_lines.InvalidFileError: policy or a partner's profile is wrong.
        pipeline.web.server.AddressInUseError: its port is taken.

    """
    runner = SOURCES.get(name)
    if runner is None:
        raise ConfigurationError(f"There is no source {name!r}: choose {' or '.join(SOURCES)}")
    runner(settings, where, once=once, stop=stop or threading.Event(), ready=ready)


def run_mailbox(
    settings: Settings,
    where: Addresses,
    *,
    once: bool,
    stop: threading.Event,
    ready: Callable[[str], None] | None,
) -> None:
    """Run the mailbox."""
    del ready  # it serves nothing
    addressing = Addressing(load_bundle(settings.policy_dir))
    partners = load_partners(settings.partners_dir)
    check_platforms(partners, addressing)
    folder = settings.mailbox_dir or settings.state_dir / "mailbox"
    checkpoint = Checkpoint(settings.state_dir / "mailbox.sqlite")
    mailbox = Mailbox(folder, checkpoint, partners, addressing.zone_of)
    with (
        Registry.of(settings, where.registry_url) as registry,
        exposed(settings, "source-mailbox") as metrics,
        stopped_by_signals(stop),
    ):
        publisher = Publisher(settings, where.bootstrap, registry, addressing)
        watermarks = Watermarks(settings, where.bootstrap, registry, "source mailbox")
        speakers = {profile.platform for profile in partners.profiles}
        telling = sorted(filter(addressing.tells_watermarks, speakers))

        def swept(began_ms: int) -> None:
            if mailbox.complete():
                watermarks.tell_quietly(telling, began_ms)

        runtime = Runtime(publisher, stop, metrics, swept)
        runtime.run(mailbox, once=once, poll_ms=settings.mailbox_poll_ms)


def run_webhook(
    settings: Settings,
    where: Addresses,
    *,
    once: bool,
    stop: threading.Event,
    ready: Callable[[str], None] | None,
) -> None:
    """Run the webhook."""
    if once:
        raise ConfigurationError("The webhook waits for requests and can't run once: omit --once")
    addressing = Addressing(load_bundle(settings.policy_dir))
    known = webhook_secrets(settings, addressing)
    with (
        Registry.of(settings, where.registry_url) as registry,
        exposed(settings, "source-webhook") as metrics,
    ):
        publisher = Publisher(settings, where.bootstrap, registry, addressing)
        webhook = Webhook(
            publisher,
            addressing,
            known,
            watermarks=Watermarks(settings, where.bootstrap, registry, "source webhook"),
            allowed_hosts=hosts_allowed(settings),
            metrics=metrics,
        )
        webhook.app.stop = stop
        serve(webhook.app, host=settings.host, port=settings.webhook_port, ready=ready)


def check_platforms(partners: Partners, addressing: Addressing) -> None:
    """Refuse profiles of platforms that the bundle doesn't know.

    Raises:
        ConfigurationError: names the profile and the remedy.

    """
    for profile in partners.profiles:
        if not addressing.knows(profile.platform):
            raise ConfigurationError(
                f"partners/{profile.name}/profile.yaml: platform {profile.platform!r} is not in "
                "the policy bundle: add it to policy/platforms.yaml, or correct the name"
            )


def webhook_secrets(settings: Settings, addressing: Addressing) -> tuple[Secret, ...]:
    """The webhook's secrets; on loopback one is made and kept in the state dir if none is set.

    Raises:
        ConfigurationError: none is set, or it can't be read.

    """
    if settings.webhook_secret is not None:
        try:
            return secrets(settings.webhook_secret.get_secret_value(), addressing.platforms)
        except ValueError as error:
            raise ConfigurationError(
                f"MILEPOST_WEBHOOK_SECRET: {error}; give secrets, comma-separated, as whsec_… or "
                "as plain text"
            ) from None
    if settings.host not in LOOPBACK:
        raise ConfigurationError(
            f"The webhook has no secret and would answer on {settings.host}: set "
            "MILEPOST_WEBHOOK_SECRET"
        )
    return secrets(_kept_secret(settings.state_dir / SECRET_FILE), ())


def _kept_secret(path: Path) -> str:
    """A secret that was made at the first start and that only this user can read."""
    path.parent.mkdir(parents=True, exist_ok=True)
    try:
        descriptor = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
    except FileExistsError:
        return path.read_text(encoding="ascii").strip()
    made = "whsec_" + base64.b64encode(randomness.token_bytes(32)).decode()
    with os.fdopen(descriptor, "w", encoding="ascii") as file:
        file.write(made + "\n")
    _log.info("webhook secret made", file=str(path))
    return made


SOURCES: Final[Mapping[str, Runner]] = {"mailbox": run_mailbox, "webhook": run_webhook}
"""Runner by noun."""
