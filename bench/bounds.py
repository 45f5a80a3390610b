"""Bounds of a run of ResNet-50 on ImageNet with 1, 8, 64 and 512 GPUs, computed and not measured.

    python bench/bounds.py [--images-per-second N] [...]

Prints a Markdown table. Bytes are counted on the real network. Speeds are assumptions, given as
arguments: this project has not run on a GPU. Only the duration of CLR's scalar all-reduce is
measured, between two processes on this host (gloo), as a lower bound for what hosts need.
"""

from __future__ import annotations

import argparse
import io
import tempfile
from dataclasses import dataclass
from pathlib import Path
from time import perf_counter

import torch
import torch.distributed as dist
import torch.multiprocessing as mp
import torchvision

from clr.runs.provenance import hardware

GPUS = (1, 8, 64, 512)
GPUS_PER_NODE = 8
REPEATS = 500


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


def time_scalar(rank: int, folder: str) -> None:
    """Time one all-reduce of one float64 between two ranks; rank 0 writes the seconds."""
    dist.init_process_group("gloo", f"file://{folder}/rendezvous", rank=rank, world_size=2)
    scalar = torch.zeros((), dtype=torch.float64)
    for step in range(REPEATS + 50):
        if step == 50:  # the ones before are a warm-up
            start = perf_counter()
        dist.all_reduce(scalar)
    if rank == 0:
        Path(folder, "seconds").write_text(str((perf_counter() - start) / REPEATS))
    dist.destroy_process_group()


def scalar_seconds() -> float:
    """Duration of an all-reduce of one number between two processes on this host."""
    with tempfile.TemporaryDirectory() as folder:
        mp.spawn(time_scalar, (folder,), nprocs=2)
        return float(Path(folder, "seconds").read_text())


def row(gpus: int, size: Bytes, scalar: float, arguments: argparse.Namespace) -> str:
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
    step = compute + exposed + (scalar if gpus > 1 else 0.0)
    loader = local / gpus * arguments.batch_size / step * arguments.image_kilobytes * 1e3
    return (
        f"| {gpus} | {arguments.batch_size / gpus:g} | {compute * 1e3:.0f} ms "
        f"| {exchange * 1e3:.1f} ms | {exposed * 1e3:.1f} ms "
        f"| {scalar / step if gpus > 1 else 0:.1%} | {loader / 1e6:.0f} MB/s "
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
    add("--image-kilobytes", type=float, default=110, help="mean size of a stored image")
    arguments = parser.parse_args()
    size, scalar = count_bytes(), scalar_seconds()
    print(
        f"{hardware()}, torch {torch.__version__}: gradients {size.gradients / 1e6:.1f} MB, "
        f"checkpoint {size.checkpoint / 1e6:.1f} MB, all-reduce of a scalar {scalar * 1e6:.0f} µs\n"
    )
    print(
        "| GPUs | images per GPU | computation | all-reduce of the gradients | not hidden by the "
        "backward pass | share of CLR's scalar | images read per node | efficiency |"
    )
    print("| --- | --- | --- | --- | --- | --- | --- | --- |")
    for gpus in GPUS:
        print(row(gpus, size, scalar, arguments))


if __name__ == "__main__":
    main()
