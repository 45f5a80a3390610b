"""Numbers in Markdown pages that link to the table they come from.

The title of such a link names the rows and the columns: `[0.26 (0.25–0.27)](results/cpu/curves.csv
"optimizer=clr; batch_size=1000: final_loss; final_loss_low; final_loss_high")`. A column without a
function needs one row; `min(…)`, `max(…)`, `median(…)` and `count` take several.
"""

import re
from dataclasses import dataclass
from functools import cache
from pathlib import Path

import pandas as pd
from markdown_pages import inline

NUMBER = re.compile(r"\d+(?:,\d{3})+|\d+(?:\.\d+)?")
FUNCTIONS = {"min": pd.Series.min, "max": pd.Series.max, "median": pd.Series.median}


@dataclass(frozen=True)
class Quote:
    """A linked text with numbers."""

    text: str
    table: Path
    query: str

    def mistake(self) -> str:
        """Describe what is wrong; empty if the numbers are those of the table, rounded."""
        shown = NUMBER.findall(self.text)
        values = evaluate(self.table, self.query)
        if len(shown) != len(values):
            return f"{self.text!r} has {len(shown)} numbers, its link {len(values)}"
        for text, value in zip(shown, values, strict=True):
            digits = text.replace(",", "")
            decimals = len(digits.partition(".")[2])
            percent = 100 if "%" in self.text else 1
            if abs(float(digits) - value * percent) > 0.5 * 10**-decimals * (1 + 1e-9):
                return f"{self.text!r}: {text} is {value * percent:.6g} in {self.table.name}"
        return ""


def quotes(page: Path) -> list[Quote]:
    """The links of a page that have a query for their title."""
    found, current = [], None
    for token in inline(page):
        if token.type == "link_open" and ": " in str(token.attrGet("title") or ""):
            table = page.parent / str(token.attrGet("href"))
            current = (table, str(token.attrGet("title")), [])
        elif token.type == "link_close" and current:
            found.append(Quote("".join(current[2]), current[0], current[1]))
            current = None
        elif current:
            current[2].append(token.content)
    return found


@cache
def read(table: Path) -> pd.DataFrame:
    return pd.read_csv(table)


def evaluate(table: Path, query: str) -> list[float]:
    """The numbers that a query takes from a table."""
    conditions, _, columns = query.partition(": ")
    rows = read(table)
    for condition in conditions.split("; "):
        column, _, value = condition.partition("=")
        own = rows[column]
        if not value:
            rows = rows[own.isna()]
        elif pd.api.types.is_bool_dtype(own) or not pd.api.types.is_numeric_dtype(own):
            rows = rows[own.astype(str) == value]
        else:
            rows = rows[own == float(value)]
    return [_value(rows, column, f"{table.name}, {conditions}") for column in columns.split("; ")]


def _value(rows: pd.DataFrame, column: str, where: str) -> float:
    if column == "count":
        return len(rows)
    if call := re.fullmatch(r"(\w+)\((\w+)\)", column):
        assert len(rows), f"no row: {where}"
        return float(FUNCTIONS[call[1]](rows[call[2]]))
    assert len(rows) == 1, f"{len(rows)} rows instead of one: {where}"
    return float(rows[column].iloc[0])
