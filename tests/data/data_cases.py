"""Inputs that several tests of clr.data share."""

from __future__ import annotations

import os
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import numpy as np
from PIL import Image

from clr.config import DatasetConfig

ROOT = Path(__file__).resolve().parents[2]
LOADERS = ["ffcv", "torch"]


def folder_config(path: Path, **changes) -> DatasetConfig:
    """The image folder `path` as a dataset named insects, at 12 pixels."""
    values = {"name": "insects", "source": "folder", "path": str(path), "resolution": 12}
    return DatasetConfig(**{**values, **changes})


def photo(rng: np.random.Generator, width: int, height: int) -> Image.Image:
    """A random image as smooth as a photograph, so that JPEG changes it as little."""
    coarse = rng.integers(0, 256, (height // 8 + 2, width // 8 + 2, 3), dtype=np.uint8)
    return Image.fromarray(coarse).resize((width, height), Image.Resampling.BICUBIC)


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
