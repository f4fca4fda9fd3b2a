"""Lines: files of JSON, a line an event, as runs leave them; perhaps with a last line that was never finished."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from dohle.model.errors import InvalidRequest


def events_in(path: Path, notes: list[str]) -> Iterator[dict[str, Any]]:
    """Yields what the file holds; nothing if there is none. A cut last line and a missing file go to `notes`.

    Raises InvalidRequest, which names the line, where any other is no JSON object.
    """
    if not path.exists():
        notes.append(f"{path.name} is missing")
        return
    with path.open("rb") as lines:
        for number, line in enumerate(lines, 1):
            try:
                event = json.loads(line)
            except ValueError:
                event = None
            if isinstance(event, dict):
                yield event
            elif not line.endswith(b"\n"):
                notes.append(f"{path.name} is cut off in the middle of line {number}, its last")
            else:
                shown = line[:200].decode(errors="replace").rstrip()
                raise InvalidRequest(f"line {number} of {path} is no event: {shown!r}")
