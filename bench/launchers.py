"""Twelve short runs by warm workers against twelve calls of train.py, one measurement after the other.

    python bench/launchers.py

The runs are the same: ResNet-18 on 200 digits, FFCV's loader, W&B offline, two epochs. What the workers save is what
each call loads anew: Python's modules, FFCV's compiled code, W&B, the data.
"""

from __future__ import annotations

import subprocess
import sys
import tempfile
from pathlib import Path
from time import perf_counter

import torch

from clr.runs.provenance import hardware

RUNS = 12
SHORT = ["dataset.train_samples=200", "dataset.test_samples=100", "batch_size=50", "epochs=2"]


def call(store: str, *args: str) -> float:
    """Seconds of one call of train.py."""
    start = perf_counter()
    command = [sys.executable, "train.py", *args, *SHORT, f"store={store}"]
    subprocess.run(command, cwd=Path(__file__).parent.parent, check=True, capture_output=True)
    return perf_counter() - start


def main() -> None:
    print(f"{hardware()}, torch {torch.__version__}, {RUNS} runs")
    seeds = ",".join(map(str, range(RUNS)))
    with tempfile.TemporaryDirectory() as store:
        call(f"{store}/first", "seed=99")  # converts the data, fills the file system's caches
        alone = sum(call(f"{store}/alone", f"seed={seed}") for seed in range(RUNS))
        print(f"calls of train.py: {alone:.0f} s", flush=True)
        for n_jobs in (1, 2):
            warm = call(
                f"{store}/warm{n_jobs}", "-m", f"seed={seeds}", f"hydra.launcher.n_jobs={n_jobs}"
            )
            print(
                f"{n_jobs} warm worker{'s' * (n_jobs > 1)}: {warm:.0f} s, {alone / warm:.1f} times as fast",
                flush=True,
            )


if __name__ == "__main__":
    main()
