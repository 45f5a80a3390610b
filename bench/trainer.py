"""The trainer's img/s with all recording on, against the barest loop of the same model with its data in memory.

    python bench/trainer.py

ResNet-18, vanilla SGD, 32×32 pixels. The two run in turn, several times, and so share good and bad moments;
printed are the medians and the median of the ratios. The trainer reads FFCV files, normalises, records loss, rate and
‖g‖² of each step, mirrors to W&B offline and shows its bar; its evaluation and its first step are left out.
"""

from __future__ import annotations

import platform
import tempfile
from pathlib import Path
from statistics import median
from time import perf_counter

import pandas as pd
import torch
from torch.nn.functional import cross_entropy

from clr.config import TrainConfig, load
from clr.data import DatasetInfo, Transform, open_loader, prepare
from clr.models import build_model
from clr.provenance import hardware
from clr.trainer import train

ROUNDS, BATCH, EPOCHS = 3, 128, 5


def trainer_speed(info: DatasetInfo, cfg: TrainConfig) -> float:
    """img/s from the run's own record, within its epochs."""
    run = train(cfg, info)
    steps = pd.read_parquet(Path(cfg.store) / run["run_id"] / "steps.parquet")
    within = steps["seconds"].diff()[steps["epoch"].diff() == 0]
    return BATCH * len(within) / float(within.sum())


def bare_speed(info: DatasetInfo, cfg: TrainConfig, n: int, device: torch.device) -> float:
    """img/s of `n` steps."""
    batch = next(open_loader(info, "train", BATCH, cfg.loader, cfg.workers).epoch())
    images, labels = Transform(info, 0, False).test(batch.images.to(device)), batch.labels.to(device)
    model = build_model(cfg.model, len(info.classes), 0).to(device).to(memory_format=torch.channels_last)
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
    return BATCH * n / (_now(device) - start)


def _now(device: torch.device) -> float:
    if device.type == "cuda":
        torch.cuda.synchronize()
    return perf_counter()


def main() -> None:
    device = torch.device("cuda" if torch.cuda.is_available() else "cpu")
    print(f"{hardware()}, Python {platform.python_version()}, torch {torch.__version__}, batch size {BATCH}")
    for precision in ("fp32", "bf16"):
        speeds: dict[str, list[float]] = {"trainer": [], "bare": []}
        with tempfile.TemporaryDirectory() as store:
            fixed = [f"precision={precision}", "optimizer=sgd", "optimizer.lr=0.01", f"store={store}"]
            for seed in range(ROUNDS + 1):  # the first is a warm-up
                cfg = load([*fixed, f"batch_size={BATCH}", f"epochs={EPOCHS}", f"seed={seed}"])
                info = prepare(cfg.dataset, cfg.data_dir, cfg.loader)
                speeds["trainer"].append(trainer_speed(info, cfg))
                speeds["bare"].append(bare_speed(info, cfg, EPOCHS * (info.num_train // BATCH - 1), device))
        pairs = list(zip(speeds["trainer"], speeds["bare"], strict=True))[1:]
        print(
            f"{precision}: trainer {median(t for t, _ in pairs):.0f} img/s, "
            f"bare loop {median(b for _, b in pairs):.0f}, ratio {median(t / b for t, b in pairs):.3f}"
        )


if __name__ == "__main__":
    main()
