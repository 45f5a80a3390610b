"""Tables of a results folder: what is written is read back with the same types and digits."""

import json
import math

import pandas as pd
import pytest
from entry_points import ROOT
from pandas.testing import assert_frame_equal
from small_runs import train_small

from clr.analysis.rows import rows_of_runs
from clr.errors import Busy, UserError
from clr.runs.columns import (
    EPOCH_COLUMNS,
    METER_COLUMNS,
    RUN_COLUMNS,
    recorded_types,
)
from clr.runs.merge import import_runs
from clr.runs.record import decode_arguments
from clr.runs.store import Store
from clr.runs.tables import FigureTask, export, read_results, row

pytestmark = pytest.mark.slow

PROTOCOL = {"name": "small"}
FIGURE_2 = FigureTask("2", "task")


@pytest.fixture(scope="module")
def trained(tmp_path_factory):
    """A measured run of data named null, and a diverged run."""
    folder = tmp_path_factory.mktemp("tables")
    store, measured = train_small(folder, "diagnostics.every=1", "dataset.name='null'")
    _, diverged = train_small(folder, "optimizer=sgd", "optimizer.lr=1e30", "epochs=9")
    return store, measured, diverged


@pytest.fixture
def results(trained, tmp_path):
    store, measured, diverged = trained
    both = {FIGURE_2, FigureTask("corridor_meter", "task")}
    needs = {measured: both, diverged: {FIGURE_2}, "missing": {FIGURE_2}}
    export(store, needs, PROTOCOL, tmp_path / "small")
    return tmp_path / "small"


def test_exported_tables_are_read_back(trained, results):
    _, measured, diverged = trained
    loaded = read_results(results)
    assert loaded.protocol == PROTOCOL
    assert loaded.runs["run_id"].tolist() == [measured, diverged]
    assert loaded.runs["dataset"].tolist() == ["null", "digits"]
    assert loaded.runs["status"].tolist() == ["finished", "diverged"]
    assert loaded.runs["learning_rate"].tolist()[1] == 1e30
    assert math.isnan(loaded.runs["learning_rate"][0])
    assert math.isnan(loaded.runs["final_train_loss"][1])
    assert loaded.corridor_meter["run_id"].tolist() == [measured, measured]
    pairs = loaded.figure_runs.groupby("figure")["run_id"].apply(list).to_dict()
    assert pairs == {"2": [measured, diverged, "missing"], "corridor_meter": [measured]}
    assert set(loaded.figure_runs["task"]) == {"task"}
    assert {task: len(runs) for task, runs in loaded.by_task.items()} == {"task": 2}
    assert [record["run_id"] for record in loaded.records] == [measured, diverged]


@pytest.mark.parametrize("protocol", ["quick", "cpu"])
def test_committed_csv_and_parquet_agree_to_the_bit(protocol):
    folder = ROOT / "results" / protocol
    runs = read_results(folder).runs
    assert_frame_equal(runs, pd.read_parquet(folder / "runs.parquet"), check_exact=True)


def test_records_are_strict_json_without_local_folders(results, tmp_path):
    text = (results / "runs.jsonl").read_text()
    for line in text.splitlines():
        json.loads(line, parse_constant=lambda word: pytest.fail(f"{word} is not JSON"))
    assert str(tmp_path.parent) not in text


def test_tables_without_runs_have_columns(tmp_path):
    export(Store(tmp_path / "empty"), {"missing": {FIGURE_2}}, PROTOCOL, tmp_path / "small")
    loaded = read_results(tmp_path / "small")
    assert list(loaded.runs.columns) == RUN_COLUMNS
    used = ["step", "epoch", "loss", "learning_rate", "seconds"]
    assert list(loaded.steps.columns) == ["run_id", *used]
    assert list(loaded.epochs.columns) == ["run_id", *EPOCH_COLUMNS]
    assert list(loaded.corridor_meter.columns) == ["run_id", *METER_COLUMNS]
    assert loaded.runs.empty


def test_recorded_tables_without_rows_have_types(trained, tmp_path):
    store, _, diverged = trained
    epochs = pd.read_parquet(store.folder(diverged) / "epochs.parquet")
    assert epochs.empty
    assert epochs.dtypes.astype(str).to_dict() == recorded_types(EPOCH_COLUMNS)
    export(store, {diverged: {FIGURE_2}}, PROTOCOL, tmp_path / "small")
    exported = read_results(tmp_path / "small").epochs.drop(columns="run_id")
    assert exported.dtypes.equals(epochs.dtypes)


