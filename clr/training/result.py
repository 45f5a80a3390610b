"""The result of a run: the content of its run.json."""

from __future__ import annotations

import math
from dataclasses import asdict
from typing import Any

from clr.config import TrainConfig
from clr.data import DatasetInfo
from clr.runs.provenance import provenance
from clr.runs.status import RunStatus
from clr.training.recorder import Recorder
from clr.training.setup import Setup


def run_record(
    name: str,
    status: RunStatus,
    cfg: TrainConfig,
    info: DatasetInfo,
    setup: Setup,
    recorder: Recorder,
) -> dict[str, Any]:
    """Return the content of run.json, as plain values. Rank 0 calls this."""
    return {
        "run_id": name,
        "status": str(status),
        "config": asdict(cfg),
        "data": {
            "label": info.label,
            "fingerprint": info.fingerprint,
            "num_train": info.num_train,
            "num_test": info.num_test,
        },
        "summary": _summary(recorder, status),
        "device": str(setup.compute.device),
        # These keys are part of the stored format.
        "division": {
            "ranks": setup.division.ranks,
            "micro_batches": setup.division.grad_accum_steps,
            "images_at_once": setup.division.micro_batch_size,
        },
        "provenance": provenance(),
    }


def _summary(recorder: Recorder, status: RunStatus) -> dict[str, Any]:
    """Return the numbers of the table `runs`; NaN for what a diverged run does not have.

    The final training loss is the mean over the steps of the last epoch.
    """
    steps, epochs = recorder.steps.table(), recorder.epochs.table()
    last_epoch = epochs.iloc[-1].to_dict() if len(epochs) else {}
    final_train_loss = math.nan
    if status is RunStatus.FINISHED:
        in_last_epoch = steps["epoch"] == steps["epoch"].max()
        final_train_loss = float(steps.loc[in_last_epoch, "loss"].mean())
    seconds = recorder.seconds
    return {
        "steps": len(steps),
        "final_train_loss": final_train_loss,
        "final_test_loss": last_epoch.get("test_loss", math.nan),
        "final_test_accuracy": last_epoch.get("test_accuracy", math.nan),
        "final_test_top5_accuracy": last_epoch.get("test_top5_accuracy", math.nan),
        "seconds": seconds,
        "images_per_second": float(steps["samples"].max()) / seconds,
    }
