"""Speed of the trainer, with all its records, compared with a minimal loop of the same model.

    python bench/trainer.py

ResNet-18, vanilla SGD, 32×32 pixels. The trainer reads FFCV files, normalizes, records loss, rate
and ‖g‖² of each step, mirrors to W&B offline and draws its bar; the minimal loop has its data in
memory. Evaluation and the first epoch, in which W&B starts, are left out, because they take as long
in a run of minutes as in one of days.

Both run in turn, in many short pieces, with alternating order, so that noise of the host affects
them alike. Prints the median img/s of each, and the ratio of all the trainer's pieces to all those
of the minimal loop, with a 95% bootstrap interval over the pairs.
"""

from __future__ import annotations

import argparse
import platform
import tempfile
from pathlib import Path
from time import perf_counter

import numpy as np
import pandas as pd
import torch
from scipy.stats import bootstrap
from torch.nn.functional import cross_entropy

from clr.config import TrainConfig, load
from clr.data import DatasetInfo, Transform, open_loader, prepare
from clr.runs.provenance import hardware
from clr.training.device import Compute
from clr.training.models import build_model
from clr.training.trainer import train

ROUNDS, BATCH_SIZE, EPOCHS = 12, 128, 3


def trainer_seconds(info: DatasetInfo, cfg: TrainConfig) -> float:
    """Return the trainer's seconds per step, within the epochs after the first."""
    run = train(cfg, info)
    steps = pd.read_parquet(Path(cfg.store) / run["run_id"] / "steps.parquet")
    within = steps["seconds"].diff()[(steps["epoch"].diff() == 0) & (steps["epoch"] > 0)]
    return float(within.mean())


def minimal_loop_seconds(info: DatasetInfo, cfg: TrainConfig, device: torch.device) -> float:
    """Return the minimal loop's seconds per step, over as many steps as the trainer's."""
    batch = next(open_loader(info, "train", BATCH_SIZE, cfg.loader, cfg.workers).epoch())
    images = Transform(info, 0, False).test(batch.images.to(device))
    labels = batch.labels.to(device)
    model = build_model(cfg.model, len(info.classes), 0)
    model = model.to(device).to(memory_format=torch.channels_last)
    optimizer = torch.optim.SGD(model.parameters(), lr=0.01)
    compute = Compute(device, cfg.precision)
    steps = (EPOCHS - 1) * (info.num_train // BATCH_SIZE - 1)
    start = 0.0
    for step in range(steps + 1):
        if step == 1:  # the one before is a warm-up
            start = _now(device)
        with compute.autocast():
            loss = cross_entropy(model(images), labels)
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
    return (_now(device) - start) / steps


def measure(precision: str, device: torch.device) -> None:
    """Time both in one precision and print a line."""
    times: list[tuple[float, float]] = []
    with tempfile.TemporaryDirectory() as store:
        overrides = [
            f"precision={precision}",
            "optimizer=sgd",
            "optimizer.lr=0.01",
            f"store={store}",
            f"batch_size={BATCH_SIZE}",
            f"epochs={EPOCHS}",
        ]
        for seed in range(ROUNDS + 1):
            cfg = load([*overrides, f"seed={seed}"])
            info = prepare(cfg.dataset, cfg.data_dir, cfg.loader)
            loop_first = seed % 2 == 1
            loop = minimal_loop_seconds(info, cfg, device) if loop_first else None
            trainer = trainer_seconds(info, cfg)
            if loop is None:
                loop = minimal_loop_seconds(info, cfg, device)
            times.append((trainer, loop))
    trainer_times, loop_times = np.array(times[1:]).T  # the first is a warm-up
    interval = bootstrap(
        (loop_times, trainer_times), _speed_ratio, paired=True, rng=0
    ).confidence_interval
    print(
        f"{precision}: trainer {BATCH_SIZE / np.median(trainer_times):.0f} img/s, "
        f"minimal loop {BATCH_SIZE / np.median(loop_times):.0f}, "
        f"ratio {_speed_ratio(loop_times, trainer_times):.3f} "
        f"({interval.low:.3f}–{interval.high:.3f})"
    )


def _now(device: torch.device) -> float:
    if device.type == "cuda":
        torch.cuda.synchronize()
    return perf_counter()


def _speed_ratio(loop: np.ndarray, trainer: np.ndarray, axis: int = -1) -> np.ndarray:
    """Return the trainer's img/s divided by the minimal loop's."""
    ratio: np.ndarray = loop.sum(axis) / trainer.sum(axis)
    return ratio


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.parse_args()
    device = torch.device("cuda" if torch.cuda.is_available() else "cpu")
    versions = f"Python {platform.python_version()}, torch {torch.__version__}"
    print(f"{hardware()}, {versions}, batch size {BATCH_SIZE}")
    for precision in ("fp32", "bf16"):
        measure(precision, device)


if __name__ == "__main__":
    main()
