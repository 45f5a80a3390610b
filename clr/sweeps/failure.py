"""Failure of a run's process, and the file through which that process reports it to the sweep."""

from __future__ import annotations

import json
from dataclasses import asdict, dataclass
from pathlib import Path

from clr.files import write_json

FILE = "failure.json"


@dataclass(frozen=True)
class Failure:
    """Reason why a process ended before its run was completed."""

    message: str  # one line
    final: bool  # a retry would fail in the same way


def report_failure(failure: Failure, folder: Path) -> None:
    """Write the failure into the run's folder."""
    write_json(asdict(failure), folder / FILE)


def take_failure(folder: Path) -> Failure | None:
    """Read the failure from the run's folder and delete the file, so that it is reported once.

    None if there is no such file. A damaged file counts as a failure that may be retried.
    """
    path = folder / FILE
    try:
        content = json.loads(path.read_text())
        failure = Failure(str(content["message"]), bool(content["final"]))
    except OSError:
        return None
    except (ValueError, KeyError, TypeError):
        failure = Failure(f"its process failed and left a damaged {path}", final=False)
    path.unlink(missing_ok=True)
    return failure
