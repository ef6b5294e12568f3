"""Raw events that a person wrote into a JSON file, read as the webhook reads them.

Must never judge them.
"""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

from pydantic import ValidationError

from connectors.sources.event_model import event_model, to_record
from pipeline.cli.terminal import WRONG_USE, fail

Record = dict[str, Any]


def read_events(file: Path) -> list[Record]:
    """The raw events of a file: one, or a list of them.

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
            events.append(to_record(event_model().model_validate(item)))
        except ValidationError as error:
            first = error.errors()[0]
            field = ".".join(str(part) for part in first["loc"]) or "the event"
            fail(f"{file}, event {position}: {field}: {first['msg']}", WRONG_USE)
    if not events:
        fail(f"{file} holds no event: see docs/produce.md for the form of one", WRONG_USE)
    return events
