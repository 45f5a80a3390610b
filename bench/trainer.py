"""Speed of the trainer, with all its records, compared with a minimal loop of the same model.

    python bench/trainer.py

ResNet-18, vanilla SGD, 32×32 pixels. The trainer takes each batch from the images in memory,
normalizes it, records loss, rate and ‖g‖² of each step, and mirrors to W&B offline; the minimal
loop has one normalized batch. A second one also computes ‖g‖², for which it reads all gradients
once more. Evaluation and the first epoch, in which W&B starts, are left out, because they take as
long in a run of minutes as in one of days.

All run in turn, in many short pieces, with alternating order, so that noise of the host affects
them alike. The limit is the arithmetic of a step at the speed of a large matrix product.
"""

from __future__ import annotations

import argparse
import tempfile
from functools import partial
from itertools import count
from pathlib import Path
from statistics import median

import pandas as pd
import torch
from bench_table import Row, row, save
from bench_timing import Ratio, alternate, now, training_limit
from torch.nn.functional import cross_entropy

from clr.config import TrainConfig, load
from clr.data import DatasetInfo, Transform, open_loader, prepare
from clr.step.grad_norm import grad_norm_sq
from clr.training.device import Compute
from clr.training.models import build_model
from clr.training.trainer import train

ROUNDS, BATCH_SIZE, EPOCHS = 6, 128, 3
LOOPS = {"a minimal loop with its data in memory": False, "the same loop with the norm": True}


def trainer_seconds(info: DatasetInfo, cfg: TrainConfig) -> float:
    """Return the trainer's seconds per step, within the epochs after the first."""
    run = train(cfg, info)
    steps = pd.read_parquet(Path(cfg.store) / run["run_id"] / "steps.parquet")
    within = steps["seconds"].diff()[(steps["epoch"].diff() == 0) & (steps["epoch"] > 0)]
    return float(within.mean())


def minimal_loop_seconds(
    info: DatasetInfo, cfg: TrainConfig, device: torch.device, with_norm: bool
) -> float:
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
            start = now()
        with compute.autocast():
            loss = cross_entropy(model(images), labels)
        optimizer.zero_grad()
        loss.backward()
        if with_norm:
            grad_norm_sq([p.grad for p in model.parameters() if p.grad is not None])
        optimizer.step()
    return (now() - start) / steps


def measure(precision: str, device: torch.device) -> list[Row]:
    """Time the trainer and both loops in one precision."""
    seeds = count()
    with tempfile.TemporaryDirectory() as store:
        overrides = [
            f"precision={precision}",
            "optimizer=sgd",
            "optimizer.lr=0.01",
            f"store={store}",
            f"batch_size={BATCH_SIZE}",
            f"epochs={EPOCHS}",
            "dataset.test_samples=100",
        ]
        cfg = load(overrides)
        info = prepare(cfg.dataset, cfg.data_dir, cfg.loader)

        def trainer() -> float:
            return trainer_seconds(info, load([*overrides, f"seed={next(seeds)}"]))

        loops = {
            name: partial(minimal_loop_seconds, info, cfg, device, with_norm)
            for name, with_norm in LOOPS.items()
        }
        times = alternate({"trainer": trainer, **loops}, ROUNDS)
    speed = BATCH_SIZE / median(times["trainer"])
    limit = training_limit("resnet18", 32, precision, device)
    return [
        row(
            f"a training step with all records, {precision}, {speed:.0f} img/s: speed",
            name,
            Ratio.of(times[name], times["trainer"]),
            aim="≥ 0.99",
            limit=f"{limit:.0f} img/s by a large matrix product",
            share=speed / limit,
        )
        for name in LOOPS
    ]


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.parse_args()
    device = torch.device("cuda" if torch.cuda.is_available() else "cpu")
    rows = [line for precision in ("fp32", "bf16") for line in measure(precision, device)]
    save("python bench/trainer.py", rows)


if __name__ == "__main__":
    main()
