"""The originals: scikit-learn's digits, CIFAR-10 and image folders, decoded to RGB images of one size."""

from __future__ import annotations

import os
from abc import ABC, abstractmethod
from dataclasses import dataclass
from functools import cached_property
from typing import Any

import numpy as np
import PIL
from PIL import Image

from clr.config import DatasetConfig
from clr.data.info import SPLITS
from clr.errors import UserError


@dataclass(frozen=True)
class Images:
    """The images of one split, decoded on demand; picklable, as loading processes need."""

    items: np.ndarray | list[str]  # uint8 (n, h, w, 3), or paths of files
    labels: np.ndarray  # int64 (n,)
    resolution: int

    def __len__(self) -> int:
        return len(self.labels)

    def __getitem__(self, i: int) -> np.ndarray:
        """Image i as uint8 (resolution, resolution, 3).

        Grey images get three equal channels, alpha is dropped, EXIF rotation is not applied (torchvision's
        ImageFolder does the same). UserError for an unreadable file.
        """
        item = self.items[i]
        if not isinstance(item, str):
            return self._resized(Image.fromarray(item))
        try:
            with Image.open(item) as image:
                return self._resized(image.convert("RGB"))
        except (OSError, ValueError, SyntaxError, Image.DecompressionBombError) as error:
            raise UserError(f"{item} cannot be read as an image ({error}); repair or delete it") from None

    def _resized(self, image: Image.Image) -> np.ndarray:
        size = (self.resolution, self.resolution)
        return np.array(image if image.size == size else image.resize(size, Image.Resampling.BILINEAR))


class Source(ABC):
    """Where a dataset comes from. Making one looks at files' names only; `classes` and `split` may read them."""

    kind: str  # tells sources apart in the converted folder's key
    title: str  # what figures call the whole dataset

    def __init__(self, dataset: DatasetConfig) -> None:
        self.dataset = dataset

    @property
    def label(self) -> str:
        n = self.dataset.train_samples
        return self.title if n is None else f"{self.title}, {n:,} images"

    @property
    @abstractmethod
    def classes(self) -> list[str]: ...

    @abstractmethod
    def stamp(self) -> Any:
        """What changes when the originals do, in JSON's types."""

    @abstractmethod
    def read(self, split: str) -> tuple[np.ndarray | list[str], np.ndarray]:
        """All items of a split and their labels, as Images has them, in the source's order."""

    def identity(self) -> list[Any]:
        """All that decides what the converted files hold, in JSON's types."""
        d = self.dataset
        # Another Pillow may decode and resize to slightly other pixels.
        return [self.kind, self.stamp(), PIL.__version__, d.resolution, d.train_samples, d.test_samples]

    def split(self, split: str) -> Images:
        """The split with only the first images of each class if so configured, in the source's order."""
        items, labels = self.read(split)
        key = f"dataset.{split}_samples"
        n: int | None = getattr(self.dataset, f"{split}_samples")
        if n is None:
            return Images(items, labels, self.dataset.resolution)
        each, rest = divmod(n, len(self.classes))
        if rest or each < 1:
            raise UserError(f"{key}={n} is not a multiple of the number of classes, {len(self.classes)}")
        fewest = np.bincount(labels, minlength=len(self.classes)).min()
        if each > fewest:
            raise UserError(
                f"{key}={n} needs {each} images of each class, but one has only {fewest}; "
                f"use at most {fewest * len(self.classes)}"
            )
        kept = np.sort(np.concatenate([np.flatnonzero(labels == c)[:each] for c in range(len(self.classes))]))
        chosen = items[kept] if isinstance(items, np.ndarray) else [items[i] for i in kept]
        return Images(chosen, labels[kept], self.dataset.resolution)


class Digits(Source):
    """scikit-learn's 1,797 digits of 8×8 pixels. Of each class, in scikit-learn's order, every fifth is for testing."""

    kind = "digits"
    title = "digits (scikit-learn)"
    classes = [str(digit) for digit in range(10)]  # noqa: RUF012  # a property of Source, not a shared default

    def stamp(self) -> Any:
        return "every fifth of each class is for testing"

    def read(self, split: str) -> tuple[np.ndarray, np.ndarray]:
        from sklearn.datasets import load_digits

        digits = load_digits()
        labels = digits.target.astype(np.int64)
        position = np.zeros(len(labels), np.int64)  # among its class
        for c in range(10):
            position[labels == c] = np.arange((labels == c).sum())
        kept = (position % 5 == 4) == (split == "test")
        grey = np.rint(digits.images[kept] * (255 / 16)).astype(np.uint8)  # originals are 0..16
        return np.repeat(grey[:, :, :, None], 3, axis=3), labels[kept]


