"""Rows of a recorded table, kept by column."""

import math

import pandas as pd
import pytest

from clr.training.rows import Rows

FIRST = {"step": 2**40, "loss": 0.1}


def test_rows_become_a_table_with_their_order_and_types():
    rows = Rows(["step", "loss"])
    assert list(rows.table().dtypes.astype(str)) == ["int64", "float64"]
    rows.append(FIRST)
    rows.append({"loss": math.inf, "step": 2})
    assert len(rows) == 2
    assert list(rows.table().dtypes.astype(str)) == ["int64", "float64"]
    assert rows.table().to_dict("records") == [FIRST, {"step": 2, "loss": math.inf}]
    assert rows.rows() == [FIRST, {"step": 2, "loss": math.inf}]


def test_later_rows_do_not_change_a_table():
    rows = Rows(["step", "loss"])
    rows.append(FIRST)
    table = rows.table()
    rows.append(FIRST)
    assert (len(table), len(rows.table())) == (1, 2)


def test_the_rows_of_a_table_are_continued():
    rows = Rows(["step", "loss"])
    rows.append(FIRST)
    rows.replace(pd.DataFrame({"loss": [3.0, math.nan], "step": [1, 2], "other": ["a", "b"]}))
    rows.append(FIRST)
    assert rows.table()["step"].tolist() == [1, 2, 2**40]
    assert rows.table()["loss"].isna().tolist() == [False, True, False]


@pytest.mark.parametrize("row", [{"step": 1}, {"step": 1, "loss": 1.0, "rate": 1.0}])
def test_a_row_with_other_columns_is_an_error(row):
    rows = Rows(["step", "loss"])
    with pytest.raises(KeyError, match="are not the columns"):
        rows.append(row)
    assert len(rows) == 0
