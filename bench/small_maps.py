"""Speed of convolutions of small maps as matrix products, `small_maps=matmul`.

    python bench/small_maps.py [--rounds N]

Forward and backward pass of the networks at 32×32 pixels with ImageNet's stem, with either setting
in turn, so that noise of the host affects both alike. Prints the median ratio of their speeds over
the rounds, with the lowest and the highest.
"""

from __future__ import annotations

import argparse
import platform
from itertools import product
from statistics import median
from time import perf_counter

import torch
from torch.nn.functional import cross_entropy

from clr.config import load
from clr.runs.provenance import hardware
from clr.training.device import Compute
from clr.training.models import build_model
from clr.training.small_maps import use_matrix_products

NETWORKS = [("resnet18", 256), ("resnet18", 1000), ("resnet18", 4096), ("resnet50", 250)]


def measure(name: str, batch_size: int, compute: Compute, rounds: int) -> str:
    """Time one network with both settings; return the line that reports it."""
    images = torch.randn(batch_size, 3, 32, 32).to(memory_format=torch.channels_last)
    labels = torch.randint(10, (batch_size,))
    seconds: dict[str, list[float]] = {"convolve": [], "matmul": []}
    models = {}
    for setting in seconds:
        models[setting] = build_model(
            load([f"model={name}", "model.init=torchvision"]).model, 10, 0
        )
        if setting == "matmul":
            use_matrix_products(models[setting])
        models[setting].to(memory_format=torch.channels_last)
    for number in range(-1, rounds):  # the first round warms up
        for setting, model in models.items():
            start = perf_counter()
            with compute.autocast():
                loss = cross_entropy(model(images), labels)
            loss.backward()
            if number >= 0:
                seconds[setting].append(perf_counter() - start)
    ratios = [a / b for a, b in zip(seconds["convolve"], seconds["matmul"], strict=True)]
    return (
        f"{name}, batch size {batch_size}, {compute.precision}: "
        f"{batch_size / median(seconds['matmul']):.0f} img/s, {median(ratios):.2f} "
        f"({min(ratios):.2f}–{max(ratios):.2f}) times that of convolutions"
    )


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--rounds", type=int, default=5)
    rounds = parser.parse_args().rounds
    threads = torch.get_num_threads()
    print(f"{hardware()}, {threads} threads, torch {torch.__version__}, {platform.machine()}")
    for (name, batch_size), precision in product(NETWORKS, ["fp32", "bf16"]):
        print(measure(name, batch_size, Compute(torch.device("cpu"), precision), rounds))


if __name__ == "__main__":
    main()
