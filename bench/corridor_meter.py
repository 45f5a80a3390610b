"""Cost of the corridor meter, in steps, and the interval K at which it takes 5% of the time.

    python bench/corridor_meter.py

ResNet-18, CLR, the digits at 32×32 pixels. Every other step of a run is measured, so that noise of
the host affects both kinds of steps alike. The cost of a measurement is how much longer its step
takes, in steps; at diagnostics.every=K the meter takes one K-th of that. First steps and
evaluations are left out.

Prints first the effect of precision on Hg at the first step: the relative distance from float64's,
in float32 and under autocast to bf16.
"""

from __future__ import annotations

import argparse
import math
import platform
import tempfile
from pathlib import Path
from statistics import median

import pandas as pd
import torch
from torch import Tensor
from torch.nn.functional import cross_entropy

from clr.config import load
from clr.data import Transform, open_loader, prepare
from clr.geometry import hvp
from clr.runs.provenance import hardware
from clr.training.device import Compute
from clr.training.models import build_model
from clr.training.trainer import train

ROUNDS, BATCH_SIZE, EPOCHS = 3, 128, 2
SHARE = 0.05  # of the time, for the interval that is printed


def hessian_times_gradient(precision: str) -> Tensor:
    """Return Hg of the first batch at the initial parameters, as one vector in float64."""
    cfg = load()
    info = prepare(cfg.dataset, cfg.data_dir, cfg.loader)
    compute = Compute(torch.device("cpu"), precision)
    batch = next(open_loader(info, "train", BATCH_SIZE, cfg.loader, cfg.workers).epoch())
    images = Transform(info, 0, False).test(batch.images).to(compute.dtype)
    model = build_model(cfg.model, 10, 0).to(compute.dtype)
    parameters = list(model.parameters())
    with compute.autocast():
        loss = cross_entropy(model(images), batch.labels)
    grad = torch.autograd.grad(loss, parameters, retain_graph=True)
    return torch.cat([part.reshape(-1).double() for part in hvp(loss, parameters, grad)])


def measurement_cost(precision: str, seed: int) -> float:
    """Return the cost of one measurement, in steps, from the medians of one run's records."""
    with tempfile.TemporaryDirectory() as store:
        overrides = [
            f"precision={precision}",
            f"seed={seed}",
            f"batch_size={BATCH_SIZE}",
            f"epochs={EPOCHS}",
            "diagnostics.every=2",
            "wandb.mode=disabled",
            f"store={store}",
        ]
        cfg = load(overrides)
        run = train(cfg, prepare(cfg.dataset, cfg.data_dir, cfg.loader))
        steps = pd.read_parquet(Path(store) / run["run_id"] / "steps.parquet")
    seconds = steps["seconds"].diff()[steps["epoch"].diff() == 0]
    measured = steps.loc[seconds.index, "step"] % 2 == 1
    return float(seconds[measured].median() / seconds[~measured].median() - 1)


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.parse_args()
    versions = f"Python {platform.python_version()}, torch {torch.__version__}"
    print(f"{hardware()}, {versions}, batch size {BATCH_SIZE}")
    exact = hessian_times_gradient("fp64")
    for precision in ("fp32", "bf16"):
        error = (hessian_times_gradient(precision) - exact).norm() / exact.norm()
        print(f"{precision}: Hg differs from float64's by {error:.1%} of its length")
    for precision in ("fp32", "bf16"):
        costs = [measurement_cost(precision, seed) for seed in range(ROUNDS + 1)]
        costs = costs[1:]  # the first is a warm-up
        interval = math.floor(median(costs) / SHARE) + 1
        print(
            f"{precision}: a measurement costs {median(costs):.1f} steps "
            f"({min(costs):.1f}–{max(costs):.1f}); "
            f"less than {SHARE:.0%} of the time from diagnostics.every={interval}"
        )


if __name__ == "__main__":
    main()
