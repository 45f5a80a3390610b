"""Where the originals come from: scikit-learn's digits, CIFAR-10, ImageNet's layout and image folders."""

from __future__ import annotations

import os
import shutil
from abc import ABC, abstractmethod
from functools import cached_property
from typing import Any

import numpy as np
import PIL

from clr.config import DatasetConfig
from clr.data.images import Images
from clr.data.info import SPLITS
from clr.data.locks import locked
from clr.errors import UserError


class Source(ABC):
    """Where a dataset comes from. Making one looks at files' names only; `classes` and `split` may read them."""

    kind: str  # tells sources apart in the converted folder's key
    title: str  # what figures call the whole dataset

    def __init__(self, dataset: DatasetConfig) -> None:
        self.dataset = dataset

    @property
    def label(self) -> str:
        n, title = self.dataset.train_samples, self.dataset.title or self.title
        return title if n is None else f"{title}, {n:,} images"

    @property
    @abstractmethod
    def classes(self) -> list[str]: ...

    @abstractmethod
    def stamp(self) -> Any:
        """What changes when the originals do, in JSON's types."""

    @abstractmethod
    def read(self, split: str) -> tuple[np.ndarray | list[str], np.ndarray]:
        """All items of a split and their labels, as Images has them, in the source's order."""

    def is_available(self) -> bool:
        """Whether the originals are on this machine; if not, `fetch` downloads them."""
        return True

    def fetch(self) -> None:
        """Download the originals if they are missing. UserError if that fails."""

    def identity(self) -> list[Any]:
        """All that decides what the converted files hold, in JSON's types."""
        d = self.dataset
        stored = [
            d.crop,
            d.resolution,
            d.short_side,
            d.jpeg_quality if d.crop == "random_resized" else None,
        ]
        # Another Pillow may decode and resize to slightly other pixels.
        return [self.kind, self.stamp(), PIL.__version__, stored, d.train_samples, d.test_samples]

    def split(self, split: str) -> Images:
        """The split with only the first images of each class if so configured, in the source's order."""
        items, labels = self.read(split)
        key = f"dataset.{split}_samples"
        n: int | None = getattr(self.dataset, f"{split}_samples")
        if n is None:
            return Images(items, labels, self.dataset)
        each, rest = divmod(n, len(self.classes))
        if rest or each < 1:
            raise UserError(
                f"{key}={n} is not a multiple of the number of classes, {len(self.classes)}"
            )
        fewest = np.bincount(labels, minlength=len(self.classes)).min()
        if each > fewest:
            raise UserError(
                f"{key}={n} needs {each} images of each class, but one has only {fewest}; "
                f"use at most {fewest * len(self.classes)}"
            )
        kept = np.sort(
            np.concatenate([np.flatnonzero(labels == c)[:each] for c in range(len(self.classes))])
        )
        chosen = items[kept] if isinstance(items, np.ndarray) else [items[i] for i in kept]
        return Images(chosen, labels[kept], self.dataset)


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

    @property
    def _batches(self) -> str:
        return os.path.join(self.path, self.folder)

    def is_available(self) -> bool:
        return os.path.isdir(self._batches)

    def fetch(self) -> None:
        """Download, verify and unpack the batches unless they are there, one process at a time.

        They are unpacked into another folder and renamed, so a folder of the final name is complete.
        """
        if self.is_available():
            return
        lock = os.path.join(self.path, ".download.lock")
        try:
            os.makedirs(self.path, exist_ok=True)
            with locked(lock, "CIFAR-10: another process is downloading it; waiting"):
                if not self.is_available():
                    self._download(os.path.join(self.path, ".download.partial"))
        except (RuntimeError, OSError) as error:
            raise UserError(
                f"CIFAR-10 is not in {self.path}, and downloading it failed ({error}); put "
                "cifar-10-batches-py (https://www.cs.toronto.edu/~kriz/cifar.html) or "
                f"train/CLASS/* and test/CLASS/* into {self.path}"
            ) from None

    def _download(self, partial: str) -> None:
        from torchvision.datasets import CIFAR10
        from torchvision.datasets.utils import download_url, extract_archive

        download_url(CIFAR10.url, self.path, CIFAR10.filename, CIFAR10.tgz_md5)
        shutil.rmtree(partial, ignore_errors=True)
        extract_archive(os.path.join(self.path, CIFAR10.filename), partial)
        CIFAR10(partial)  # verifies the checksum of each batch
        os.rename(os.path.join(partial, self.folder), self._batches)
        os.rmdir(partial)

    def _open(self, split: str) -> Any:
        from torchvision.datasets import CIFAR10

        try:
            return CIFAR10(self.path, train=split == "train")
        except (RuntimeError, OSError, ValueError, KeyError, EOFError) as error:
            folder = os.path.join(self.path, self.folder)
            reason = str(error).split(".")[
                0
            ]  # the rest is torchvision's advice on its own arguments
            raise UserError(
                f"{folder} is incomplete or damaged ({reason}); delete it to download it again"
            ) from None

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
    folders = {"train": "train", "test": "test"}  # noqa: RUF012  # where each split lies

    def __init__(self, dataset: DatasetConfig, path: str) -> None:
        super().__init__(dataset)
        self.path = path
        self.title = dataset.name
        self._files = {split: self._listing(split) for split in SPLITS}
        train, test = (set(self._files[split]) for split in SPLITS)
        if train != test:
            odd = ", ".join(sorted(train ^ test))
            raise UserError(
                f"{path}: {self._both} must have the same classes; only one of them has {odd}"
            )
        if len(train) < 2:
            raise UserError(f"{path} has only the class {train.pop()}; there must be two at least")

    @property
    def _both(self) -> str:
        return " and ".join(self.folders.values())

    def _listing(self, split: str) -> dict[str, list[tuple[str, int, int]]]:
        """For each class the (name, size, modification time) of its files, all sorted by name."""
        root = os.path.join(self.path, self.folders[split])
        if not os.path.isdir(root):
            needed = " and ".join(f"{folder}/CLASS/*" for folder in self.folders.values())
            raise UserError(f"{root} is not a folder; dataset.path must hold {needed}")
        names = sorted(
            e.name for e in os.scandir(root) if e.is_dir() and not e.name.startswith(".")
        )
        if not names:
            raise UserError(
                f"{root} has no classes; put the images of each class into a folder in it"
            )
        listing = {}
        for name in names:
            files = [
                e
                for e in os.scandir(os.path.join(root, name))
                if e.is_file() and not e.name.startswith(".")
            ]
            if not files:
                raise UserError(
                    f"{os.path.join(root, name)} has no images; add some, or delete it in {self._both}"
                )
            listing[name] = sorted((e.name, e.stat().st_size, e.stat().st_mtime_ns) for e in files)
        return listing

    @property
    def classes(self) -> list[str]:
        return list(self._files["train"])

    @property
    def jpeg(self) -> bool:
        """Whether all files are JPEG by name."""
        names = (
            name
            for listing in self._files.values()
            for files in listing.values()
            for name, _, _ in files
        )
        return all(name.lower().endswith((".jpg", ".jpeg")) for name in names)

    def stamp(self) -> Any:
        return self._files

    def read(self, split: str) -> tuple[list[str], np.ndarray]:
        listing = self._files[split]
        root = os.path.join(self.path, self.folders[split])
        paths = [
            os.path.join(root, c, name) for c, files in listing.items() for name, _, _ in files
        ]
        counts = [len(files) for files in listing.values()]
        return paths, np.repeat(np.arange(len(listing)), counts).astype(np.int64)


