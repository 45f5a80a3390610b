"""Results with given losses, one step per epoch, so that verdicts can be computed by hand."""

import json
import math
import runpy
import sys
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pandas as pd

from clr.analysis.verdicts import evidence, rules, table

ROOT = Path(__file__).resolve().parents[2]
SEEDS = (0, 1, 2)


def call(script, *arguments):
    """Run scripts/`script`.py in this process with these arguments; return its exit code."""
    before, sys.argv = sys.argv, [f"{script}.py", *map(str, arguments)]
    try:
        runpy.run_path(str(ROOT / "scripts" / f"{script}.py"), run_name="__main__")
    except SystemExit as end:
        return end.code
    finally:
        sys.argv = before
    return 0


def falling(halvings, steps=13, seeds=SEEDS):
    """Losses by seed that start at 1 and are divided by 2^halvings at each step.

    A factor of 0.999 keeps them from hitting a target exactly.
    """
    losses = [1.0, *(0.999 * 2.0 ** (-halvings * step) for step in range(1, steps))]
    return {seed: losses for seed in seeds}


def constant(losses):
    """The same losses in every seed."""
    return {seed: losses for seed in SEEDS}


def sweep(best=1.0):
    """Losses by rate and seed: the middle one of three rates is the best."""
    return {0.01: falling(best / 2), 0.1: falling(best), 1.0: falling(best / 3)}


@dataclass(frozen=True)
class Setting:
    """Everything about a protocol but the losses."""

    rates: tuple[float, ...] | None = None  # CLR's rate at each step, in each seed; 0.1 by default
    label: str = "CIFAR-10"
    scaled: bool = False
    figures: tuple[object, ...] = (2, 4)
    max_lr: float | None = None
    missing: tuple[str, ...] = ()  # ids of runs that figures need and runs.csv lacks


def write(folder, clr, sgd, setting=None):
    """Write CLR's losses by seed and SGD's by rate and seed as results; None marks divergence."""
    setting = setting or Setting()
    curves = [("clr", None, clr), *(("sgd", rate, losses) for rate, losses in sgd.items())]
    runs, steps = [], []
    for optimizer, rate, by_seed in curves:
        for seed, losses in by_seed.items():
            run = run_row(optimizer, rate, seed, losses, setting)
            runs.append(run)
            steps += step_rows(run["run_id"], rate, losses, setting)
    needed = [(figure, run["run_id"]) for figure in setting.figures for run in runs]
    needed = pd.DataFrame(needed, columns=["figure", "run_id"])
    protocol = {"name": folder.name, "scaled": setting.scaled}
    return write_tables(folder, runs, steps, needed, protocol, setting.missing)


def write_tables(folder, runs, steps, needed, protocol, missing=()):
    """Write the tables of a protocol; runs.csv lacks the runs with the ids `missing`."""
    folder.mkdir(parents=True, exist_ok=True)
    completed = pd.DataFrame([run for run in runs if run["run_id"] not in missing])
    completed = completed.astype({"learning_rate": float, "max_lr": float})
    completed.to_csv(folder / "runs.csv", index=False)
    columns = ["run_id", "step", "epoch", "loss", "learning_rate"]
    pd.DataFrame(steps, columns=columns).to_parquet(folder / "steps.parquet")
    epochs = [(run["run_id"], epoch, 0.5) for run in runs for epoch in range(1, run["epochs"] + 1)]
    columns = ["run_id", "epoch", "test_accuracy"]
    pd.DataFrame(epochs, columns=columns).to_parquet(folder / "epochs.parquet")
    needed.to_csv(folder / "figure_runs.csv", index=False)
    protocol = {"title": "written by a test", "seeds": list(SEEDS)} | protocol
    (folder / "protocol.json").write_text(json.dumps(protocol))
    return folder


def run_id(optimizer, rate, seed):
    return f"cifar10-resnet18-b64-{optimizer}{'' if rate is None else f'{rate:g}'}-s{seed}-hash"


def run_row(optimizer, rate, seed, losses, setting):
    """The run's row of runs.csv."""
    diverged = losses[-1] is None
    return {
        "run_id": run_id(optimizer, rate, seed),
        "dataset": "cifar10",
        "data_label": setting.label,
        "num_train": 64,
        "model": "resnet18",
        "optimizer": optimizer,
        "learning_rate": rate,
        "max_lr": setting.max_lr if optimizer == "clr" else None,
        "batch_size": 64,
        "seed": seed,
        "epochs": len(losses),
        "precision": "fp32",
        "status": "diverged" if diverged else "finished",
        "final_train_loss": math.nan if diverged else losses[-1],
        "final_test_accuracy": 0.5 + 0.1 * seed,
    }


def step_rows(name, rate, losses, setting):
    """The run's rows of steps: run_id, step, epoch, loss, learning_rate."""
    numbers = [math.inf if loss is None else loss for loss in losses]
    rates = setting.rates or [0.1] * len(losses)
    if rate is not None:
        rates = [rate] * len(losses)
    steps = range(1, len(losses) + 1)
    return list(zip([name] * len(losses), steps, range(len(losses)), numbers, rates, strict=True))


def judge(folder):
    """The tables claims, targets and curves of a results folder."""
    loaded = rules.load()
    return table.judge(evidence.read(folder, loaded.window_epochs), loaded)


def claim(folder, name):
    """The only row of a claim that has runs."""
    claims = judge(folder)["claims"]
    (row,) = claims[(claims["claim"] == name) & (claims["data"] != "")].to_dict("records")
    return row


def noise(seed, n=3):
    return np.random.default_rng(seed).uniform(0.5, 2.0, n)