class CifarBatches(Source):
    """CIFAR-10's official batches, as torchvision downloads, checks and reads them."""

    kind = "cifar10-batches"
    title = "CIFAR-10"
    folder = "cifar-10-batches-py"

    def __init__(self, dataset: DatasetConfig, path: str) -> None:
        super().__init__(dataset)
        self.path = path

    def _open(self, split: str) -> Any:
        from torchvision.datasets import CIFAR10

        try:
            return CIFAR10(self.path, train=split == "train")
        except (RuntimeError, OSError, ValueError, KeyError, EOFError) as error:
            folder = os.path.join(self.path, self.folder)
            reason = str(error).split(".")[0]  # the rest is torchvision's advice on its own arguments
            raise UserError(f"{folder} is incomplete or damaged ({reason}); delete it to download it again") from None

    @cached_property
    def classes(self) -> list[str]:
        return list(self._open("test").classes)

    def stamp(self) -> Any:
        with os.scandir(os.path.join(self.path, self.folder)) as entries:
            return sorted([e.name, e.stat().st_size, e.stat().st_mtime_ns] for e in entries)

    def read(self, split: str) -> tuple[np.ndarray, np.ndarray]:
        data = self._open(split)
        return data.data, np.array(data.targets, np.int64)


class Folder(Source):
    """Image files in train/CLASS and test/CLASS; classes and files in alphabetical order, hidden files ignored."""

    kind = "folder"

    def __init__(self, dataset: DatasetConfig, path: str) -> None:
        super().__init__(dataset)
        self.path = path
        self.title = dataset.name
        self._files = {split: self._listing(split) for split in SPLITS}
        train, test = (set(self._files[split]) for split in SPLITS)
        if train != test:
            odd = ", ".join(sorted(train ^ test))
            raise UserError(f"{path}: train and test must have the same classes; only one of them has {odd}")

    def _listing(self, split: str) -> dict[str, list[tuple[str, int, int]]]:
        """For each class the (name, size, modification time) of its files, all sorted by name."""
        root = os.path.join(self.path, split)
        if not os.path.isdir(root):
            raise UserError(f"{root} is not a folder; dataset.path must hold train/CLASS/* and test/CLASS/*")
        names = sorted(e.name for e in os.scandir(root) if e.is_dir() and not e.name.startswith("."))
        if not names:
            raise UserError(f"{root} has no classes; put the images of each class into a folder in it")
        listing = {}
        for name in names:
            files = [e for e in os.scandir(os.path.join(root, name)) if e.is_file() and not e.name.startswith(".")]
            if not files:
                raise UserError(f"{os.path.join(root, name)} has no images; add some, or delete it in train and test")
            listing[name] = sorted((e.name, e.stat().st_size, e.stat().st_mtime_ns) for e in files)
        return listing

    @property
    def classes(self) -> list[str]:
        return list(self._files["train"])

    @property
    def jpeg(self) -> bool:
        """Whether all files are JPEG by name."""
        names = (name for listing in self._files.values() for files in listing.values() for name, _, _ in files)
        return all(name.lower().endswith((".jpg", ".jpeg")) for name in names)

    def stamp(self) -> Any:
        return self._files

    def read(self, split: str) -> tuple[list[str], np.ndarray]:
        listing = self._files[split]
        paths = [os.path.join(self.path, split, c, name) for c, files in listing.items() for name, _, _ in files]
        counts = [len(files) for files in listing.values()]
        return paths, np.repeat(np.arange(len(listing)), counts).astype(np.int64)


def open_source(dataset: DatasetConfig) -> Source:
    """The source that the configuration names; downloads CIFAR-10 where it is missing. UserError as classes above."""
    if dataset.source == "digits":
        return Digits(dataset)
    if dataset.source == "folder":
        if dataset.path is None:
            raise UserError("dataset.path is missing; give the folder that holds train/CLASS/* and test/CLASS/*")
        return Folder(dataset, dataset.path)
    if dataset.source == "cifar10":
        return _open_cifar10(dataset, dataset.path or os.path.join("data", "cifar10"))
    raise UserError(f"dataset.source={dataset.source} is unknown; use digits, cifar10 or folder")


def _open_cifar10(dataset: DatasetConfig, path: str) -> Source:
    batches = CifarBatches(dataset, path)
    if os.path.isdir(os.path.join(path, batches.folder)):
        return batches
    if os.path.isdir(os.path.join(path, "train")):
        folder = Folder(dataset, path)
        folder.kind, folder.title = (
            ("cifar10-jpeg", "CIFAR-10 (JPEG copy)") if folder.jpeg else ("cifar10-folder", "CIFAR-10 (image folder)")
        )
        return folder
    from torchvision.datasets import CIFAR10

    try:
        CIFAR10(path, download=True)
    except (RuntimeError, OSError) as error:
        raise UserError(
            f"CIFAR-10 is not in {path}, and downloading it failed ({error}); put cifar-10-batches-py "
            f"(https://www.cs.toronto.edu/~kriz/cifar.html) or train/CLASS/* and test/CLASS/* into {path}"
        ) from None
    return batches
