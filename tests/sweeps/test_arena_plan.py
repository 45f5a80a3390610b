"""Runs of the arena: each method over the grid of its own config."""

import pytest
from planned_runs import containing, planned_figures, sweep_config

from clr.config import CONFIGS
from clr.configured_optimizers import Method
from clr.sweeps import overrides
from clr.sweeps.overrides import figure_overrides
from clr.tuning import Tuning


def test_the_arena_runs_each_method_over_its_own_grid_with_seeds_outermost():
    figures, runs = planned_figures("arena", "methods=[clr,sgd]")
    assert figures == {"arena": runs}
    rates = [f"optimizer.lr={rate}" for rate in (0.006, 0.025, 0.1, 0.4, 0.001, 2.0, 10.0)]
    tuned = [("optimizer=clr",), *(("optimizer=sgd", rate) for rate in rates[:4])]
    beyond = [("optimizer=sgd", rate) for rate in rates[4:]]
    assert [
        (run[-1], run[-2], *run[-2 - len(own) : -2])
        for run, own in zip(runs, 3 * [*tuned, *tuned, *beyond], strict=True)
    ] == [
        (f"seed={seed}", f"batch_size={size}", *own)
        for seed in range(3)
        for size, methods in ((64, tuned), (256, [*tuned, *beyond]))
        for own in methods
    ]
    small = containing(runs, "batch_size=64")
    assert len(containing(small, "epochs=4")) == len(small) == 15


def test_the_methods_of_the_arena_are_the_optimizers_with_a_title():
    _, runs = planned_figures("arena", "protocol.seeds=[0]")
    named = {
        word.removeprefix("optimizer=") for run in runs for word in run if "optimizer=" in word
    }
    titled = {
        path.stem
        for path in (CONFIGS / "optimizer").glob("*.yaml")
        if "\ntitle:" in path.read_text()
    }
    assert named == titled >= {"clr", "clr_warmup", "sgd"}


CAPPED = Method("Capped", {"max_lr": 1.0}, Tuning("max_lr", (0.3, 1.0)))
TUNED_FROM_NONE = Method("Tuned from none", {"max_lr": None}, Tuning("max_lr", (0.3, 1.0)))
OUTSIDE = Method("Outside", {"lr": 0.5}, Tuning("lr", (0.1, 1)))
BEYOND = Method("Beyond", {"lr": 0.1}, Tuning("lr", (0.1, 1), (7,)))


@pytest.mark.parametrize(
    ("method", "expected", "grid"),
    [
        # The task's cap does not overwrite a tuned one.
        (CAPPED, [["optimizer.max_lr=0.3"], ["optimizer.max_lr=1.0"]], {"default": 1.0}),
        (
            TUNED_FROM_NONE,
            [["optimizer.max_lr=0.3"], ["optimizer.max_lr=1.0"], []],
            {"default": None},
        ),
        (Method("Own cap", {"max_lr": 1.0}, None), [[]], {}),
        # A default that is not among the values is a run of its own.
        (OUTSIDE, [["optimizer.lr=0.1"], ["optimizer.lr=1"], []], {"default": 0.5}),
        # The protocol asks for the values beyond at batch size 256, and this test trains at 64.
        (BEYOND, [["optimizer.lr=0.1"], ["optimizer.lr=1"]], {"default": 0.1}),
        (Method("Free", {"max_lr": None}, None), [["optimizer.max_lr=10"]], {}),
    ],
)
def test_a_grid_of_its_own(method, expected, grid, monkeypatch):
    monkeypatch.setattr(overrides, "read_method", lambda name: method)
    sweep = sweep_config("protocol=arena", "methods=[mine]", "protocol.seeds=[0]")
    sweep.protocol.tasks["arena"].max_lr = 10
    sweep.protocol.tasks["arena"].batch_sizes = [64]
    runs = [run for _, run in figure_overrides("arena", sweep)]
    at = runs[0].index("optimizer=mine")
    assert [run[at + 1 : -2] for run in runs] == expected
    if method.tuning is not None:
        grid = {"key": method.tuning.key, "values": list(method.tuning.values), **grid}
    assert overrides.own_grids(sweep) == {"mine": grid}


def test_values_beyond_a_grid_run_at_the_batch_sizes_of_the_task(monkeypatch):
    monkeypatch.setattr(overrides, "read_method", lambda name: BEYOND)
    sweep = sweep_config("protocol=arena", "methods=[mine]", "protocol.seeds=[0]")
    runs = [run for _, run in figure_overrides("arena", sweep)]
    rates = [(run[-2], run[-3]) for run in runs]
    small, large = "batch_size=64", "batch_size=256"
    assert rates == [
        (small, "optimizer.lr=0.1"),
        (small, "optimizer.lr=1"),
        (large, "optimizer.lr=0.1"),
        (large, "optimizer.lr=1"),
        (large, "optimizer.lr=7"),
    ]


def test_protocols_without_an_arena_record_no_grids():
    assert overrides.own_grids(sweep_config("protocol=quick")) == {}
