"""Speed and start of `train.py` relative to other training programs, on the same image folders.

    python bench/peers.py [--vision FOLDER] [--timm FOLDER]

The programs are the training scripts of torchvision's references and of timm, which their packages
lack: give clones of https://github.com/pytorch/vision and
https://github.com/huggingface/pytorch-image-models. The third is Lightning with a plain
LightningModule (bench/lightning_peer.py).

Each program trains with its defaults and with its best settings for a CPU, in processes that
alternate. A short call trains one batch, so it shows the time from the command through the first
step to the end; a long call adds the images whose speed counts, and takes about 10 seconds. Both
evaluate on 100 images. A cold call of `train.py` is a short one that converts the images first; the
others have nothing to convert.
"""

from __future__ import annotations

import argparse
import subprocess
import sys
import tempfile
from collections.abc import Callable
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path
from statistics import median
from time import perf_counter

import torch
from bench_images import write_digits
from bench_table import ROOT, Row, row, save
from bench_timing import Ratio, alternate, training_limit

ROUNDS, BATCH_SIZE = 2, 64
OURS = "train.py"


@dataclass(frozen=True)
class Work:
    """A network and the images that it trains on."""

    model: str
    pixels: int
    images: int  # of a long call, beyond those of a short one


WORKS = (Work("resnet18", 32, 2560), Work("resnet50", 64, 512))


@dataclass(frozen=True)
class Call:
    """A training run, for any of the programs."""

    work: Work
    data: Path
    epochs: int
    best: bool
    scratch: Path


def train_py(call: Call) -> list[str]:
    """This repository's program, with an empty store at each call."""
    store = tempfile.mkdtemp(dir=call.scratch)
    given = (
        f"train.py dataset=folder dataset.path={call.data} dataset.name=bench-{call.data.name} "
        f"dataset.resolution={call.work.pixels} model={call.work.model} model.init=torchvision "
        f"batch_size={BATCH_SIZE} epochs={call.epochs} optimizer=sgd optimizer.lr=0.01 "
        f"data_dir={call.scratch}/converted store={store} "
    )
    best = "precision=bf16 small_maps=matmul wandb.mode=disabled"
    return (given + (best if call.best else "")).split()


def lightning(call: Call) -> list[str]:
    """Lightning with a plain LightningModule."""
    given = (
        f"bench/lightning_peer.py --data {call.data} --model {call.work.model} "
        f"--pixels {call.work.pixels} --batch-size {BATCH_SIZE} --epochs {call.epochs} "
    )
    return (given + ("--best" if call.best else "")).split()


def vision(folder: Path, call: Call) -> list[str]:
    """The training script of torchvision's references."""
    pixels = call.work.pixels
    given = (
        f"{folder}/references/classification/train.py --data-path {call.data} --device cpu "
        f"--model {call.work.model} -b {BATCH_SIZE} --lr 0.01 --epochs {call.epochs} "
        f"--train-crop-size {pixels} --val-crop-size {pixels} --val-resize-size {pixels} "
        f"--output-dir {call.scratch} "
    )
    return (given + ("-j 1" if call.best else "")).split()


def timm(folder: Path, call: Call) -> list[str]:
    """The training script of timm."""
    given = (
        f"{folder}/train.py --data-dir {call.data} --val-split val --num-classes 10 --device cpu "
        f"--model {call.work.model} --img-size {call.work.pixels} -b {BATCH_SIZE} --lr 0.01 "
        f"--epochs {call.epochs} --warmup-epochs 0 --output {call.scratch} "
    )
    best = "-j 1 --amp --amp-dtype bfloat16 --channels-last --no-prefetcher"
    return (given + (best if call.best else "")).split()


def seconds(command: list[str]) -> float:
    """Seconds of a program. Its output is shown if it fails."""
    start = perf_counter()
    done = subprocess.run(
        [sys.executable, *command], cwd=ROOT, capture_output=True, text=True, check=False
    )
    if done.returncode:
        sys.exit(f"{' '.join(command)} failed:\n{done.stdout}{done.stderr}")
    return perf_counter() - start


def compare(
    work: Work, best: bool, programs: dict[str, Callable[[Call], list[str]]], scratch: Path
) -> list[Row]:
    """Time all programs on one network: for each peer a row of its speed, three of whole calls."""
    calls: dict[str, Callable[[], float]] = {}
    for length, images in (("short", BATCH_SIZE), ("long", BATCH_SIZE + work.images)):
        data = scratch / f"{length}{work.pixels}"
        call = Call(work, data, 1, best, scratch)
        if not data.exists():
            write_digits(data, work.pixels, images)
            _run(train_py, call)  # converts the images, once
        for name, command in programs.items():
            calls[f"{name} {length}"] = partial(_run, command, call)
        if length == "short":
            calls[f"{OURS} cold"] = partial(_run_cold, call)
    times = alternate(calls, ROUNDS, warm_up=0)

    def speeds(name: str) -> list[float]:
        pairs = zip(times[f"{name} short"], times[f"{name} long"], strict=True)
        return [work.images / max(long - short, 1e-3) for short, long in pairs]

    own_speed = median(speeds(OURS))
    settings = f"`train.py`, {'best settings' if best else 'defaults'}, {work.model}"
    precision = "bf16" if best else "fp32"
    limit = training_limit(work.model, work.pixels, precision, torch.device("cpu"))
    rows = []
    for name in programs:
        if name == OURS:
            continue
        rows += [
            row(
                f"{settings} at {work.pixels} px, {own_speed:.0f} img/s: speed",
                name,
                Ratio.of(speeds(OURS), speeds(name)),
                aim="≥ 1.0" if best else "≥ 2.0",
                limit=f"{limit:.0f} img/s by a large matrix product",
                share=own_speed / limit,
            ),
            *(
                row(
                    f"{settings}, {what}, {median(times[f'{OURS} {own}']):.1f} s from the command "
                    "to the end: time",
                    name,
                    Ratio.of(times[f"{OURS} {own}"], times[f"{name} {other}"]),
                    aim="≤ 1.0",
                )
                for own, other, what in (
                    ("short", "short", "one step"),
                    ("cold", "short", "one step and before it the conversion"),
                    ("long", "long", f"{BATCH_SIZE + work.images} images"),
                )
            ),
        ]
    return rows


def _run(command: Callable[[Call], list[str]], call: Call) -> float:
    return seconds(command(call))


def _run_cold(call: Call) -> float:
    empty = Path(tempfile.mkdtemp(dir=call.scratch))
    return seconds(train_py(replace(call, scratch=empty)))


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--vision", type=Path, help="clone of pytorch/vision")
    parser.add_argument("--timm", type=Path, help="clone of huggingface/pytorch-image-models")
    given = parser.parse_args()
    programs: dict[str, Callable[[Call], list[str]]] = {OURS: train_py, "Lightning": lightning}
    absent = []
    for name, folder, command in (
        ("torchvision's references", given.vision, vision),
        ("timm's train.py", given.timm, timm),
    ):
        if folder is None:
            absent.append(Row("`train.py`: speed and start", name, None, note="no clone was given"))
        else:
            programs[name] = partial(command, folder.resolve())
    rows = []
    with tempfile.TemporaryDirectory() as scratch:
        for work in WORKS:
            for best in (False, True):
                rows += compare(work, best, programs, Path(scratch))
    save("python bench/peers.py", [*rows, *absent])


if __name__ == "__main__":
    main()
