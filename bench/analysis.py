"""Time of figures, verdicts and report from the records of 1,000 runs of 10,000 steps.

    python bench/analysis.py [--seeds N] [--steps N]

The tables are those of results/quick with many seeds and made-up steps. Each script of the analysis
runs once, in a process of its own. Prints its time and the peak of its memory.
"""

from __future__ import annotations

import argparse
import json
import os
import subprocess
import sys
import tempfile
from concurrent.futures import ProcessPoolExecutor
from dataclasses import dataclass
from multiprocessing import get_context
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
from bench_table import ROOT, Row, save
from bench_timing import now

from clr.files import write_json, write_parquet, write_text

EXAMPLE = ROOT / "results" / "quick"
EPOCHS = 100


@dataclass(frozen=True)
class Size:
    """Number of seeds and of steps of each run."""

    seeds: int
    steps: int


def write_results(folder: Path, size: Size) -> int:
    """Write the tables of a results folder; return the number of its runs."""
    runs = pd.read_csv(EXAMPLE / "runs.csv").query("seed == 0")
    records = {
        record["run_id"]: record
        for line in (EXAMPLE / "runs.jsonl").read_text().splitlines()
        if (record := json.loads(line))["config"]["seed"] == 0
    }
    needs = pd.read_csv(EXAMPLE / "figure_runs.csv")
    needs = needs[needs["run_id"].isin(runs["run_id"])]
    copies: dict[str, list[Any]] = {"runs": [], "needs": [], "steps": [], "epochs": [], "lines": []}
    rng = np.random.default_rng(0)
    for seed in range(size.seeds):
        names = {name: name.replace("-s0-", f"-s{seed}-") for name in runs["run_id"]}
        copies["needs"].append(needs.replace({"run_id": names}))
        copies["runs"].append(
            runs.replace({"run_id": names}).assign(seed=seed, steps=size.steps, epochs=EPOCHS)
        )
        for name, copy in names.items():
            record = records[name]
            config = record["config"] | {"seed": seed, "epochs": EPOCHS}
            copies["lines"].append(json.dumps(record | {"run_id": copy, "config": config}))
            steps = make_steps(copy, size.steps, config["optimizer"].get("lr"), rng)
            copies["steps"].append(steps)
            copies["epochs"].append(make_epochs(copy, size.steps))
    folder.mkdir()
    protocol = json.loads((EXAMPLE / "protocol.json").read_text())
    write_json(protocol | {"seeds": list(range(size.seeds))}, folder / "protocol.json")
    write_text("\n".join(copies["lines"]) + "\n", folder / "runs.jsonl")
    for name in ("runs", "figure_runs"):
        table = pd.concat(copies["needs" if name == "figure_runs" else name])
        table.to_csv(folder / f"{name}.csv", index=False)
    for name in ("steps", "epochs"):
        write_parquet(pd.concat(copies[name], ignore_index=True), folder / f"{name}.parquet")
    return len(copies["lines"])


def make_steps(
    run_id: str, number: int, rate: float | None, rng: np.random.Generator
) -> pd.DataFrame:
    """Steps of a run whose loss falls exponentially, with noise."""
    step = np.arange(1, number + 1)
    progress = step / number
    loss = 2.3 * np.exp(-4 * progress) * rng.lognormal(0, 0.1, number)
    return pd.DataFrame(
        {
            "run_id": run_id,
            "step": step,
            "epoch": (step - 1) * EPOCHS // number,
            "samples": step * 256,
            "loss": loss,
            "learning_rate": 0.1 * (1 + progress) if rate is None else rate,
            "grad_norm_sq": loss,
            "seconds": step * 0.1,
        }
    )


def make_epochs(run_id: str, steps: int) -> pd.DataFrame:
    """Epochs of a run whose accuracy rises."""
    epoch = np.arange(1, EPOCHS + 1)
    return pd.DataFrame(
        {
            "run_id": run_id,
            "epoch": epoch,
            "step": epoch * steps // EPOCHS,
            "samples": epoch * steps // EPOCHS * 256,
            "test_loss": 1.0,
            "test_accuracy": 0.1 + 0.8 * epoch / EPOCHS,
            "test_top5_accuracy": 1.0,
            "seconds": epoch * 1.0,
        }
    )


def run_script(script: str, folder: Path) -> tuple[float, float]:
    """Seconds and peak megabytes of a script of the analysis."""
    start = now()
    process = subprocess.Popen(
        [sys.executable, f"scripts/{script}.py", folder], cwd=ROOT, stdout=subprocess.DEVNULL
    )
    _, status, usage = os.wait4(process.pid, 0)
    if status:
        sys.exit(f"scripts/{script}.py failed")
    return now() - start, usage.ru_maxrss / 1e3


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--seeds", type=int, default=100)
    parser.add_argument("--steps", type=int, default=10_000)
    given = parser.parse_args()
    rows = []
    total = 0.0
    with tempfile.TemporaryDirectory() as scratch:
        folder = Path(scratch) / "quick"
        # In a process of its own: a script that is started counts the memory of its parent as its
        # own, as long as it is not larger.
        with ProcessPoolExecutor(1, get_context("spawn")) as pool:
            runs = pool.submit(write_results, folder, Size(given.seeds, given.steps)).result()
        size = f"{runs:,} runs × {given.steps:,} steps"
        for script in ("figures", "claims", "report"):
            seconds, megabytes = run_script(script, folder)
            total += seconds
            rows.append(
                Row(
                    f"`scripts/{script}.py`, {size}: seconds",
                    "–",
                    seconds,
                    note=f"peak {megabytes:,.0f} MB",
                )
            )
    rows.append(Row(f"figures, verdicts and report, {size}: seconds", "–", total, aim="≤ 15"))
    save("python bench/analysis.py", rows)


if __name__ == "__main__":
    main()