class ImageNet(Folder):
    """ImageNet's usual layout: train/WNID and val/WNID, of which the latter are the images for testing."""

    kind = "imagenet"
    folders = {"train": "train", "test": "val"}  # noqa: RUF012


def open_source(dataset: DatasetConfig) -> Source:
    """The source that the configuration names; never downloads. UserError as classes above."""
    if dataset.crop == "padded" and dataset.short_side is not None:
        raise UserError(
            "dataset.short_side is for dataset.crop=random_resized alone; use dataset.short_side=null"
        )
    if dataset.short_side is not None and dataset.short_side < 1:
        raise UserError(
            f"dataset.short_side={dataset.short_side} is too small: it must be at least 1, or null"
        )
    if not 1 <= dataset.jpeg_quality <= 100:
        raise UserError(
            f"dataset.jpeg_quality={dataset.jpeg_quality} is out of bounds; use 1 to 100, such as 90"
        )
    if dataset.source == "digits":
        return Digits(dataset)
    if dataset.source == "imagenet":
        if dataset.path is None:
            raise UserError(
                "dataset.path is missing; give the folder that holds train/WNID/* and val/WNID/*"
            )
        return ImageNet(dataset, dataset.path)
    if dataset.source == "folder":
        if dataset.path is None:
            raise UserError(
                "dataset.path is missing; give the folder that holds train/CLASS/* and test/CLASS/*"
            )
        return Folder(dataset, dataset.path)
    if dataset.source == "cifar10":
        return _open_cifar10(dataset, dataset.path or os.path.join("data", "cifar10"))
    raise UserError(
        f"dataset.source={dataset.source} is unknown; use digits, cifar10, imagenet or folder"
    )


def _open_cifar10(dataset: DatasetConfig, path: str) -> Source:
    batches = CifarBatches(dataset, path)
    if batches.is_available():
        return batches
    if os.path.isdir(os.path.join(path, "train")):
        folder = Folder(dataset, path)
        folder.kind, folder.title = (
            ("cifar10-jpeg", "CIFAR-10 (JPEG copy)")
            if folder.jpeg
            else ("cifar10-folder", "CIFAR-10 (image folder)")
        )
        return folder
    return batches
