"""Time of twelve short runs: one call of train.py each, against warm workers.

    python bench/launchers.py

The runs are the same: ResNet-18 on 200 digits, FFCV's loader, W&B offline, two epochs. Each call of
train.py loads Python's modules, FFCV's compiled code, W&B and the data; a warm worker loads them
once. The measurements are taken one after the other.
"""

from __future__ import annotations

import argparse
import subprocess
import sys
import tempfile
from pathlib import Path
from time import perf_counter

import torch

from clr.runs.provenance import hardware

RUNS = 12
SHORT = ["dataset.train_samples=200", "dataset.test_samples=100", "batch_size=50", "epochs=2"]


def seconds_of(store: str, *arguments: str) -> float:
    """Call train.py and return the seconds it took."""
    start = perf_counter()
    command = [sys.executable, "train.py", *arguments, *SHORT, f"store={store}"]
    subprocess.run(command, cwd=Path(__file__).parent.parent, check=True, capture_output=True)
    return perf_counter() - start


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.parse_args()
    print(f"{hardware()}, torch {torch.__version__}, {RUNS} runs")
    seeds = ",".join(map(str, range(RUNS)))
    with tempfile.TemporaryDirectory() as store:
        # Converts the data and fills the caches of the file system.
        seconds_of(f"{store}/first", "seed=99")
        single = sum(seconds_of(f"{store}/single", f"seed={seed}") for seed in range(RUNS))
        print(f"calls of train.py: {single:.0f} s", flush=True)
        for n_jobs in (1, 2):
            jobs = f"hydra.launcher.n_jobs={n_jobs}"
            warm = seconds_of(f"{store}/warm{n_jobs}", "-m", f"seed={seeds}", jobs)
            workers = "1 warm worker" if n_jobs == 1 else f"{n_jobs} warm workers"
            print(f"{workers}: {warm:.0f} s, speed-up {single / warm:.1f}", flush=True)


if __name__ == "__main__":
    main()
