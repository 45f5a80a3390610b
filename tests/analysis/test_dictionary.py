"""results/DICTIONARY.md describes every column of the committed tables."""

import re
from pathlib import Path

import pandas as pd
import pytest
from pandas.api import types

from clr.analysis.verdicts import agreement, evidence, rules

RESULTS = Path(__file__).parents[2] / "results"
KINDS = {
    "text": types.is_string_dtype,
    "integer": types.is_integer_dtype,
    "number": types.is_float_dtype,
    "yes/no": types.is_bool_dtype,
}
FOLDERS = sorted(path.parent for path in RESULTS.glob("*/runs.csv"))
# Columns that are newer than the committed tables.
NEW_COLUMNS = {"arguments", "final_test_top5_accuracy", "test_top5_accuracy"}


def dictionary():
    """Type of each column, by table and column."""
    tables = {}
    sections = re.split(r"^## ", (RESULTS / "DICTIONARY.md").read_text(), flags=re.M)[1:]
    for section in sections:
        columns = re.findall(r"^\| (\w+) \| (text|integer|number|yes/no) \|", section, flags=re.M)
        title = section.splitlines()[0]
        assert len({name for name, _ in columns}) == len(columns), f"{title} repeats a column"
        if columns:
            tables[title] = dict(columns)
    return tables


def check_types(table, columns, name):
    for column in table:
        kind = columns[column]
        assert KINDS[kind](table[column].dtype), f"{name}.{column} is {table[column].dtype}"


@pytest.mark.parametrize("folder", FOLDERS, ids=lambda path: path.name)
def test_every_committed_column_is_described_with_its_type(folder):
    described = dictionary()
    del described["agreement"]  # not committed
    assert {path.stem for path in folder.glob("*.parquet")} == set(described)
    for name, columns in described.items():
        table = pd.read_parquet(folder / f"{name}.parquet")
        assert set(table) <= set(columns), name
        assert set(columns) - set(table) <= NEW_COLUMNS, name
        check_types(table, columns, name)


@pytest.mark.parametrize("folder", FOLDERS, ids=lambda path: path.name)
def test_every_column_of_a_comparison_is_described_with_its_type(folder):
    records = evidence.read(folder, 1.0)
    table = agreement.compare(records, records, rules.load().agreement)
    columns = dictionary()["agreement"]
    assert list(columns) == list(table)
    check_types(table, columns, "agreement")


@pytest.mark.parametrize("folder", FOLDERS, ids=lambda path: path.name)
def test_csv_and_parquet_are_the_same_table(folder):
    for name in set(dictionary()) - {"agreement"}:
        path = folder / f"{name}.csv{'.gz' if name == 'steps' else ''}"
        expected = pd.read_parquet(folder / f"{name}.parquet")
        table = pd.read_csv(path, float_precision="round_trip", dtype={"figure": str})
        texts = expected.select_dtypes(["object", "str"]).columns
        table[texts] = table[texts].fillna("").astype(str)
        pd.testing.assert_frame_equal(table, expected, check_exact=True, check_dtype=False)
