"""Verdicts of a protocol as the report shows them: by claim, and as a matrix by scope."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any

from clr.analysis.names import claim_name, display_name
from clr.analysis.verdicts import Verdict
from clr.analysis.verdicts.display import ratio_text
from clr.analysis.verdicts.table import read_claims
from clr.errors import UserError, first_line

_COLUMNS = (
    "claim",
    "figure",
    "statement",
    "data",
    "model",
    "batch_size",
    "setting",
    "baseline",
    "statistic",
    "ratio",
    "ratio_low",
    "ratio_high",
    "rule",
    "rule_written",
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
    written: str  # likewise: when the rule was written
    rows: list[dict[str, str]]


def claim_rows(folder: Path) -> list[dict[str, str]]:
    """Rows of claims.csv with display names, and the ratio as text (`ratio_text`).

    Raises:
        UserError: if the table is missing or damaged, or if it has an unknown verdict.
    """
    table = read_claims(folder)
    lacking = [name for name in _COLUMNS if name not in table]
    if lacking:
        raise UserError(
            f"{folder / 'claims.csv'} has no column {lacking[0]}; create it again with: "
            f"make claims PROTOCOL={folder.resolve().name}"
        )
    return [_for_readers(folder, row) for row in table.to_dict("records")]


def _for_readers(folder: Path, row: dict[Any, str]) -> dict[str, str]:
    try:
        ratio = ratio_text(row) if row["ratio"] else ""
    except ValueError as error:
        raise UserError(
            f"{folder / 'claims.csv'} has a ratio that is not a number ({first_line(error)}); "
            f"create it again with: make claims PROTOCOL={folder.resolve().name}"
        ) from None
    names = {"claim": claim_name(row["claim"]), "model": display_name(row["model"])}
    return {**row, **names, "verdict": Verdict(row["verdict"]), "ratio_text": ratio}


def by_claim(rows: list[dict[str, str]]) -> list[Claim]:
    """Group the rows by claim."""
    groups: dict[str, list[dict[str, str]]] = {}
    for row in rows:
        groups.setdefault(row["claim"], []).append(row)
    return [
        Claim(
            name,
            rule=_shared(own, "rule"),
            statistic=_shared(own, "statistic"),
            written=_shared(own, "rule_written"),
            rows=own,
        )
        for name, own in groups.items()
    ]


def _shared(rows: list[dict[str, str]], column: str) -> str:
    """The only value of a column, ignoring empty cells; empty if there are several."""
    values = {row[column] for row in rows if row[column]}
    return values.pop() if len(values) == 1 else ""


def by_scope(rows: list[dict[str, str]]) -> dict[str, dict[str, str]]:
    """Verdict of each claim in each scope, scopes with runs first.

    A scope is a dataset, a model, a batch size and a setting. A claim about a figure without runs
    has the figure as its scope.
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
    size = row["batch_size"] and f"batch size {row['batch_size']}"
    parts = (row["data"], row["model"], size, row["setting"])
    return " · ".join(filter(None, parts))
