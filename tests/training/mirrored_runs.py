"""Small runs whose mirror is compared with their records."""

import signal
import time

import pandas as pd
from entry_points import PLAIN, TINY, Train

# Two steps in each of two epochs; a mirror is switched on by the tests themselves.
MIRRORED = [
    *TINY,
    *(override for override in PLAIN if not override.startswith("wandb.")),
    "dataset.train_samples=100",
    "dataset.test_samples=50",
]


def places(tmp):
    return [f"data_dir={tmp / 'data'}", f"store={tmp / 'runs'}"]


def run_folder(tmp):
    (folder,) = [path for path in (tmp / "runs").iterdir() if path.is_dir()]
    return folder


def interrupt(tmp, args, signal_number):
    """Start a run, and send it a signal when it has a checkpoint; return its exit code."""
    run = Train([*args, *places(tmp), "checkpoint.seconds=0"], tmp / "interrupted")
    deadline = time.monotonic() + 100
    while not list(tmp.glob("runs/*/checkpoints/step-*.pt")) and time.monotonic() < deadline:
        time.sleep(0.005)
    run.kill(signal_number)
    return run.wait()


def resume(tmp, args):
    run = Train([*args, *places(tmp)], tmp / "resumed")
    assert run.wait() == 0, run.output()


def assert_mirrored(rows, folder):
    """Compare a mirror's values, by step and key, with the records of the run in `folder`.

    Args:
        rows: for each step a dict such as {"train/loss": 2.3}.
    """
    steps = pd.read_parquet(folder / "steps.parquet")
    epochs = pd.read_parquet(folder / "epochs.parquet")
    assert sorted(rows) == steps["step"].tolist()
    for step in steps.to_dict("records"):
        row = rows[step["step"]]
        for column in ("loss", "learning_rate", "grad_norm_sq"):
            assert row[f"train/{column}"] == step[column], (step["step"], column)
    for epoch in epochs.to_dict("records"):
        row = rows[epoch["step"]]
        for column in ("test_loss", "test_accuracy"):
            assert row[f"test/{column}"] == epoch[column], (epoch["step"], column)
    tested = {step for step, row in rows.items() if "test/test_loss" in row}
    assert tested == set(epochs["step"])


INTERRUPTIONS = [signal.SIGKILL, signal.SIGTERM]
