"""Raw events that a person wrote into a JSON file, read as the webhook reads them.

Must never judge them.
"""

from __future__ import annotations

import json
import re
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any, Final

from pydantic import ValidationError

from connectors.sources.event_model import event_model, to_record
from pipeline.cli.terminal import WRONG_USE, fail

Record = dict[str, Any]
_DAYS_AGO: Final = re.compile(r"-(\d{1,4})d(T.+)", re.ASCII)


def read_events(file: Path) -> list[Record]:
    """The raw events of a file: one, or a list of them.

    `occurred` may count its date back from today, in UTC: `-1dT10:05-06:00` is yesterday at 10:05.

    Raises:
        typer.Exit: the file can't be used; the message names the field and the remedy.

    """
    content: Any = None
    try:
        content = json.loads(file.read_text(encoding="utf-8"))
    except OSError as error:
        fail(f"{file}: {error.strerror}", WRONG_USE)
    except ValueError as error:
        fail(f"{file} is no JSON: {error}", WRONG_USE)
    events = []
    for position, item in enumerate(content if isinstance(content, list) else [content], 1):
        try:
            events.append(to_record(event_model().model_validate(_dated(item))))
        except ValidationError as error:
            first = error.errors()[0]
            field = ".".join(str(part) for part in first["loc"]) or "the event"
            fail(f"{file}, event {position}: {field}: {first['msg']}", WRONG_USE)
    if not events:
        fail(f"{file} holds no event: see docs/produce.md for the form of one", WRONG_USE)
    return events


def _dated(item: Any) -> Any:
    """An event whose time has its date."""
    occurred = item.get("occurred") if isinstance(item, dict) else None
    found = _DAYS_AGO.fullmatch(occurred) if isinstance(occurred, str) else None
    if found is None:
        return item
    day = datetime.now(UTC).date() - timedelta(days=int(found[1]))
    return item | {"occurred": f"{day.isoformat()}{found[2]}"}
