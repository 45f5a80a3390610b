"""Rows of a recorded table, kept by column: 8 bytes for each number, however long the run is."""

from __future__ import annotations

from array import array
from typing import Any

import numpy as np
import pandas as pd

from clr.runs.columns import recorded_types

Row = dict[str, Any]

_TYPE_CODES = {"int64": "q", "float64": "d"}


class Rows:
    """Rows that are appended one by one, with a fixed set of columns."""

    def __init__(self, columns: list[str]) -> None:
        self.columns = columns
        self._types = recorded_types(columns)
        self._columns = {name: array(_TYPE_CODES[kind]) for name, kind in self._types.items()}

    def __len__(self) -> int:
        return len(next(iter(self._columns.values())))

    def append(self, row: Row) -> None:
        """Add a row with a number for each column; other keys are an error."""
        if row.keys() != self._columns.keys():
            raise KeyError(f"{sorted(row)} are not the columns {sorted(self._columns)}")
        for name, column in self._columns.items():
            column.append(row[name])

    def table(self) -> pd.DataFrame:
        """The rows as a table, which later rows do not change."""
        return pd.DataFrame(
            {
                name: np.array(column, dtype=self._types[name])
                for name, column in self._columns.items()
            }
        )

    def rows(self) -> list[Row]:
        """The rows as they were appended."""
        return [
            dict(zip(self._columns, values, strict=True))
            for values in zip(*self._columns.values(), strict=True)
        ]

    def replace(self, table: pd.DataFrame) -> None:
        """Take the rows of a table with these columns instead."""
        for name, kind in self._types.items():
            column = array(_TYPE_CODES[kind])
            column.frombytes(table[name].to_numpy(kind).tobytes())
            self._columns[name] = column
