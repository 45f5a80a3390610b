"""What precision, memory format and torch.compile bring, and what CLR's step adds: the ground of the defaults.

    python bench/options.py

ResNet-18 on 32×32 pixels and ResNet-50 on 64×64 (224×224 on a GPU), forward, backward and step, data in memory. All
variants run in turn, several times, and so share good and bad moments; printed are the median img/s, its ratio to fp32
contiguous, and the share of a step with CLR that is not in one with torch.optim.SGD.
"""

from __future__ import annotations

import platform
from itertools import product
from statistics import median
from time import perf_counter

import torch
from torch import nn
from torch.nn.functional import cross_entropy

from clr import CLR
from clr.config import ModelConfig
from clr.runs.provenance import hardware
from clr.training.device import pick_device, set_precision
from clr.training.models import build_model
from clr.training.optimizers import take_step

ROUNDS = 5


class Variant:
    """One network in one setting, ready to be timed."""

    def __init__(
        self,
        name: str,
        pixels: int,
        batch: int,
        device: torch.device,
        precision: str,
        layout: str,
        compiled: bool,
    ) -> None:
        self.label = f"{name} {pixels} px, {precision}, {layout}{', compiled' if compiled else ''}"
        self._device, self._precision, self._batch = device, precision, batch
        memory_format = getattr(torch, layout)
        generator = torch.Generator().manual_seed(0)
        self._images = torch.randn(batch, 3, pixels, pixels, generator=generator)
        self._images = self._images.to(device, memory_format=memory_format)
        self._labels = torch.randint(10, (batch,), generator=generator).to(device)
        self._net: nn.Module = (
            build_model(ModelConfig(name), 10, 0).to(device).to(memory_format=memory_format)
        )
        self._optimizers = {
            "clr": CLR(self._net.parameters(), max_lr=1e-3),
            "sgd": torch.optim.SGD(self._net.parameters(), lr=1e-3),
        }
        if compiled:
            self._net.compile()
        self.seconds: dict[str, list[float]] = {"clr": [], "sgd": []}

    def round(self, record: bool) -> None:
        """One step with each optimizer."""
        set_precision(self._precision, self._device)
        for key, optimizer in self._optimizers.items():
            start = self._now()
            optimizer.zero_grad()
            with torch.autocast(
                self._device.type, torch.bfloat16, enabled=self._precision == "bf16"
            ):
                loss = cross_entropy(self._net(self._images), self._labels)
            loss.backward()
            take_step(optimizer, loss.detach()) if key == "clr" else optimizer.step()
            if record:
                self.seconds[key].append(self._now() - start)

    def _now(self) -> float:
        if self._device.type == "cuda":
            torch.cuda.synchronize()
        return perf_counter()

    @property
    def speed(self) -> float:
        """img/s with CLR."""
        return self._batch / median(self.seconds["clr"])

    @property
    def added(self) -> float:
        """CLR's share of the step over SGD's, from steps that were neighbours."""
        return median(
            1 - s / c for c, s in zip(self.seconds["clr"], self.seconds["sgd"], strict=True)
        )


def main() -> None:
    device = pick_device("auto", 0)
    gpu = device.type == "cuda"
    print(
        f"{hardware()}, Python {platform.python_version()}, torch {torch.__version__}, {ROUNDS} rounds"
    )
    networks = [
        ("resnet18", 32, 1024 if gpu else 256),
        ("resnet50", 224 if gpu else 64, 128 if gpu else 32),
    ]
    precisions = ["fp32", "tf32", "bf16"] if gpu else ["fp32", "bf16"]
    for name, pixels, batch in networks:  # compiling takes minutes on a CPU
        layouts = [("contiguous_format", False), ("channels_last", False), ("channels_last", True)]
        settings = [(precision, *layout) for precision, layout in product(precisions, layouts)]
        variants = [Variant(name, pixels, batch, device, *setting) for setting in settings]
        for number in range(-2, ROUNDS):  # two to warm up and to compile
            for variant in variants:
                variant.round(record=number >= 0)
        for variant in variants:
            print(
                f"{variant.label}: {variant.speed:.0f} img/s, {variant.speed / variants[0].speed:.2f} of the first, "
                f"CLR adds {variant.added:.1%} to the step"
            )


if __name__ == "__main__":
    main()
