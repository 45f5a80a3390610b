"""Time of `CLR.step` relative to `torch.optim.SGD(foreach=True)`, on gradients of ResNets.

    python bench/step.py

Steps of both optimizers alternate. Before each step 128 MB of other memory are overwritten, because
in training a whole backward pass replaces what the previous step left in the caches. Prints the
median time of one step of each optimizer, and the median ratio of neighboring steps.

SGD reads p and g and writes p. CLR has to read g once more, for ‖g‖, before it can write: 4 passes
over memory instead of 3, a ratio of 1.33, or 1.5 where only reading takes time.
"""

from __future__ import annotations

import argparse
import platform
from collections.abc import Callable
from statistics import median
from time import perf_counter

import torch
import torchvision
from torch import Tensor, nn
from torch.nn.functional import cross_entropy

from clr import CLR
from clr.runs.provenance import hardware

ROUNDS = 60
OTHER_MEMORY = 32_000_000  # float32 numbers


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.parse_args()
    device = torch.device("cuda" if torch.cuda.is_available() else "cpu")
    versions = f"Python {platform.python_version()}, torch {torch.__version__}"
    print(f"{hardware()}, {versions}, {ROUNDS} interleaved steps")
    for name in ("resnet18", "resnet50"):
        sgd, clr, ratio = compare(name, device)
        print(f"{name}: SGD {sgd * 1e3:.2f} ms, CLR {clr * 1e3:.2f} ms, ratio {ratio:.2f}")


def compare(name: str, device: torch.device) -> tuple[float, float, float]:
    """Median seconds of a step of SGD and of CLR on the model `name`, and their median ratio."""
    model, loss = model_with_gradients(name, device)
    sgd = torch.optim.SGD(model.parameters(), lr=1e-9, foreach=True)
    clr = CLR(model.parameters(), max_lr=1e-9)
    other = torch.zeros(OTHER_MEMORY, device=device)
    sgd_seconds, clr_seconds = [], []
    for _ in range(ROUNDS):
        sgd_seconds.append(seconds(sgd.step, other))
        clr_seconds.append(seconds(lambda: clr.step(loss=loss), other))
    ratios = [c / s for c, s in zip(clr_seconds, sgd_seconds, strict=True)]
    return median(sgd_seconds), median(clr_seconds), median(ratios)


def model_with_gradients(name: str, device: torch.device) -> tuple[nn.Module, Tensor]:
    """A torchvision model after a backward pass on two random images, and their loss."""
    model = getattr(torchvision.models, name)().to(device)
    images, labels = torch.randn(2, 3, 64, 64, device=device), torch.tensor([0, 1], device=device)
    loss = cross_entropy(model(images), labels)
    loss.backward()
    return model, loss.detach()


def seconds(step: Callable[[], object], other: Tensor) -> float:
    """Duration of one step, with caches full of `other`."""
    other.add_(1)
    synchronize(other.device)
    start = perf_counter()
    step()
    synchronize(other.device)
    return perf_counter() - start


def synchronize(device: torch.device) -> None:
    if device.type == "cuda":
        torch.cuda.synchronize()


if __name__ == "__main__":
    main()
