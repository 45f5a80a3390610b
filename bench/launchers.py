"""Time of 33 short runs by warm workers, by calls of train.py and by Hydra's joblib launcher.

    python bench/launchers.py

The runs are the same: ResNet-18 on 200 digits, W&B offline, two epochs, one thread. Each call of
train.py loads Python's modules, W&B and the data; a warm worker loads them once. All ways run in
turn.
"""

from __future__ import annotations

import argparse
import subprocess
import sys
import tempfile
from functools import partial
from importlib.util import find_spec
from statistics import median
from time import perf_counter

from bench_table import ROOT, Row, row, save
from bench_timing import Ratio, alternate

ROUNDS = 2
RUNS = 33  # as many as the first version of `quick` had
SHORT = [
    *("dataset.train_samples=200", "dataset.test_samples=100", "batch_size=50", "epochs=2"),
    "threads=1",  # runs with different numbers of threads are different runs
]


def seconds_of(store: str, *arguments: str) -> float:
    """Call train.py and return the seconds it took."""
    start = perf_counter()
    command = [sys.executable, "train.py", *arguments, *SHORT, f"store={store}"]
    subprocess.run(command, cwd=ROOT, check=True, capture_output=True)
    return perf_counter() - start


def one_by_one(store: str) -> None:
    """Call train.py once for each run."""
    for seed in range(RUNS):
        seconds_of(tempfile.mkdtemp(dir=store), f"seed={seed}")


def multirun(store: str, *launcher: str) -> None:
    """Call train.py once for all runs, as Hydra's multirun."""
    seeds = ",".join(map(str, range(RUNS)))
    seconds_of(tempfile.mkdtemp(dir=store), "-m", f"seed={seeds}", *launcher)


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.parse_args()
    peers = [f"{RUNS} calls of `train.py`", "one worker", "Hydra's joblib launcher"]
    with tempfile.TemporaryDirectory() as store:
        ways = {
            "own": partial(multirun, store),
            peers[0]: partial(one_by_one, store),
            peers[1]: partial(multirun, store, "hydra.launcher.n_jobs=1"),
        }
        if find_spec("hydra_plugins.hydra_joblib_launcher"):
            ways[peers[2]] = partial(multirun, store, "hydra/launcher=joblib")
        times = alternate(ways, ROUNDS, warm_up=0)
    own = times.pop("own")
    work = f"{RUNS} short runs by the default launcher, {median(own):.0f} s: speed"
    aims = {peers[0]: "≥ 3", peers[1]: "≥ 1"}
    rows = [
        row(work, name, Ratio.of(its, own), aim=aims.get(name, "≥ 3"))
        for name, its in times.items()
    ]
    if peers[2] not in times:
        rows.append(Row(work, peers[2], None, aim="≥ 3", note="the package is not installed"))
    save("python bench/launchers.py", rows)


if __name__ == "__main__":
    main()
