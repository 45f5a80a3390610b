"""Verdicts of a protocol as the report shows them: by claim, and as a matrix by scope."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import pandas as pd

from clr.analysis.names import claim_name, display_name
from clr.analysis.verdicts import Verdict
from clr.analysis.verdicts.display import ratio_text
from clr.errors import UserError, first_line

_COLUMNS = (
    "claim",
    "figure",
    "statement",
    "data",
    "model",
    "batch_size",
    "baseline",
    "statistic",
    "ratio",
    "ratio_low",
    "ratio_high",
    "rule",
    "verdict",
    "by_numbers",
    "reason",
    "sensitivity",
)


@dataclass(frozen=True)
class Claim:
    """A claim of the paper with one row of claims.csv for each scope."""

    name: str
    rule: str  # the rule that all rows share; empty if they differ
    statistic: str  # likewise
    rows: list[dict[str, str]]


def read_claims(folder: Path) -> list[dict[str, str]]:
    """Rows of claims.csv with display names, and the ratio as text (`ratio_text`).

    Raises:
        UserError: if the table is missing or damaged, or if it has an unknown verdict.
    """
    path = folder / "claims.csv"
    command = f".venv/bin/python scripts/claims.py {folder}"
    if not path.exists():
        raise UserError(f"{path} is missing; create it with: {command}")
    try:
        table = pd.read_csv(path, dtype=str, keep_default_na=False)
        lacking = [name for name in _COLUMNS if name not in table]
        if lacking:
            raise ValueError(f"column {lacking[0]} is missing")
        rows: list[dict[str, str]] = table.to_dict("records")  # type: ignore[assignment]
        for row in rows:
            row["verdict"] = Verdict(row["verdict"])
            row["ratio_text"] = ratio_text(row) if row["ratio"] else ""
    except (OSError, ValueError) as error:
        raise UserError(
            f"{path} is damaged: {first_line(error)}; create it again with: {command}"
        ) from None
    names = {"claim": claim_name, "model": display_name}
    return [{**row, **{key: name(row[key]) for key, name in names.items()}} for row in rows]


def by_claim(rows: list[dict[str, str]]) -> list[Claim]:
    """Group the rows by claim."""
    groups: dict[str, list[dict[str, str]]] = {}
    for row in rows:
        groups.setdefault(row["claim"], []).append(row)
    return [
        Claim(name, _shared(own, "rule"), _shared(own, "statistic"), own)
        for name, own in groups.items()
    ]


def _shared(rows: list[dict[str, str]], column: str) -> str:
    """The only value of a column, ignoring empty cells; empty if there are several."""
    values = {row[column] for row in rows if row[column]}
    return values.pop() if len(values) == 1 else ""


def by_scope(rows: list[dict[str, str]]) -> dict[str, dict[str, str]]:
    """Verdict of each claim in each scope, scopes with runs first.

    A scope is a data set, a model and a batch size. A claim about a figure without runs has the
    figure as its scope.
    """
    scopes: dict[str, dict[str, str]] = {}
    for with_runs in (True, False):
        for row in rows:
            if bool(row["data"]) == with_runs:
                scopes.setdefault(_scope(row), {})[row["claim"]] = row["verdict"]
    return scopes


def _scope(row: dict[str, str]) -> str:
    if not row["data"]:
        return f"Figure {row['figure']}"
    parts = (row["data"], row["model"], row["batch_size"] and f"batch size {row['batch_size']}")
    return " · ".join(filter(None, parts))
