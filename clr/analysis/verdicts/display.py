"""The verdicts for people: in the terminal, and as the README's table."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import pandas as pd
from rich import box
from rich.table import Table
from rich.text import Text

from clr.analysis.names import display_name
from clr.analysis.verdicts.statistics import Ratio

COLOURS = {"reproduced": "green", "not reproduced": "red"}


def terminal(claims: pd.DataFrame) -> Iterator[Table]:
    """A table for each claim, with its rule below."""
    for claim, rows in claims.groupby("claim", sort=False):
        rules = "\n".join(f"{rule}." for rule in dict.fromkeys(rows["rule"]) if rule)
        shown = Table(
            title=str(claim),
            title_justify="left",
            caption=rules,
            caption_justify="left",
            box=box.SIMPLE_HEAD,
        )
        shown.add_column("figure", no_wrap=True)
        shown.add_column("data, model, batch size", ratio=3)
        shown.add_column("ratio (95%)", ratio=2)
        shown.add_column("verdict", ratio=2)
        shown.add_column("why", ratio=6)
        for row in rows.to_dict("records"):
            verdict = Text(row["verdict"], style=COLOURS.get(row["verdict"], "yellow"))
            if row["by_numbers"] not in ("", row["verdict"]):
                verdict.append(f" (by the numbers: {row['by_numbers']})", style="default")
            shown.add_row(row["figure"], _scope(row), _ratio(row), verdict, row["reason"])
        yield shown


def summary(claims: pd.DataFrame) -> str:
    """How many verdicts of each kind."""
    return ", ".join(
        f"{n} {verdict}" for verdict, n in claims["verdict"].value_counts().sort_index().items()
    )


def markdown(claims: pd.DataFrame) -> str:
    """The claims that have runs, as a table of GitHub's."""
    lines = [
        "| claim | figure | data, model, batch size | verdict | what the runs did |",
        "| --- | --- | --- | --- | --- |",
    ]
    for row in claims[claims["data"] != ""].to_dict("records"):
        lines.append(
            f"| {row['claim']} | {row['figure']} | {_scope(row)} | {row['verdict']} | {row['reason']} |"
        )
    return "\n".join(lines)


def agreement(table: pd.DataFrame) -> Table:
    """A line for each curve of verdicts.agreement.compare."""
    shown = Table(
        "curve", "final loss", "the other's", "windows within", "agreement", box=box.SIMPLE_HEAD
    )
    for row in table.to_dict("records"):
        rate = "" if pd.isna(row["learning_rate"]) else f" at {row['learning_rate']:g}"
        curve = f"{row['dataset']}, {display_name(row['model'])}, {row['batch_size']}: {row['optimizer']}{rate}"
        losses = [
            f"{row[p]:.3g} ({row[f'{p}_low']:.3g}–{row[f'{p}_high']:.3g})"
            for p in ("final_loss", "other_final_loss")
        ]
        agrees = "agree, to the bit" if row["identical"] else row["agreement"]
        shown.add_row(curve, *losses, f"{row['windows_within']} of {row['windows']}", agrees)
    return shown


def _scope(row: dict[Any, Any]) -> str:
    return (
        f"{row['data']}, {display_name(row['model'])}, {row['batch_size']}" if row["data"] else "–"
    )


def _ratio(row: dict[Any, Any]) -> str:
    if pd.isna(row["ratio"]):
        return "–"
    return str(Ratio(row["ratio"], row["ratio_low"], row["ratio_high"]))
