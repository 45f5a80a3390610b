"""What the corridor meter costs: steps of the trainer that it measures against steps between them, and the K for 5%.

    python bench/meter.py

ResNet-18, CLR, the digits at 32×32 pixels. Every other step of a run is measured, so that both kinds share good and bad
moments; what a measurement costs is how much longer its step takes, in steps, and at diagnostics.every=K the meter
takes a Kth of that. First steps and evaluations are left out. Printed first is what the precision does to Hg at the
first step: how far it is, in float32 and under bf16's autocast, from float64's.
"""

from __future__ import annotations

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
from clr.training.models import build_model
from clr.training.trainer import train

ROUNDS, BATCH, EPOCHS, SHARE = 3, 128, 2, 0.05


def hessian_times_gradient(precision: str) -> Tensor:
    """Hg of the first batch at the initial parameters, as one vector in float64."""
    cfg = load()
    info = prepare(cfg.dataset, cfg.data_dir, cfg.loader)
    batch = next(open_loader(info, "train", BATCH, cfg.loader, cfg.workers).epoch())
    dtype = torch.float64 if precision == "fp64" else torch.float32
    images, model = (
        Transform(info, 0, False).test(batch.images).to(dtype),
        build_model(cfg.model, 10, 0).to(dtype),
    )
    params = list(model.parameters())
    with torch.autocast("cpu", torch.bfloat16, enabled=precision == "bf16"):
        loss = cross_entropy(model(images), batch.labels)
    grad = torch.autograd.grad(loss, params, retain_graph=True)
    return torch.cat([part.reshape(-1).double() for part in hvp(loss, params, grad)])


def cost(precision: str, seed: int) -> float:
    """Of one measurement, in steps, by the medians of one run's own record."""
    with tempfile.TemporaryDirectory() as store:
        fixed = [
            f"precision={precision}",
            f"seed={seed}",
            f"batch_size={BATCH}",
            f"epochs={EPOCHS}",
        ]
        cfg = load([*fixed, "diagnostics.every=2", "wandb.mode=disabled", f"store={store}"])
        run = train(cfg, prepare(cfg.dataset, cfg.data_dir, cfg.loader))
        steps = pd.read_parquet(Path(store) / run["run_id"] / "steps.parquet")
    seconds = steps["seconds"].diff()[steps["epoch"].diff() == 0]
    measured = steps.loc[seconds.index, "step"] % 2 == 1
    return float(seconds[measured].median() / seconds[~measured].median() - 1)


def main() -> None:
    print(
        f"{hardware()}, Python {platform.python_version()}, torch {torch.__version__}, batch size {BATCH}"
    )
    exact = hessian_times_gradient("fp64")
    for precision in ("fp32", "bf16"):
        error = (hessian_times_gradient(precision) - exact).norm() / exact.norm()
        print(f"{precision}: Hg differs from float64's by {error:.1%} of its length")
    for precision in ("fp32", "bf16"):
        costs = [cost(precision, seed) for seed in range(ROUNDS + 1)][1:]  # the first is a warm-up
        print(
            f"{precision}: a measurement costs {median(costs):.1f} steps ({min(costs):.1f}–{max(costs):.1f}); "
            f"under {SHARE:.0%} of the time from diagnostics.every={math.floor(median(costs) / SHARE) + 1}"
        )


if __name__ == "__main__":
    main()
