"""results/DICTIONARY.md against the tables that are committed."""

import re
from pathlib import Path

import pandas as pd
import pytest
from pandas.api import types

from clr.analysis.verdicts import agreement as comparison
from clr.analysis.verdicts import evidence as records
from clr.analysis.verdicts import rules

RESULTS = Path(__file__).parents[2] / "results"
KINDS = {
    "text": types.is_string_dtype,
    "integer": types.is_integer_dtype,
    "number": types.is_float_dtype,
    "yes/no": types.is_bool_dtype,
}
FOLDERS = sorted(path.parent for path in RESULTS.glob("*/runs.csv"))


def dictionary():
    """Of each table, each column's type."""
    tables = {}
    for section in re.split(r"^## ", (RESULTS / "DICTIONARY.md").read_text(), flags=re.M)[1:]:
        columns = re.findall(r"^\| (\w+) \| (text|integer|number|yes/no) \|", section, flags=re.M)
        if columns:
            assert len({name for name, _ in columns}) == len(columns)
            tables[section.splitlines()[0]] = dict(columns)
    return tables


@pytest.mark.parametrize("folder", FOLDERS, ids=lambda path: path.name)
def test_every_column_of_every_table_is_in_the_dictionary_with_its_type(folder):
    known = dictionary()
    agreement = known.pop("agreement")  # is made when two folders are compared
    assert {path.stem for path in folder.glob("*.parquet")} == set(known)
    read = records.read(folder, 1.0)
    compared = comparison.compare(read, read, rules.load().agreement)
    assert {
        column: KINDS[kind](compared[column].dtype) for column, kind in agreement.items()
    } == dict.fromkeys(compared, True)
    for name, columns in known.items():
        table = pd.read_parquet(folder / f"{name}.parquet")
        # A column that came later is not in the tables from before it
        assert set(table.columns) <= set(columns)
        assert set(columns) - set(table.columns) <= {
            "final_test_top5_accuracy",
            "test_top5_accuracy",
        }
        for column in table:
            assert KINDS[columns[column]](table[column].dtype), (
                f"{name}.{column} is {table[column].dtype}"
            )


@pytest.mark.parametrize("folder", FOLDERS, ids=lambda path: path.name)
def test_csv_and_parquet_are_the_same_table(folder):
    for name in set(dictionary()) - {"agreement"}:
        path = folder / f"{name}.csv{'.gz' if name == 'steps' else ''}"
        parquet = pd.read_parquet(folder / f"{name}.parquet")
        read = pd.read_csv(path, float_precision="round_trip", dtype={"figure": str})
        texts = parquet.select_dtypes(["object", "str"]).columns
        read[texts] = read[texts].fillna("").astype(str)
        pd.testing.assert_frame_equal(read, parquet, check_exact=True, check_dtype=False)
