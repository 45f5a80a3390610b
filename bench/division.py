"""Cost of dividing a batch: over two ranks, over micro-batches; and of the corridor meter.

    python bench/division.py

ResNet-18 with CLR on the digits at 32×32 pixels, batch size 256, in processes that alternate. The
speed of a run is that of its steps after the first epoch. Two ranks have one thread each, as one
rank has two.
"""

from __future__ import annotations

import argparse
import subprocess
import sys
import tempfile
from functools import partial
from pathlib import Path

import pandas as pd
from bench_table import ROOT, row, save
from bench_timing import Ratio, alternate

ROUNDS = 3
RUN = [
    *("train.py", "batch_size=256", "epochs=3", "dataset.test_samples=100"),
    *("wandb.mode=disabled", "progress=false"),
]
ONE_RANK = "one rank of two threads, undivided"
TORCHRUN = ["-m", "torch.distributed.run", "--standalone", "--nproc_per_node=2"]
DIVISIONS = {
    ONE_RANK: ["threads=2"],
    "two ranks of one thread": ["threads=1"],
    "4 micro-batches": ["threads=2", "device_batch_size=64"],
    "16 micro-batches": ["threads=2", "device_batch_size=16"],
    "corridor meter at every 13th step": ["threads=2", "diagnostics.every=13"],
}


def seconds_per_step(name: str, store: str) -> float:
    """Seconds of a step, within the epochs after the first."""
    folder = tempfile.mkdtemp(dir=store)
    start = TORCHRUN if name.startswith("two ranks") else []
    command = [sys.executable, *start, *RUN, *DIVISIONS[name], f"store={folder}"]
    subprocess.run(command, cwd=ROOT, check=True, capture_output=True)
    (path,) = Path(folder).glob("*/steps.parquet")
    steps = pd.read_parquet(path)
    within = steps["seconds"].diff()[(steps["epoch"].diff() == 0) & (steps["epoch"] > 0)]
    return float(within.mean())


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.parse_args()
    with tempfile.TemporaryDirectory() as store:
        variants = {name: partial(seconds_per_step, name, store) for name in DIVISIONS}
        times = alternate(variants, ROUNDS, warm_up=0)
    whole = times.pop(ONE_RANK)
    rows = [
        row(f"a step of ResNet-18, {name}: time", ONE_RANK, Ratio.of(its, whole))
        for name, its in times.items()
    ]
    save("python bench/division.py", rows)


if __name__ == "__main__":
    main()
