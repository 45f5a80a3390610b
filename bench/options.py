"""Speed of precisions, memory formats and torch.compile, and the cost of CLR's step.

    python bench/options.py

ResNet-18 at 32×32 pixels and ResNet-50 at 64×64 (224×224 on a GPU): forward and backward pass and
optimizer step, with the data in memory. All variants run in turn, several times, so that noise of
the host affects them alike. Prints the median img/s, its ratio to fp32 contiguous, and the share of
a step with CLR that a step with torch.optim.SGD does not take.
"""

from __future__ import annotations

import argparse
import platform
from dataclasses import dataclass
from itertools import product
from statistics import median
from time import perf_counter

import torch
from torch import nn
from torch.nn.functional import cross_entropy

from clr import CLR
from clr.config import load
from clr.runs.provenance import hardware
from clr.training.device import Compute, pick_device, set_precision
from clr.training.models import build_model
from clr.training.optimizers import take_step

ROUNDS = 5
WARM_UP_ROUNDS = 2  # compiling takes minutes on a CPU


@dataclass(frozen=True)
class Network:
    """A network and the size of its batches."""

    name: str
    pixels: int
    batch_size: int


@dataclass(frozen=True)
class Setting:
    """One combination of precision, memory format and compilation."""

    precision: str
    memory_format: str
    compiled: bool


class Variant:
    """One network in one setting, ready to be timed."""

    def __init__(self, network: Network, setting: Setting, device: torch.device) -> None:
        compiled = ", compiled" if setting.compiled else ""
        self.label = (
            f"{network.name} {network.pixels} px, "
            f"{setting.precision}, {setting.memory_format}{compiled}"
        )
        self._batch_size = network.batch_size
        self._compute = Compute(device, setting.precision)
        memory_format = getattr(torch, setting.memory_format)
        generator = torch.Generator().manual_seed(0)
        shape = (network.batch_size, 3, network.pixels, network.pixels)
        images = torch.randn(*shape, generator=generator)
        self._images = images.to(device, memory_format=memory_format)
        labels = torch.randint(10, (network.batch_size,), generator=generator)
        self._labels = labels.to(device)
        cfg = load([f"model={network.name}", "model.init=torchvision"])
        model = build_model(cfg.model, 10, 0)
        self._model: nn.Module = model.to(device).to(memory_format=memory_format)
        self._optimizers = {
            "clr": CLR(self._model.parameters(), max_lr=1e-3),
            "sgd": torch.optim.SGD(self._model.parameters(), lr=1e-3),
        }
        if setting.compiled:
            self._model.compile()
        self.seconds: dict[str, list[float]] = {"clr": [], "sgd": []}

    def run_round(self, record: bool) -> None:
        """Take one step with each optimizer."""
        set_precision(self._compute.precision, self._compute.device)
        for name, optimizer in self._optimizers.items():
            start = self._now()
            optimizer.zero_grad()
            with self._compute.autocast():
                loss = cross_entropy(self._model(self._images), self._labels)
            loss.backward()
            if name == "clr":
                take_step(optimizer, loss.detach())
            else:
                optimizer.step()
            if record:
                self.seconds[name].append(self._now() - start)

    def _now(self) -> float:
        if self._compute.device.type == "cuda":
            torch.cuda.synchronize()
        return perf_counter()

    @property
    def speed(self) -> float:
        """img/s with CLR."""
        return self._batch_size / median(self.seconds["clr"])

    @property
    def added_share(self) -> float:
        """CLR's additional share of a step, compared with SGD in the same round."""
        pairs = zip(self.seconds["clr"], self.seconds["sgd"], strict=True)
        return median(1 - sgd / clr for clr, sgd in pairs)


def measure(network: Network, settings: list[Setting], device: torch.device) -> None:
    """Time a network in all settings and print a line for each."""
    variants = [Variant(network, setting, device) for setting in settings]
    for number in range(-WARM_UP_ROUNDS, ROUNDS):
        for variant in variants:
            variant.run_round(record=number >= 0)
    for variant in variants:
        ratio = variant.speed / variants[0].speed
        print(
            f"{variant.label}: {variant.speed:.0f} img/s, {ratio:.2f} of the first, "
            f"CLR adds {variant.added_share:.1%} to the step"
        )


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.parse_args()
    device = pick_device("auto", 0)
    gpu = device.type == "cuda"
    versions = f"Python {platform.python_version()}, torch {torch.__version__}"
    print(f"{hardware()}, {versions}, {ROUNDS} rounds")
    precisions = ["fp32", "tf32", "bf16"] if gpu else ["fp32", "bf16"]
    layouts = [("contiguous_format", False), ("channels_last", False), ("channels_last", True)]
    settings = [Setting(precision, *layout) for precision, layout in product(precisions, layouts)]
    measure(Network("resnet18", 32, 1024 if gpu else 256), settings, device)
    measure(Network("resnet50", 224 if gpu else 64, 128 if gpu else 32), settings, device)


if __name__ == "__main__":
    main()
