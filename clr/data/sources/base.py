"""Interface of a source of original images."""

from __future__ import annotations

from abc import ABC, abstractmethod
from typing import Any

import numpy as np
import PIL

from clr.config import DatasetConfig
from clr.data.images import Images
from clr.data.info import Crop, Split
from clr.errors import UserError


class Source(ABC):
    """A source of original images.

    Constructing one reads names of files only; `classes` and `split` may read their content.
    """

    kind: str  # distinguishes sources in the key of the converted folder
    title: str  # display name of the whole dataset

    def __init__(self, dataset: DatasetConfig) -> None:
        self.dataset = dataset

    @property
    def label(self) -> str:
        """Display name of the dataset with its subset."""
        n, title = self.dataset.train_samples, self.dataset.title or self.title
        return title if n is None else f"{title}, {n:,} images"

    @property
    @abstractmethod
    def classes(self) -> list[str]:
        """Names of the classes, in the order of their labels."""

    @property
    def num_classes(self) -> int:
        """Number of classes, known also before a download."""
        return len(self.classes)

    @abstractmethod
    def stamp(self) -> Any:
        """A JSON value that changes when the originals do."""

    @abstractmethod
    def read(self, split: Split) -> tuple[np.ndarray | list[str], np.ndarray]:
        """Read the items and labels of a split, as `Images` holds them, in the source's order."""

    def is_available(self) -> bool:
        """Return whether the originals are on this machine; if not, `fetch` downloads them."""
        return True

    def fetch(self) -> None:
        """Download the originals. UserError if that fails."""
        raise NotImplementedError(f"{self.kind} cannot be downloaded")

    def identity(self) -> list[Any]:
        """A JSON value of everything that determines the content of the converted files."""
        d = self.dataset
        quality = d.jpeg_quality if d.crop == Crop.RANDOM_RESIZED else None
        stored = [d.crop, d.resolution, d.short_side, quality]
        # Another version of Pillow may decode and resize to slightly different pixels.
        return [self.kind, self.stamp(), PIL.__version__, stored, d.train_samples, d.test_samples]

    def split(self, split: Split) -> Images:
        """The images of a split in the source's order, with only the configured subset of it.

        `dataset.train_samples` and `dataset.test_samples` keep the first images of each class,
        equally many of each. UserError if that is impossible.
        """
        items, labels = self.read(split)
        n = self.dataset.train_samples if split == "train" else self.dataset.test_samples
        if n is None:
            return Images(items, labels, self.dataset)
        per_class = self._per_class(f"dataset.{split}_samples", n, labels)
        first = [np.flatnonzero(labels == c)[:per_class] for c in range(len(self.classes))]
        indices = np.sort(np.concatenate(first))
        subset = items[indices] if isinstance(items, np.ndarray) else [items[i] for i in indices]
        return Images(subset, labels[indices], self.dataset)

    def _per_class(self, key: str, n: int, labels: np.ndarray) -> int:
        """Number of images of each class in a subset of n images."""
        num_classes = len(self.classes)
        per_class, remainder = divmod(n, num_classes)
        if remainder or per_class < 1:
            raise UserError(
                f"{key}={n} is not a positive multiple of the number of classes, {num_classes}"
            )
        fewest = np.bincount(labels, minlength=num_classes).min()
        if per_class > fewest:
            raise UserError(
                f"{key}={n} needs {per_class} images of each class, but one has only {fewest}; "
                f"use at most {fewest * num_classes}"
            )
        return per_class
