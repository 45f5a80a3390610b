"""Inputs that several tests of clr.data share."""

from __future__ import annotations

import multiprocessing
import os
import time
import warnings
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager, redirect_stderr, redirect_stdout
from multiprocessing.process import BaseProcess
from pathlib import Path

import numpy as np
import torch
from PIL import Image

from clr.config import DatasetConfig
from clr.data import Batch, prepare

ROOT = Path(__file__).resolve().parents[2]
LOADERS = ["ffcv", "torch"]
RAW_LOADERS = [*LOADERS, "memory"]  # of raw images; memory does not hold JPEG


def folder_config(path: Path, **changes) -> DatasetConfig:
    """The image folder `path` as a dataset named insects, at 12 pixels."""
    values = {"name": "insects", "source": "folder", "path": str(path), "resolution": 12}
    return DatasetConfig(**{**values, **changes})


def photo(rng: np.random.Generator, width: int, height: int) -> Image.Image:
    """A random image as smooth as a photograph, so that JPEG changes it as little."""
    coarse = rng.integers(0, 256, (height // 8 + 2, width // 8 + 2, 3), dtype=np.uint8)
    return Image.fromarray(coarse).resize((width, height), Image.Resampling.BICUBIC)


def same(batches: Iterable[Batch], others: Iterable[Batch]) -> bool:
    """Return whether two sequences of batches are equal."""
    batches, others = list(batches), list(others)
    if len(batches) != len(others):
        return False
    pairs = [pair for b, o in zip(batches, others, strict=True) for pair in zip(b, o, strict=True)]
    return all(torch.equal(x, y) for x, y in pairs)


def visible(folder: Path) -> list[str]:
    """Names in a folder that are not hidden."""
    return [path.name for path in folder.iterdir() if not path.name.startswith(".")]


@contextmanager
def unprivileged() -> Iterator[None]:
    """Run the block as a user whom file permissions apply to, also if the tests run as root."""
    user = os.geteuid()
    if user == 0:
        os.seteuid(65534)
    try:
        yield
    finally:
        os.seteuid(user)


def start_prepare(config: DatasetConfig, data_dir: Path, output: Path) -> BaseProcess:
    """A process that prepares the dataset and writes its fingerprint and messages to `output`.

    It is forked, which saves the many seconds that a new process takes to import torch.
    """

    def run() -> None:
        with open(output, "w", buffering=1) as file, redirect_stdout(file), redirect_stderr(file):
            print(prepare(config, str(data_dir), "torch").fingerprint)

    process = multiprocessing.get_context("fork").Process(target=run)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", DeprecationWarning)  # about forking next to threads
        process.start()
    return process


def wait_until(condition: Callable[[], bool], process: BaseProcess) -> None:
    """Wait for something that the process does."""
    deadline = time.monotonic() + 60
    while not condition():
        assert process.is_alive(), "the process ended early"
        assert time.monotonic() < deadline, "timeout"
        time.sleep(0.001)
