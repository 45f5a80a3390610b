"""Times of things that run in turn, and the ratio of their speeds."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from statistics import median, quantiles
from time import perf_counter
from typing import Any

import torch
from torch import Tensor
from torch.utils.flop_counter import FlopCounterMode

from clr.config import load
from clr.training.models import build_model


@dataclass(frozen=True)
class Ratio:
    """Median of the ratios of neighboring measurements, with their quartiles."""

    median: float
    low: float
    high: float

    @classmethod
    def of(cls, numerators: Sequence[float], denominators: Sequence[float]) -> Ratio:
        """The ratio of measurements that were taken in pairs, at least two."""
        ratios = [a / b for a, b in zip(numerators, denominators, strict=True)]
        low, _, high = quantiles(ratios, n=4, method="inclusive")
        return cls(median(ratios), low, high)


def alternate(
    variants: Mapping[str, Callable[[], Any]], rounds: int, warm_up: int = 1
) -> dict[str, list[float]]:
    """Seconds of each variant in each round.

    All variants run in every round, in reverse order in every second one, so that noise of the host
    affects them alike.

    Args:
        variants: functions by their names. A function may return its own seconds as a float, when
            only a part of it counts.
        warm_up: number of rounds before the first one that counts.
    """
    seconds: dict[str, list[float]] = {name: [] for name in variants}
    for number in range(-warm_up, rounds):
        names = list(variants) if number % 2 == 0 else list(variants)[::-1]
        for name in names:
            start = now()
            own = variants[name]()
            elapsed = own if isinstance(own, float) else now() - start
            if number >= 0:
                seconds[name].append(elapsed)
    return seconds


def now() -> float:
    """The time in seconds, after all work of the GPU, if there is one, is done."""
    if torch.cuda.is_available():
        torch.cuda.synchronize()
    return perf_counter()


def copy_bandwidth(device: torch.device, megabytes: int = 256, rounds: int = 9) -> float:
    """Bytes per second that are read and written in a copy of a large tensor; the median."""
    source = torch.zeros(megabytes * 250_000, device=device)
    target = torch.empty_like(source)
    moved = 2 * source.numel() * source.element_size()
    seconds = alternate({"copy": lambda: target.copy_(source)}, rounds)["copy"]
    return moved / median(seconds)


def product_speed(
    device: torch.device, dtype: torch.dtype, size: int = 2048, rounds: int = 9
) -> float:
    """Floating-point operations per second in the product of two large matrices; the median."""
    a, b = torch.randn(2, size, size, device=device).to(dtype)
    product: Callable[[], Tensor] = lambda: a @ b  # noqa: E731
    seconds = alternate({"product": product}, rounds)["product"]
    return 2 * size**3 / median(seconds)


def training_limit(model: str, pixels: int, precision: str, device: torch.device) -> float:
    """Images per second of training at the speed of a large matrix product.

    A step takes three times the arithmetic of the forward pass.
    """
    network = build_model(load([f"model={model}", "model.init=torchvision"]).model, 10, 0)
    with FlopCounterMode(display=False) as counter, torch.no_grad():
        network.eval()(torch.zeros(1, 3, pixels, pixels))
    dtype = torch.bfloat16 if precision == "bf16" else torch.float32
    return product_speed(device, dtype) / (3 * counter.get_total_flops())
