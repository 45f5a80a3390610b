"""Columns of the recorded tables. `results/DICTIONARY.md` gives their units and meaning."""

from __future__ import annotations

STEP_COLUMNS = ["step", "epoch", "samples", "loss", "learning_rate", "grad_norm_sq", "seconds"]
EPOCH_COLUMNS = [
    "epoch",
    "step",
    "samples",
    "test_loss",
    "test_accuracy",
    "test_top5_accuracy",
    "seconds",
]
METER_COLUMNS = [
    "step",
    "epoch",
    "samples",
    "loss",
    "learning_rate",
    "grad_norm_sq",
    "hg_norm",
    "turn",
    "linearity_defect",
    "correction",
    "kappa",
    "fall",
]
RUN_COLUMNS = [
    "run_id",
    "dataset",
    "data_label",
    "num_train",
    "model",
    "optimizer",
    "learning_rate",
    "max_lr",
    "arguments",
    "batch_size",
    "seed",
    "epochs",
    "precision",
    "status",
    "steps",
    "final_train_loss",
    "final_test_loss",
    "final_test_accuracy",
    "final_test_top5_accuracy",
    "seconds",
    "images_per_second",
    "device",
    "hardware",
    "revision",
    "torch",
    "data_fingerprint",
]
# Columns of `runs` that hold text, even where it looks like a number: a dataset may be named 1e3.
RUN_TEXT_COLUMNS = [
    "run_id",
    "dataset",
    "data_label",
    "model",
    "optimizer",
    "arguments",
    "precision",
    "status",
    "device",
    "hardware",
    "revision",
    "torch",
    "data_fingerprint",
]


def recorded_types(columns: list[str]) -> dict[str, str]:
    """Dtypes of recorded columns, which a table without rows would lack."""
    counts = {"step", "epoch", "samples"}
    return {name: "int64" if name in counts else "float64" for name in columns}
