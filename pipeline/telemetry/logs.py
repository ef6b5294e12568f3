"""Logs: structured, on standard error, for people or for machines, and without secrets.

Other libraries' log lines get the same form. Must never write to standard output, which belongs to
a command's answer.
"""

from __future__ import annotations

import base64
import json
import logging
import re
import sys
from collections.abc import Callable, Iterable
from typing import Any, Final, TextIO
from urllib.parse import quote

import structlog
from pydantic import SecretStr
from structlog.typing import EventDict, Processor, WrappedLogger

from pipeline.settings import Settings

REDACTED: Final = "[redacted]"
_SECRET_NAMES: Final = re.compile(
    r"password|passwd|secret|token|authorization|api_?key|cookie|signature|credential",
    re.IGNORECASE,
)
_URL_PASSWORD: Final = re.compile(r"(://[^/\s:@'\"]*:)[^/\s@'\"]+(@)")
_SHORTEST = 4
# They log every request or every heartbeat at INFO
_CHATTY = ("httpx", "httpcore", "faust", "mode", "aiokafka", "asyncio", "urllib3", "uvicorn.access")


def configure(settings: Settings, process: str, stream: TextIO | None = None) -> None:
    """Set up logging of this process; calling it again replaces what was set up.

    Args:
        settings: `log_format`, `log_level`, and the secrets that must not show.
        process: which of Milepost's processes this is; every line names it.
        stream: instead of standard error.

    """
    out = sys.stderr if stream is None else stream
    shared: list[Processor] = [
        structlog.contextvars.merge_contextvars,
        structlog.stdlib.add_log_level,
        structlog.stdlib.ExtraAdder(),
        structlog.processors.TimeStamper(fmt="iso", utc=True),
        _named(process),
        redact_names,
    ]
    structlog.configure(
        processors=[*shared, structlog.stdlib.ProcessorFormatter.wrap_for_formatter],
        wrapper_class=structlog.make_filtering_bound_logger(
            logging.getLevelNamesMapping()[settings.log_level]
        ),
        logger_factory=structlog.stdlib.LoggerFactory(),
        cache_logger_on_first_use=False,
    )
    rendering: list[Any] = [
        structlog.stdlib.ProcessorFormatter.remove_processors_meta,
        *_renderers(settings.log_format, colours=out.isatty()),
        Redaction(_secrets(settings)),
    ]
    formatter = structlog.stdlib.ProcessorFormatter(foreign_pre_chain=shared, processors=rendering)
    handler = logging.StreamHandler(out)
    handler.setFormatter(formatter)
    root = logging.getLogger()
    root.handlers[:] = [handler]
    root.setLevel(settings.log_level)
    for name in _CHATTY:
        logging.getLogger(name).setLevel(logging.WARNING)


def redact_names(_: WrappedLogger, __: str, event: EventDict) -> EventDict:
    """Blank out values whose name says that they are secret, however deep."""
    for name, value in event.items():
        event[name] = REDACTED if _SECRET_NAMES.search(name) else _redacted(value)
    return event


class Redaction:
    """Blanks out known secrets in a rendered line, wherever they come from: texts, tracebacks."""

    def __init__(self, secrets: Iterable[str]) -> None:
        """Prepare for each secret every form in which it may be rendered."""
        forms = {
            twice  # a text inside a text is escaped twice
            for secret in secrets
            for once in _forms(secret)
            for twice in _forms(once)
        }
        longest_first = sorted((form for form in forms if form), key=len, reverse=True)
        self._known = re.compile("|".join(map(re.escape, longest_first))) if forms else None

    def __call__(self, _: WrappedLogger, __: str, line: str) -> str:
        """Return the line without secrets."""
        if self._known is not None:
            line = self._known.sub(REDACTED, line)
        return _URL_PASSWORD.sub(rf"\g<1>{REDACTED}\g<2>", line)


def _renderers(form: str, *, colours: bool) -> list[Any]:
    if form == "json":
        return [
            structlog.processors.format_exc_info,
            structlog.processors.JSONRenderer(default=str),
        ]
    # Plain tracebacks: the pretty ones show the values of variables
    return [
        structlog.dev.ConsoleRenderer(
            colors=colours, exception_formatter=structlog.dev.plain_traceback
        )
    ]


def _named(process: str) -> Callable[[WrappedLogger, str, EventDict], EventDict]:
    def name(_: WrappedLogger, __: str, event: EventDict) -> EventDict:
        event.setdefault("process", process)
        return event

    return name


def _redacted(value: Any) -> Any:
    if isinstance(value, dict):
        return {
            name: REDACTED if _SECRET_NAMES.search(str(name)) else _redacted(item)
            for name, item in value.items()
        }
    if isinstance(value, list | tuple):
        return [_redacted(item) for item in value]
    return value


def _secrets(settings: Settings) -> list[str]:
    found: list[str] = []
    for name in type(settings).model_fields:
        value = getattr(settings, name)
        if isinstance(value, SecretStr):
            text = value.get_secret_value()
            found += [text, *text.split(",")]
    if settings.registry_username is not None and settings.registry_password is not None:
        pair = f"{settings.registry_username}:{settings.registry_password.get_secret_value()}"
        found.append(base64.b64encode(pair.encode()).decode())
    # A shorter one would blank out half of every line and protects nothing
    return [secret.strip() for secret in found if len(secret.strip()) >= _SHORTEST]


def _forms(secret: str) -> set[str]:
    return {
        secret,
        quote(secret, safe=""),
        repr(secret)[1:-1],
        json.dumps(secret)[1:-1],
        json.dumps(secret, ensure_ascii=False)[1:-1],
        repr(secret.encode())[2:-1],
    }
