"""The trainer's img/s with all recording on, against the barest loop of the same model with its data in memory.

    python bench/trainer.py

ResNet-18, vanilla SGD, 32×32 pixels. The two run in turn, each first every other time, in many short pieces, and so
share good and bad moments; printed are the medians and, as the ratio, all the trainer's pieces over all the bare
loop's, with its 95 % bootstrap interval over the pairs. The trainer reads FFCV files, normalises, records loss, rate
and ‖g‖² of each step, mirrors to W&B offline and shows its bar. Its evaluation and its first epoch, in which W&B
starts, are left out: a run of days has no more of them than a run of minutes.
"""

from __future__ import annotations

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
from clr.training.models import build_model
from clr.training.trainer import train

ROUNDS, BATCH, EPOCHS = 12, 128, 3


def trainer_seconds(info: DatasetInfo, cfg: TrainConfig) -> float:
    """Per step, from the run's own record, within its epochs but the first."""
    run = train(cfg, info)
    steps = pd.read_parquet(Path(cfg.store) / run["run_id"] / "steps.parquet")
    within = steps["seconds"].diff()[(steps["epoch"].diff() == 0) & (steps["epoch"] > 0)]
    return float(within.mean())


def bare_seconds(info: DatasetInfo, cfg: TrainConfig, n: int, device: torch.device) -> float:
    """Per step, over `n` of them."""
    batch = next(open_loader(info, "train", BATCH, cfg.loader, cfg.workers).epoch())
    images, labels = (
        Transform(info, 0, False).test(batch.images.to(device)),
        batch.labels.to(device),
    )
    model = (
        build_model(cfg.model, len(info.classes), 0)
        .to(device)
        .to(memory_format=torch.channels_last)
    )
    optimizer = torch.optim.SGD(model.parameters(), lr=0.01)
    start = 0.0
    for i in range(n + 1):
        if i == 1:
            start = _now(device)
        with torch.autocast(device.type, torch.bfloat16, enabled=cfg.precision == "bf16"):
            loss = cross_entropy(model(images), labels)
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
    return (_now(device) - start) / n


def _now(device: torch.device) -> float:
    if device.type == "cuda":
        torch.cuda.synchronize()
    return perf_counter()


def main() -> None:
    device = torch.device("cuda" if torch.cuda.is_available() else "cpu")
    print(
        f"{hardware()}, Python {platform.python_version()}, torch {torch.__version__}, batch size {BATCH}"
    )
    for precision in ("fp32", "bf16"):
        times: list[tuple[float, float]] = []
        with tempfile.TemporaryDirectory() as store:
            fixed = [
                f"precision={precision}",
                "optimizer=sgd",
                "optimizer.lr=0.01",
                f"store={store}",
            ]
            for seed in range(ROUNDS + 1):
                cfg = load([*fixed, f"batch_size={BATCH}", f"epochs={EPOCHS}", f"seed={seed}"])
                info = prepare(cfg.dataset, cfg.data_dir, cfg.loader)
                n = (EPOCHS - 1) * (info.num_train // BATCH - 1)
                first = bare_seconds(info, cfg, n, device) if seed % 2 else None
                trainer = trainer_seconds(info, cfg)
                times.append((trainer, first or bare_seconds(info, cfg, n, device)))
        trainer_times, bare_times = np.array(times[1:]).T  # the first is a warm-up
        found = bootstrap(
            (bare_times, trainer_times), _ratio, paired=True, rng=0
        ).confidence_interval
        print(
            f"{precision}: trainer {BATCH / np.median(trainer_times):.0f} img/s, bare loop "
            f"{BATCH / np.median(bare_times):.0f}, ratio {_ratio(bare_times, trainer_times):.3f} "
            f"({found.low:.3f}–{found.high:.3f})"
        )


def _ratio(bare: np.ndarray, trainer: np.ndarray, axis: int = -1) -> np.ndarray:
    """The trainer's img/s over the bare loop's."""
    ratio: np.ndarray = bare.sum(axis) / trainer.sum(axis)
    return ratio


if __name__ == "__main__":
    main()
