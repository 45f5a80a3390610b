"""Update of the tables by sweeps that are partial, interrupted or smaller."""

import json

import pandas as pd
import pytest

from clr.errors import UserError
from clr.runs.columns import EPOCH_COLUMNS, STEP_COLUMNS
from clr.runs.export import WantedRuns, check_writable, irreplaceable, update_tables
from clr.runs.store import Store

PROTOCOL = {"name": "quick"}
# By run: the figures that need it.
RUNS = {"clr": {"2", "4"}, "sgd0.1": {"2"}, "sgd0.3": {"2"}}


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
        wanted = WantedRuns(planned, dict.fromkeys(planned, 100 * epochs), PROTOCOL)
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
        ["2", "clr"],
        ["2", "sgd0.1"],
        ["2", "sgd0.3"],
        ["4", "clr"],
    ]


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
    wanted = WantedRuns(RUNS, dict.fromkeys(RUNS, 100), PROTOCOL)
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
