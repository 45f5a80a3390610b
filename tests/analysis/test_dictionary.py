"""results/DICTIONARY.md describes every column of the committed tables."""

import re
from pathlib import Path

import pandas as pd
import pytest
from arena_tables import ending, write_arena
from pandas.api import types

from clr.analysis.arena.table import arena_tables, read_arena
from clr.analysis.verdicts import agreement, evidence, rules

RESULTS = Path(__file__).parents[2] / "results"
KINDS = {
    "text": types.is_string_dtype,
    "integer": types.is_integer_dtype,
    "number": types.is_float_dtype,
    "yes/no": types.is_bool_dtype,
}
FOLDERS = sorted(path.parent for path in RESULTS.glob("*/runs.csv"))
JUDGED = [folder for folder in FOLDERS if (folder / "claims.csv").is_file()]
ARENA = {"arena", "arena_values", "arena_targets", "arena_race"}
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


def committed(folder):
    """The described tables that a folder has: those of its runs, and of the scripts run on it."""
    described = dictionary()
    del described["agreement"]  # not committed
    groups = {"claims": {"claims", "targets", "curves"}, "arena": ARENA}
    for name, tables in groups.items():
        if not (folder / f"{name}.csv").is_file():
            described = {table: own for table, own in described.items() if table not in tables}
    return described


def check_types(table, columns, name):
    for column in table:
        kind = columns[column]
        assert KINDS[kind](table[column].dtype), f"{name}.{column} is {table[column].dtype}"


@pytest.mark.parametrize("folder", FOLDERS, ids=lambda path: path.name)
def test_every_committed_column_is_described_with_its_type(folder):
    described = committed(folder)
    assert {path.stem for path in folder.glob("*.parquet")} == set(described)
    for name, columns in described.items():
        table = pd.read_parquet(folder / f"{name}.parquet")
        assert set(table) <= set(columns), name
        absent = NEW_COLUMNS
        if name == "claims" and table.loc[table["claim"] == "cap", "ratio"].isna().all():
            absent = absent | {"largest_rate"}  # no figure of the protocol shows the cap
        assert set(columns) - set(table) <= absent, name
        check_types(table, columns, name)


@pytest.mark.parametrize("folder", JUDGED, ids=lambda path: path.name)
def test_every_column_of_a_comparison_is_described_with_its_type(folder):
    records = evidence.read(folder, 1.0)
    table = agreement.compare(records, records, rules.load().agreement)
    columns = dictionary()["agreement"]
    assert list(columns) == list(table)
    check_types(table, columns, "agreement")


@pytest.mark.parametrize("folder", FOLDERS, ids=lambda path: path.name)
def test_csv_and_parquet_are_the_same_table(folder):
    for name in committed(folder):
        path = folder / f"{name}.csv{'.gz' if name == 'steps' else ''}"
        expected = pd.read_parquet(folder / f"{name}.parquet")
        table = pd.read_csv(path, float_precision="round_trip", dtype={"figure": str})
        texts = expected.select_dtypes(["object", "str"]).columns
        table[texts] = table[texts].fillna("").astype(str)
        pd.testing.assert_frame_equal(table, expected, check_exact=True, check_dtype=False)


def test_every_column_of_the_arena_is_described_with_its_type(tmp_path):
    methods = {
        "sgd": {0.1: ending(1, 1, 2), 0.3: ending(None, 1, 1)},
        "clr": {None: ending(2, 2, 2)},
    }
    folder = write_arena(tmp_path / "arena", {64: methods})
    tables = arena_tables(read_arena(folder), rules.load())
    assert set(tables) == ARENA
    for name, table in tables.items():
        columns = dictionary()[name]
        assert list(columns) == list(table)
        check_types(table, columns, name)
