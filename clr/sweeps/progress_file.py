"""Progress of a run in another process, read from the store."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any


def read_progress(folder: Path) -> dict[str, Any] | None:
    """Return the last record that the run in `folder` reported; None before its first step."""
    try:
        record: dict[str, Any] = json.loads((folder / "progress.json").read_text())
    except (OSError, ValueError):
        return None
    return record
