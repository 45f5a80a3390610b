"""Bounds of a run of ResNet-50 on ImageNet with 1, 8, 64 and 512 GPUs, computed and not measured.

    python bench/bounds.py [--images-per-second N] [...]

Prints a Markdown table. Bytes are counted on the real network. Speeds are assumptions, given as
arguments: this project has not run on a GPU.
"""

from __future__ import annotations

import argparse
import io
from dataclasses import dataclass

import torch
import torchvision

GPUS = (1, 8, 64, 512)
GPUS_PER_NODE = 8


@dataclass(frozen=True)
class Bytes:
    """Bytes of ResNet-50, counted."""

    gradients: int  # float32
    checkpoint: int  # CLR has no state


def count_bytes() -> Bytes:
    """Count the bytes of ResNet-50's gradients and of its checkpoint."""
    model = torchvision.models.resnet50()
    buffer = io.BytesIO()
    torch.save(model.state_dict(), buffer)
    return Bytes(4 * sum(p.numel() for p in model.parameters()), len(buffer.getvalue()))


def row(gpus: int, size: Bytes, arguments: argparse.Namespace) -> str:
    """The row of the table for a number of GPUs."""
    nodes = max(1, gpus // GPUS_PER_NODE)
    compute = arguments.batch_size / (gpus * arguments.images_per_second)
    local = min(gpus, GPUS_PER_NODE)
    # A ring sends 2 (n − 1) / n of the gradients: within each node, then between the nodes.
    within = 2 * (local - 1) / local * size.gradients / (arguments.gpu_gigabytes * 1e9)
    between = 2 * (nodes - 1) / nodes * size.gradients / (arguments.node_gigabytes * 1e9)
    exchange = within + between
    # DDP sends during the backward pass, about two thirds of the computation.
    exposed = max(0.0, exchange - compute * 2 / 3)
    scalar = arguments.scalar_microseconds * 1e-6 if gpus > 1 else 0.0
    step = compute + exposed + scalar
    loader = local / gpus * arguments.batch_size / step * arguments.image_kilobytes * 1e3
    return (
        f"| {gpus} | {arguments.batch_size / gpus:g} | {compute * 1e3:.0f} ms "
        f"| {exchange * 1e3:.1f} ms | {exposed * 1e3:.1f} ms "
        f"| {scalar / step:.1%} | {loader / 1e6:.0f} MB/s "
        f"| {compute / step:.0%} |"
    )


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    add = parser.add_argument
    add("--batch-size", type=int, default=4096, help="images per step, over all GPUs")
    add("--images-per-second", type=float, default=1000, help="training speed of one GPU")
    add("--gpu-gigabytes", type=float, default=200, help="GB/s between the GPUs of a node")
    add("--node-gigabytes", type=float, default=25, help="GB/s between two nodes")
    add("--scalar-microseconds", type=float, default=50, help="all-reduce of one number")
    add("--image-kilobytes", type=float, default=110, help="mean size of a stored image")
    arguments = parser.parse_args()
    size = count_bytes()
    print(f"gradients {size.gradients / 1e6:.1f} MB, checkpoint {size.checkpoint / 1e6:.1f} MB\n")
    print(
        "| GPUs | images per GPU | computation | all-reduce of the gradients | not hidden by the "
        "backward pass | share of CLR's scalar | images read per node | efficiency |"
    )
    print("| --- | --- | --- | --- | --- | --- | --- | --- |")
    for gpus in GPUS:
        print(row(gpus, size, arguments))


if __name__ == "__main__":
    main()
