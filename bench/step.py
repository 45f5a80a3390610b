"""Time of `CLR.step` relative to SGD and ALI-G, on gradients of ResNets.

    python bench/step.py

Steps of all optimizers alternate. Before each step 128 MB of other memory are overwritten, because
in training a whole backward pass replaces what the previous step left in the caches.

SGD reads p and g and writes p. CLR has to read g once more, for ‖g‖, before it can write: 4 passes
over memory instead of 3, a ratio of 1.33, or 1.5 where only reading takes time. The limit is the
time of CLR's 4 passes at the speed of a large copy.
"""

from __future__ import annotations

import argparse
from collections.abc import Callable
from importlib.util import find_spec
from statistics import median

import torch
import torchvision
from bench_table import Row, row, save
from bench_timing import Ratio, alternate, copy_bandwidth, now
from torch import Tensor, nn
from torch.nn.functional import cross_entropy

from clr import CLR

ROUNDS = 60
OTHER_MEMORY = 32_000_000  # float32 numbers
PEER = "ALI-G of pytorch_optimizer"


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.parse_args()
    device = torch.device("cuda" if torch.cuda.is_available() else "cpu")
    rows = [line for name in ("resnet18", "resnet50") for line in compare(name, device)]
    save("python bench/step.py", rows)


def compare(name: str, device: torch.device) -> list[Row]:
    """Time the optimizers on the gradients of the model `name`; a row for each peer."""
    model, loss = model_with_gradients(name, device)
    other = torch.zeros(OTHER_MEMORY, device=device)
    steps = {f"`SGD({kind}=True)`": sgd_step(model, kind) for kind in ("foreach", "fused")}
    if find_spec("pytorch_optimizer"):
        steps[PEER] = alig_step(model, loss)
    clr = CLR(model.parameters(), max_lr=1e-9)
    steps["CLR"] = lambda: clr.step(loss=loss)
    seconds = alternate({key: timed(step, other) for key, step in steps.items()}, ROUNDS)
    own = seconds.pop("CLR")

    passes = 4 * sum(p.numel() * p.element_size() for p in model.parameters())
    bandwidth = copy_bandwidth(device)
    limit = {
        "limit": f"4 passes of a large copy's {bandwidth / 1e9:.1f} GB/s",
        "share": passes / bandwidth / median(own),
    }
    work = f"`CLR.step()`, {name}, {median(own) * 1e3:.1f} ms: time"
    rows = []
    for peer, its in seconds.items():
        aim = "≤ 1.40" if "foreach" in peer else "≤ 1.00" if peer == PEER else ""
        rows.append(row(work, peer, Ratio.of(own, its), aim=aim, **limit))
    if PEER not in seconds:
        rows.append(Row(work, PEER, None, aim="≤ 1.00", note="the package is not installed"))
    return rows


def sgd_step(model: nn.Module, kind: str) -> Callable[[], object]:
    """A step of SGD with one of its implementations."""
    return torch.optim.SGD(model.parameters(), lr=1e-9, **{kind: True}).step


def alig_step(model: nn.Module, loss: Tensor) -> Callable[[], object]:
    """A step of ALI-G, which takes the loss from a closure."""
    from pytorch_optimizer import AliG

    optimizer = AliG(model.parameters(), max_lr=1e-9)
    return lambda: optimizer.step(loss.item)


def model_with_gradients(name: str, device: torch.device) -> tuple[nn.Module, Tensor]:
    """A torchvision model after a backward pass on two random images, and their loss."""
    model = getattr(torchvision.models, name)().to(device)
    images, labels = torch.randn(2, 3, 64, 64, device=device), torch.tensor([0, 1], device=device)
    loss = cross_entropy(model(images), labels)
    loss.backward()
    return model, loss.detach()


def timed(step: Callable[[], object], other: Tensor) -> Callable[[], float]:
    """A function that takes one step with caches full of `other`, and returns its duration."""

    def measure() -> float:
        other.add_(1)
        start = now()
        step()
        return now() - start

    return measure


if __name__ == "__main__":
    main()
