"""Update of the tables by sweeps that are partial, interrupted or smaller."""

import json
from functools import partial

import pandas as pd
import pytest

from clr.errors import UserError
from clr.runs.columns import EPOCH_COLUMNS, STEP_COLUMNS
from clr.runs.export import (
    RunSet,
    WantedRuns,
    check_writable,
    irreplaceable,
    update_tables,
)
from clr.runs.store import Store
from clr.runs.tables import FigureTask, read_results

PROTOCOL = {"name": "quick"}
# By run: the figures that need it.
RUNS = {"clr": {"2", "4"}, "sgd0.1": {"2"}, "sgd0.3": {"2"}}


def wanted_runs(planned, images):
    """Runs of one task, given the figures that need each."""
    needs = {name: {FigureTask(figure, "t") for figure in own} for name, own in planned.items()}
    return WantedRuns(needs, dict.fromkeys(planned, images), PROTOCOL)


def run_json(name, epochs, loss):
    return {
        "run_id": name,
        "status": "finished",
        "config": {
            "dataset": {"name": "digits", "path": "/mine"},
            "model": {"name": "resnet18"},
            "optimizer": {"name": "sgd", "lr": 0.1},
            "batch_size": 50,
            "seed": 0,
            "epochs": epochs,
            "precision": "fp32",
        },
        "data": {"label": "digits", "num_train": 100, "fingerprint": "f"},
        "summary": {"steps": 2, "final_train_loss": loss},
        "device": "cpu",
        "provenance": {"hardware": "h", "revision": "r", "libraries": {"torch": "t"}},
    }


@pytest.fixture
def sweep(tmp_path):
    """Update tmp_path/quick from a new store in which the runs `finished` have the loss `loss`."""
    stores = iter(range(9))

    def update(finished, loss, planned=RUNS, epochs=6):
        store = Store(tmp_path / f"store{next(stores)}")
        for name in finished:
            folder = store.folder(name)
            folder.mkdir(parents=True)
            steps = pd.DataFrame({column: [loss, loss] for column in STEP_COLUMNS})
            steps.to_parquet(folder / "steps.parquet")
            epochs_table = pd.DataFrame({column: [loss] for column in EPOCH_COLUMNS})
            epochs_table.to_parquet(folder / "epochs.parquet")
            (folder / "run.json").write_text(json.dumps(run_json(name, epochs, loss)))
        wanted = wanted_runs(planned, 100 * epochs)
        return update_tables(store, wanted, tmp_path / "quick")

    return update


@pytest.fixture
def losses(tmp_path):
    """Read the loss of each run from all tables, which must agree."""

    def read():
        runs = pd.read_csv(tmp_path / "quick" / "runs.csv")
        by_run = dict(zip(runs["run_id"], runs["final_train_loss"], strict=True))
        steps = pd.read_parquet(tmp_path / "quick" / "steps.parquet")
        assert list(dict.fromkeys(steps["run_id"])) == list(by_run)
        assert steps.groupby("run_id")["loss"].first().to_dict() == by_run
        lines = (tmp_path / "quick" / "runs.jsonl").read_text().splitlines()
        assert [json.loads(line)["run_id"] for line in lines] == list(by_run)
        return by_run

    return read


def contents(tmp_path):
    return {path.name: path.read_bytes() for path in (tmp_path / "quick").iterdir()}


def test_nothing_is_written_without_a_completed_run(sweep, tmp_path):
    assert sweep([], 1.0) == []
    assert contents(tmp_path) == {}


def test_tables_of_a_sweep_grow_until_they_are_complete(sweep, losses):
    assert sweep(["clr"], 1.0) == []
    assert losses() == {"clr": 1.0}
    assert sweep(["clr", "sgd0.1"], 2.0) == []
    assert losses() == {"clr": 2.0, "sgd0.1": 2.0}


def test_an_interrupted_sweep_does_not_replace_complete_tables(sweep, tmp_path):
    sweep(RUNS, 1.0)
    before = contents(tmp_path)
    assert sweep([], 2.0) == ["2", "4"]
    assert contents(tmp_path) == before
    assert sweep(["sgd0.1"], 2.0) == ["2", "4"]
    assert contents(tmp_path) == before


def test_a_complete_sweep_replaces_complete_tables(sweep, losses):
    sweep(RUNS, 1.0)
    assert sweep(RUNS, 2.0) == []
    assert losses() == dict.fromkeys(RUNS, 2.0)


