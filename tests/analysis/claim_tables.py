"""A protocol's tables whose curves are given loss by loss, one step an epoch: verdicts to be worked out by hand."""

import json
import math
import runpy
import sys
from pathlib import Path

import numpy as np
import pandas as pd

from clr.analysis.verdicts import evidence as records
from clr.analysis.verdicts import rules, table

ROOT = Path(__file__).resolve().parents[2]

SEEDS = (0, 1, 2)


def call(script, *arguments):
    """A door of scripts/ as if it were called with these arguments; the status that it ends with."""
    before, sys.argv = sys.argv, [f"{script}.py", *map(str, arguments)]
    try:
        runpy.run_path(str(ROOT / "scripts" / f"{script}.py"), run_name="__main__")
    except SystemExit as ended:
        return ended.code
    finally:
        sys.argv = before
    return 0


def falling(halvings, steps=13, seeds=SEEDS):
    """Losses that begin at 1 and lose so many factors of 2 a step; a hair more, so that no target is hit exactly."""
    losses = [1.0, *(0.999 * 2.0 ** (-halvings * step) for step in range(1, steps))]
    return {seed: losses for seed in seeds}


def sweep(best=1.0):
    """Three rates of which the one between is the best."""
    return {0.01: falling(best / 2), 0.1: falling(best), 1.0: falling(best / 3)}


def write(
    folder,
    clr,
    sgd,
    rates=None,
    label="CIFAR-10",
    scaled=False,
    figures=(2, 4),
    max_lr=None,
    lost=(),
):
    """CLR's losses by seed; SGD's by rate and seed. None in them is where a run diverged; `lost` ids are not made.

    `rates` are those that CLR takes, step by step, in every seed; 0.1 unless told.
    """
    runs, steps = [], []
    curves = [("clr", None, clr), *(("sgd", rate, losses) for rate, losses in sgd.items())]
    for optimizer, rate, of_seed in curves:
        for seed, losses in of_seed.items():
            run_id = f"cifar10-resnet18-b64-{optimizer}{'' if rate is None else f'{rate:g}'}-s{seed}-hash"
            diverged = losses[-1] is None
            numbers = [math.inf if loss is None else loss for loss in losses]
            used = [rate] * len(losses) if rate is not None else (rates or [0.1] * len(losses))
            steps += [
                (run_id, i, i - 1, *pair)
                for i, pair in enumerate(zip(numbers, used, strict=True), start=1)
            ]
            runs.append(
                {
                    "run_id": run_id,
                    "dataset": "cifar10",
                    "data_label": label,
                    "num_train": 64,
                    "model": "resnet18",
                    "optimizer": optimizer,
                    "learning_rate": rate,
                    "max_lr": max_lr if optimizer == "clr" else None,
                    "batch_size": 64,
                    "seed": seed,
                    "epochs": len(losses),
                    "precision": "fp32",
                    "status": "diverged" if diverged else "finished",
                    "final_train_loss": math.nan if diverged else numbers[-1],
                    "final_test_accuracy": 0.5 + 0.1 * seed,
                }
            )
    folder.mkdir(parents=True, exist_ok=True)
    named = pd.DataFrame(
        [(figure, run["run_id"]) for figure in figures for run in runs],
        columns=["figure", "run_id"],
    )
    kept = pd.DataFrame([run for run in runs if run["run_id"] not in lost])
    kept.astype({"learning_rate": float, "max_lr": float}).to_csv(folder / "runs.csv", index=False)
    columns = ["run_id", "step", "epoch", "loss", "learning_rate"]
    pd.DataFrame(steps, columns=columns).to_parquet(folder / "steps.parquet")
    done = [(run["run_id"], epoch, 0.5) for run in runs for epoch in range(1, run["epochs"] + 1)]
    pd.DataFrame(done, columns=["run_id", "epoch", "test_accuracy"]).to_parquet(
        folder / "epochs.parquet"
    )
    named.to_csv(folder / "figure_runs.csv", index=False)
    protocol = {
        "name": folder.name,
        "title": "made by hand",
        "scaled": scaled,
        "seeds": list(SEEDS),
    }
    (folder / "protocol.json").write_text(json.dumps(protocol))
    return folder


def judged(folder):
    loaded = rules.load()
    return table.judge(records.read(folder, loaded.window_epochs), loaded)


def claim(folder, name):
    """The row of a claim that has runs."""
    claims = judged(folder)["claims"]
    (row,) = claims[(claims["claim"] == name) & (claims["data"] != "")].to_dict("records")
    return row


def noise(seed, n=3):
    return np.random.default_rng(seed).uniform(0.5, 2.0, n)