@pytest.mark.parametrize(
    ("optimizer", "columns"),
    [
        (
            {"name": "clr", "max_lr": 10},
            {"learning_rate": None, "max_lr": 10, "arguments": '{"max_lr": 10}'},
        ),
        (
            {"name": "sgd", "_target_": "torch.optim.SGD", "momentum": 0.5, "lr": 0.1},
            {"learning_rate": 0.1, "max_lr": None, "arguments": '{"lr": 0.1, "momentum": 0.5}'},
        ),
        (
            {"name": "clr", "max_lr": math.inf},
            {"max_lr": math.inf, "arguments": '{"max_lr": {"$float": "inf"}}'},
        ),
    ],
)
def test_a_row_of_the_table_runs_has_rate_and_cap(trained, optimizer, columns):
    store, measured, _ = trained
    record = store.finished(measured)
    result = row({**record, "config": {**record["config"], "optimizer": optimizer}})
    assert list(result) == RUN_COLUMNS
    assert {name: result[name] for name in columns} == columns
    arguments = {k: v for k, v in optimizer.items() if k not in ("name", "_target_")}
    assert decode_arguments(result["arguments"]) == arguments


def test_older_tables_are_completed(results):
    runs = pd.read_csv(results / "runs.csv", keep_default_na=False).drop(columns="max_lr")
    runs.to_csv(results / "runs.csv", index=False)
    (results / "corridor_meter.parquet").unlink()
    figure_runs = pd.read_csv(results / "figure_runs.csv", dtype=str).drop(columns="task")
    figure_runs.to_csv(results / "figure_runs.csv", index=False)
    loaded = read_results(results)
    assert set(loaded.figure_runs["task"]) == {""}
    assert {task: len(runs) for task, runs in loaded.by_task.items()} == {"": 2}
    assert loaded.runs["max_lr"].isna().all()
    assert loaded.corridor_meter.empty


@pytest.mark.parametrize(
    "name", ["protocol.json", "runs.csv", "steps.parquet", "figure_runs.csv", "epochs.parquet"]
)
@pytest.mark.parametrize("damage", ["missing", "empty"])
def test_a_missing_or_damaged_table_is_one_line(results, name, damage):
    if damage == "missing":
        (results / name).unlink()
        problem = "is missing; create it with"
    else:
        (results / name).write_text("")
        problem = "cannot be read"
    with pytest.raises(UserError) as error:
        _ = read_results(results).epochs
    assert str(error.value).startswith(f"{results / name} {problem}")
    assert str(error.value).endswith("make reproduce PROTOCOL=small")
    assert "\n" not in str(error.value)


def test_a_run_that_another_process_trains_is_not_imported(trained, results, tmp_path):
    _, name, _ = trained
    copy = Store(tmp_path / "copy")
    with copy.claim(name), pytest.raises(Busy, match=f"{name} is being trained"):
        import_runs(results, copy)
    assert not (copy.folder(name) / "run.json").exists()


def test_imported_runs_have_the_same_records(trained, results, tmp_path):
    store, *names = trained
    copy = Store(tmp_path / "copy")
    assert import_runs(results, copy) == 2
    assert import_runs(results, copy) == 0
    for name in names:
        assert copy.finished(name)["summary"].keys() == store.finished(name)["summary"].keys()
        tables = sorted(path.name for path in store.folder(name).glob("*.parquet"))
        assert sorted(path.name for path in copy.folder(name).glob("*.parquet")) == tables
        for table in tables:
            original = pd.read_parquet(store.folder(name) / table)
            copied = pd.read_parquet(copy.folder(name) / table)
            assert_frame_equal(original, copied)


@pytest.mark.parametrize("dtype", ["str", "category"])
def test_rows_are_selected_by_run(dtype):
    table = pd.DataFrame({"run_id": ["b", None, "a", "c", "b"], "step": range(5)})
    table = table.astype({"run_id": dtype})
    assert rows_of_runs(table, ["b", "c", "missing"])["step"].tolist() == [0, 3, 4]
    assert rows_of_runs(table, set()).empty
    assert rows_of_runs(table[:0], ["b"]).empty
    complete = table.dropna()
    assert rows_of_runs(complete, {"a", "b", "c"}) is complete