def test_rows_of_other_figures_stay(sweep, losses, tmp_path):
    sweep(RUNS, 1.0)
    assert sweep(["clr"], 2.0, planned={"clr": {"4"}}) == []
    assert losses() == {"clr": 2.0, "sgd0.1": 1.0, "sgd0.3": 1.0}
    figure_runs = pd.read_csv(tmp_path / "quick" / "figure_runs.csv", dtype=str)
    assert figure_runs.values.tolist() == [
        ["2", "t", "clr"],
        ["2", "t", "sgd0.1"],
        ["2", "t", "sgd0.3"],
        ["4", "t", "clr"],
    ]


def test_figures_kept_from_tables_without_tasks_have_none(sweep, tmp_path):
    sweep(RUNS, 1.0)
    for name, read in (("csv", pd.read_csv), ("parquet", pd.read_parquet)):
        table = read(tmp_path / "quick" / f"figure_runs.{name}").drop(columns="task")
        save = table.to_parquet if name == "parquet" else partial(table.to_csv, index=False)
        save(tmp_path / "quick" / f"figure_runs.{name}")
    sweep(["clr"], 2.0, planned={"clr": {"4"}})
    figure_runs = read_results(tmp_path / "quick").figure_runs
    assert figure_runs["task"].tolist() == ["", "", "", "t"]


def test_runs_kept_from_tables_without_arguments_have_none(sweep, tmp_path):
    sweep(RUNS, 1.0)
    folder = tmp_path / "quick"
    older = pd.read_parquet(folder / "runs.parquet").drop(columns="arguments")
    older.to_parquet(folder / "runs.parquet")
    sweep(["clr"], 2.0, planned={"clr": {"4"}})
    runs = pd.read_parquet(folder / "runs.parquet").set_index("run_id")["arguments"]
    assert runs[["sgd0.1", "sgd0.3"]].tolist() == ["", ""]
    assert runs["clr"]


def test_a_run_of_two_tasks_counts_once_for_a_figure(sweep, tmp_path):
    both = {"clr": {FigureTask("cells", "a"), FigureTask("cells", "b")}}
    wanted = WantedRuns(both, {"clr": 600}, PROTOCOL)
    sweep(["clr"], 1.0, planned={"clr": {"cells"}})
    assert wanted.run_sets({"clr"})["cells"] == RunSet(runs=1, completed=1, images=600)
    assert irreplaceable(wanted, tmp_path / "quick") == []
    update_tables(Store(tmp_path / "store0"), wanted, tmp_path / "quick")
    figure_runs = pd.read_csv(tmp_path / "quick" / "figure_runs.csv")
    assert figure_runs.values.tolist() == [["cells", "a", "clr"], ["cells", "b", "clr"]]
    assert irreplaceable(wanted, tmp_path / "quick") == []


def test_a_smaller_sweep_does_not_replace_a_larger_one(sweep, tmp_path):
    sweep(RUNS, 1.0)
    fewer = {"clr": {"2", "4"}, "sgd0.1": {"2"}}
    assert sweep(fewer, 2.0, planned=fewer) == ["2"]
    shorter = {f"{name}-short": figures for name, figures in RUNS.items()}
    before = contents(tmp_path)
    assert sweep(shorter, 2.0, planned=shorter, epochs=1) == ["2", "4"]
    assert contents(tmp_path) == before


def test_a_sweep_that_cannot_replace_the_tables_is_known_before_it_starts(sweep, tmp_path):
    sweep(RUNS, 1.0)
    wanted = wanted_runs(RUNS, 100)
    assert irreplaceable(wanted, tmp_path / "quick") == ["2", "4"]
    assert irreplaceable(wanted, tmp_path / "elsewhere") == []


def test_damaged_tables_are_a_mistake(sweep, tmp_path):
    sweep(RUNS, 1.0)
    (tmp_path / "quick" / "runs.jsonl").write_text("{")
    with pytest.raises(UserError, match="quick are damaged"):
        sweep(RUNS, 2.0)


def test_a_results_folder_that_is_a_file_is_a_mistake(sweep, tmp_path):
    (tmp_path / "quick").touch()
    with pytest.raises(UserError, match="choose another results=FOLDER"):
        sweep(RUNS, 1.0)


def test_a_results_folder_that_cannot_be_created_is_known_before_the_training(tmp_path):
    (tmp_path / "file").touch()
    with pytest.raises(UserError, match="file is not a folder; choose another results=FOLDER"):
        check_writable(tmp_path / "file" / "quick")
    check_writable(tmp_path / "new" / "quick")
    assert not (tmp_path / "new").exists()
