"""Verdicts for readers: in the terminal and as Markdown."""

from __future__ import annotations

import re
import sys
from collections.abc import Iterable, Iterator, Mapping, Sequence
from typing import Any

import pandas as pd
from rich import box
from rich.console import Console
from rich.table import Table
from rich.text import Text

from clr.analysis.names import claim_name, display_name
from clr.analysis.ratios import Ratio
from clr.analysis.verdicts import Verdict

_COLORS = {Verdict.REPRODUCED: "green", Verdict.NOT_REPRODUCED: "red"}
# Words for an infinite ratio, by claim.
_INFINITE = {"converges": "diverged", "quicker": "not reached"}


def print_tables(tables: Iterable[Table]) -> None:
    """Print tables in the width of the terminal, or of 130 characters to a file."""
    console = Console(width=None if sys.stdout.isatty() else 130)
    for table in tables:
        console.print(table)


def terminal(claims: pd.DataFrame) -> Iterator[Table]:
    """One table per claim, with its rule below. Text is shown literally, without Rich markup."""
    for claim, rows in claims.groupby("claim", sort=False):
        rules = [f"{rule}." for rule in dict.fromkeys(rows["rule"]) if rule]
        table = Table(
            title=Text(claim_name(claim)),
            title_justify="left",
            caption=Text("\n".join(rules)),
            caption_justify="left",
            box=box.SIMPLE_HEAD,
        )
        table.add_column("figure", no_wrap=True)
        table.add_column("data, model, batch size", ratio=3)
        table.add_column("ratio (95%)", ratio=2)
        table.add_column("verdict", ratio=2)
        table.add_column("reason", ratio=6)
        for row in rows.to_dict("records"):
            cells = (row["figure"], _scope(row) or "–", ratio_text(row))
            table.add_row(*map(Text, cells), _verdict(row), Text(row["reason"]))
        yield table


def _verdict(row: Mapping[Any, Any]) -> Text:
    verdict = Text(row["verdict"], style=_COLORS.get(row["verdict"], "yellow"))
    if row["by_numbers"] not in ("", row["verdict"]):
        verdict.append(f" (by the numbers: {row['by_numbers']})", style="default")
    return verdict


def summary(claims: pd.DataFrame) -> str:
    """Number of verdicts of each kind, such as "5 not reproduced, 3 reproduced"."""
    counts = claims["verdict"].value_counts().sort_index()
    return ", ".join(f"{count} {verdict}" for verdict, count in counts.items())


def markdown(claims: pd.DataFrame) -> str:
    """Claims that have runs, as a Markdown table with one row per claim and scope."""
    rows = [
        (row["claim"], row["figure"], _scope(row), row["verdict"], row["reason"])
        for row in claims[claims["data"] != ""].to_dict("records")
    ]
    header = ("claim", "figure", "data, model, batch size", "verdict", "numbers")
    return markdown_table(header, ["---"] * len(header), rows)


def matrix(claims: pd.DataFrame) -> str:
    """Verdicts as a Markdown matrix of scopes and claims, with a legend and the rules' dates."""
    names = list(dict.fromkeys(claims["claim"]))
    signs: dict[str, dict[str, str]] = {}
    for row in claims[claims["data"] != ""].to_dict("records"):
        signs.setdefault(_scope(row), {})[row["claim"]] = Verdict(row["verdict"]).sign
    rows = [(scope, *(own.get(name, "") for name in names)) for scope, own in signs.items()]
    header = ("data, model, batch size", *map(claim_name, names))
    table = markdown_table(header, ["---", *[":-:"] * len(names)], rows)
    legend = ", ".join(f"{verdict.sign} {verdict}" for verdict in Verdict)
    dates = f"When the rules were written:\n\n{written(claims)}"
    return f"{table}\n\n{legend}; empty: no figure of the claim shows these runs.\n\n{dates}"


def written(claims: pd.DataFrame) -> str:
    """Markdown list of when the rules were written, one line for the claims that share a date."""
    names: dict[str, list[str]] = {}
    for claim, line in claims[["claim", "rule_written"]].drop_duplicates().itertuples(index=False):
        names.setdefault(line, []).append(claim_name(claim))
    return "\n".join(f"- {', '.join(own)}: {line}" for line, own in names.items())


def ratio_text(row: Mapping[Any, Any]) -> str:
    """Ratio of a row of `claims` with its interval, such as "1.22 (1.2–1.25)" or "not reached".

    The cells may be numbers or the text of a CSV file, where an empty cell is a missing number.
    """
    cells = (row[name] for name in ("ratio", "ratio_low", "ratio_high"))
    ratio = Ratio(*(float("nan") if pd.isna(cell) or cell == "" else float(cell) for cell in cells))
    return ratio.text(_INFINITE.get(row["claim"], "infinity"))


def agreement(table: pd.DataFrame) -> Table:
    """Table for the terminal with one row per curve of verdicts.agreement.compare."""
    shown = Table(
        "curve",
        "final loss",
        "other final loss",
        "windows that agree",
        "agreement",
        box=box.SIMPLE_HEAD,
    )
    for row in table.to_dict("records"):
        rate = "" if pd.isna(row["learning_rate"]) else f" at {row['learning_rate']:g}"
        curve = (
            f"{row['dataset']}, {display_name(row['model'])}, {row['batch_size']}: "
            f"{display_name(row['optimizer'])}{rate}"
        )
        losses = [
            Ratio(row[name], row[f"{name}_low"], row[f"{name}_high"]).text("diverged")
            for name in ("final_loss", "other_final_loss")
        ]
        windows = f"{row['windows_within']} of {row['windows']}"
        outcome = "identical" if row["identical"] else row["agreement"]
        shown.add_row(*map(Text, (curve, *losses, windows, outcome)))
    return shown


def _scope(row: Mapping[Any, Any]) -> str:
    """Data, model, batch size and setting of a row; empty for a figure without runs."""
    if not row["data"]:
        return ""
    setting = f", {row['setting']}" if row["setting"] else ""
    return f"{row['data']}, {display_name(row['model'])}, {row['batch_size']}{setting}"


def markdown_table(
    header: Sequence[str], rule: Sequence[str], rows: Sequence[Sequence[str]]
) -> str:
    """Markdown table; the cells of the rows are shown literally, header and rule are Markdown."""
    lines = [header, rule, *(list(map(_literal, row)) for row in rows)]
    return "\n".join(f"| {' | '.join(cells)} |" for cells in lines)


def _literal(text: str) -> str:
    """Text that Markdown shows as it is, on one line."""
    return re.sub(r"([\\`*_<>\[\]|$&~])", r"\\\1", " ".join(str(text).split()))
