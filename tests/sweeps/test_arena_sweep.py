"""A sweep of the arena, end to end: CLR, and SGD over the grid of its config."""

import json

import pandas as pd
import pytest
from entry_points import PLAIN
from small_sweeps import DATA, run

TASK = "protocol.tasks.arena"


@pytest.mark.slow
def test_an_arena_is_trained_compared_drawn_and_reported(folders, monkeypatch):
    arguments = [
        "protocol=arena",
        "methods=[clr,sgd]",
        "protocol.seeds=[0,1]",
        f"{TASK}.overrides=['dataset=digits','epochs=2']",
        f"{TASK}.batch_sizes=[50]",
        f"{TASK}.epochs_at=null",
        *(f"train.{override}" for override in (*DATA, *PLAIN, f"data_dir={folders.data}")),
        f"store={folders.store}",
        f"results={folders.results}",
    ]
    code, output = run("sweep.py", *arguments)
    assert code == 0, output
    assert "10 runs, 0 completed before" in output
    code, output = run("sweep.py", *arguments)
    assert "10 runs, 10 completed before" in output, "the same command resumes"

    results = f"{folders.results}/arena"
    with open(f"{results}/protocol.json") as file:
        methods = json.load(file)["methods"]
    grid = [0.006, 0.025, 0.1, 0.4]
    assert methods == {"clr": {}, "sgd": {"key": "lr", "values": grid, "default": 0.1}}

    for script in ("arena", "figures", "report"):
        code, output = run(f"scripts/{script}.py", results)
        assert code == 0, output
    runs, arena = (pd.read_csv(f"{results}/{name}.csv") for name in ("runs", "arena"))
    means = runs[runs["optimizer"] == "sgd"].groupby("learning_rate")["final_train_loss"].mean()
    (tuned,) = arena[arena["tuning"] == "tuned"].to_dict("records")
    assert tuned["value"] == means.idxmin()
    assert tuned["final_loss"] == pytest.approx(means.min(), rel=1e-5)
    assert set(arena["optimizer"]) == {"clr", "sgd"}
    with open(f"{results}/report.html") as file:
        report = file.read()
    for part in ("arena-tables", "arena_time", "arena_race", "arena_profiles", "arena_sensitivity"):
        assert f'id="{part}"' in report
    assert 'id="verdicts"' not in report
