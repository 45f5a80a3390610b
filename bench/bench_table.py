"""The table of docs/performance.md: rows that benchmarks measured, stored as JSON and rendered.

    python bench/bench_table.py

renders docs/performance.json again, without measuring anything.
"""

from __future__ import annotations

import argparse
import json
import platform
from dataclasses import asdict, dataclass
from datetime import UTC, datetime
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import Any

import torch
from bench_timing import Ratio

from clr.files import write_json, write_text
from clr.runs.provenance import hardware, revision

ROOT = Path(__file__).resolve().parents[1]
MEASURED, PAGE = ROOT / "docs/performance.json", ROOT / "docs/performance.md"
BEGIN = "<!-- The table is written by: .venv/bin/python bench/bench_table.py -->"
END = "<!-- End of the table -->"
LIBRARIES = ("torch", "torchvision", "ffcv", "lightning", "timm", "pytorch_optimizer")


@dataclass(frozen=True)
class Row:
    """One line of the table."""

    work: str  # what was measured
    against: str  # what it was compared with, in turn in the same call
    ratio: float | None  # None: not measured, and `note` says why
    low: float | None = None  # the quartiles of the ratios of all pairs
    high: float | None = None
    aim: str = ""  # such as "≥ 2"
    limit: str = ""  # the physical limit, measured in the same call
    share: float | None = None  # of the limit that is reached
    note: str = ""

    @property
    def is_met(self) -> bool | None:
        """True if the ratio meets the aim; None without a ratio or an aim."""
        if self.ratio is None or not self.aim:
            return None
        sign, number = self.aim.split()
        return self.ratio >= float(number) if sign == "≥" else self.ratio <= float(number)


def row(work: str, against: str, ratio: Ratio, **others: Any) -> Row:
    """A row with a measured ratio."""
    return Row(work, against, ratio.median, ratio.low, ratio.high, **others)


def save(command: str, rows: list[Row]) -> None:
    """Print the rows of one benchmark, store them and render the table.

    Args:
        command: of the benchmark. Rows that it stored before on a CPU, or on a GPU, are replaced.
    """
    command += " # on a GPU" if torch.cuda.is_available() else ""
    for line in rows:
        print(_cells(line), flush=True)
    stored = json.loads(MEASURED.read_text()) if MEASURED.exists() else {}
    stored[command] = {
        "date": datetime.now(UTC).strftime("%Y-%m-%d %H:%M UTC"),
        "hardware": hardware(),
        "revision": revision(),
        "python": platform.python_version(),
        "libraries": {name: found for name in LIBRARIES if (found := _version(name))},
        "rows": [asdict(line) for line in rows],
    }
    write_json(dict(sorted(stored.items())), MEASURED)
    render()


def render() -> None:
    """Write the stored rows into docs/performance.md, between its markers."""
    page = PAGE.read_text()
    before, rest = page.split(BEGIN)
    _, after = rest.split(END)
    write_text(f"{before}{BEGIN}\n\n{markdown()}\n\n{END}{after}", PAGE)


def markdown() -> str:
    """The stored rows as a Markdown table, and a line on how each benchmark was measured."""
    stored = json.loads(MEASURED.read_text())
    if not stored:
        return "Nothing has been measured yet."
    lines = [
        "| work | against | ratio (quartiles) | aim | limit measured beside it | share of it |",
        "| --- | --- | --- | --- | --- | --- |",
    ]
    for section in stored.values():
        lines += [_cells(Row(**fields)) for fields in section["rows"]]
    lines += ["", "| measured by | on | at |", "| --- | --- | --- |"]
    for command, section in stored.items():
        libraries = ", ".join(f"{name} {found}" for name, found in section["libraries"].items())
        lines.append(
            f"| `{command}` | {section['hardware']}; Python {section['python']}, {libraries} "
            f"| {section['date']}, revision `{section['revision']}` |"
        )
    return "\n".join(lines)


def _cells(line: Row) -> str:
    ratio = "not measured" if line.ratio is None else f"{line.ratio:.3g}"
    if line.low is not None and line.high is not None:
        ratio += f" ({line.low:.3g}–{line.high:.3g})"
    if line.note:
        ratio += f"; {line.note}"
    aim = line.aim and f"{line.aim}: {_MET[line.is_met]}"
    share = "" if line.share is None else f"{line.share:.0%}"
    return f"| {line.work} | {line.against} | {ratio} | {aim} | {line.limit} | {share} |"


_MET = {True: "met", False: "**not met**", None: "not measured"}


def _version(name: str) -> str | None:
    try:
        return version(name)
    except PackageNotFoundError:
        return None


if __name__ == "__main__":
    argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    ).parse_args()
    render()
