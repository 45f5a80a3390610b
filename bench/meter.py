"""What the corridor meter costs: the trainer with it against the trainer without, and which K keeps it under 5%.

    python bench/meter.py

ResNet-18, CLR, 32×32 pixels. Runs that measure every step and runs that measure none take turns, and so share good and
bad moments; what a measurement costs is the median difference of their steps, in steps, and at diagnostics.every=K the
meter takes a Kth of it. Each run's first step and its evaluations are left out.
"""

from __future__ import annotations

import math
import platform
import tempfile
from pathlib import Path
from statistics import median

import pandas as pd
import torch

from clr.config import load
from clr.data import prepare
from clr.provenance import hardware
from clr.trainer import train

ROUNDS, BATCH, EPOCHS, SHARE = 3, 256, 2, 0.05


def seconds_per_step(overrides: list[str]) -> float:
    """From the run's own record, within its epochs."""
    with tempfile.TemporaryDirectory() as store:
        cfg = load([*overrides, f"store={store}", "wandb.mode=disabled", f"batch_size={BATCH}", f"epochs={EPOCHS}"])
        run = train(cfg, prepare(cfg.dataset, cfg.data_dir, cfg.loader))
        steps = pd.read_parquet(Path(store) / run["run_id"] / "steps.parquet")
    return float(steps["seconds"].diff()[steps["epoch"].diff() == 0].median())


def main() -> None:
    threads = torch.get_num_threads()
    print(
        f"{hardware()}, {threads} threads, Python {platform.python_version()}, torch {torch.__version__}, batch {BATCH}"
    )
    for precision in ("fp32", "bf16"):
        costs = []
        for number in range(-1, ROUNDS):  # the first is a warm-up
            fixed = [f"precision={precision}", f"seed={number + 1}"]
            without, measured = seconds_per_step(fixed), seconds_per_step([*fixed, "diagnostics.every=1"])
            if number >= 0:
                costs.append(measured / without - 1)
        cost = median(costs)
        print(
            f"{precision}: a measurement costs {cost:.1f} steps ({min(costs):.1f}–{max(costs):.1f}); "
            f"under {SHARE:.0%} of the time from diagnostics.every={math.ceil(cost / SHARE)}"
        )


if __name__ == "__main__":
    main()
