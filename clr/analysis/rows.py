"""Rows of a table that belong to some runs."""

from __future__ import annotations

from collections.abc import Iterable

import pandas as pd


def rows_of_runs(table: pd.DataFrame, run_ids: Iterable[str]) -> pd.DataFrame:
    """Rows of these runs; the table itself, without a copy, if it has no others."""
    ids = table["run_id"].astype("category").cat
    codes = ids.codes.to_numpy()  # -1 for a row without an id
    # Thousands of ids are looked up instead of millions of rows.
    own = ids.categories.isin(list(run_ids))[codes] & (codes >= 0)
    return table if own.all() else table[own]
