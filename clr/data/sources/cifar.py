"""CIFAR-10 and CIFAR-100: the official batches, downloaded if missing, or image folders of them."""

from __future__ import annotations

import os
import shutil
from functools import cached_property
from typing import Any

import numpy as np

from clr.config import DatasetConfig
from clr.data.info import Split
from clr.data.locks import locked
from clr.data.sources.base import Source
from clr.data.sources.folders import ImageFolder
from clr.errors import UserError


def open_cifar(dataset: DatasetConfig, path: str) -> Source:
    """The official batches in `path`, else an image folder there, else batches to be downloaded.

    `dataset.source` says which of the two datasets it is: cifar10 or cifar100.
    """
    batches = _BATCHES[dataset.source](dataset, path)
    if batches.is_available() or not os.path.isdir(os.path.join(path, "train")):
        return batches
    folder = ImageFolder(dataset, path)
    form, copy = ("jpeg", "JPEG copy") if folder.is_jpeg else ("folder", "image folder")
    folder.kind, folder.title = f"{dataset.source}-{form}", f"{batches.title} ({copy})"
    return folder


class Cifar10Batches(Source):
    """CIFAR-10's official batches, downloaded, verified and read by torchvision."""

    kind = "cifar10-batches"
    title = "CIFAR-10"
    num_classes = 10
    folder_name = "cifar-10-batches-py"

    def __init__(self, dataset: DatasetConfig, path: str) -> None:
        super().__init__(dataset)
        self.path = path
        self.folder = os.path.join(path, self.folder_name)

    def reader(self) -> Any:
        """torchvision's class of the dataset."""
        from torchvision.datasets import CIFAR10

        return CIFAR10

    @cached_property
    def classes(self) -> list[str]:
        return list(self._open("test").classes)

    def stamp(self) -> Any:
        with os.scandir(self.folder) as entries:
            return sorted([e.name, e.stat().st_size, e.stat().st_mtime_ns] for e in entries)

    def read(self, split: Split) -> tuple[np.ndarray, np.ndarray]:
        data = self._open(split)
        return data.data, np.array(data.targets, np.int64)

    def is_available(self) -> bool:
        return os.path.isdir(self.folder)

    def fetch(self) -> None:
        """Download, verify and unpack the batches; one process at a time, the others wait.

        They are unpacked into another folder that is renamed at the end, so a folder with the final
        name is complete. An archive that is already in `path` is used if its checksum is right.
        """
        lock = os.path.join(self.path, ".download.lock")
        try:
            os.makedirs(self.path, exist_ok=True)
            with locked(lock, f"{self.title}: another process is downloading it; waiting"):
                if not self.is_available():
                    self._download(os.path.join(self.path, ".download.partial"))
        except (RuntimeError, OSError) as error:
            raise UserError(
                f"{self.title} is not in {self.path}, and downloading it failed ({error}); put "
                f"{self.folder_name} (https://www.cs.toronto.edu/~kriz/cifar.html) or "
                f"train/CLASS/* and test/CLASS/* into {self.path}"
            ) from None

    def _download(self, partial: str) -> None:
        from torchvision.datasets.utils import download_url, extract_archive

        reader = self.reader()
        download_url(reader.url, self.path, reader.filename, reader.tgz_md5)
        shutil.rmtree(partial, ignore_errors=True)  # of a process that was killed
        extract_archive(os.path.join(self.path, reader.filename), partial)
        reader(partial)  # verifies the checksum of each batch
        os.rename(os.path.join(partial, os.path.basename(self.folder)), self.folder)
        os.rmdir(partial)

    def _open(self, split: Split) -> Any:
        try:
            return self.reader()(self.path, train=split == "train")
        except (RuntimeError, OSError, ValueError, KeyError, EOFError) as error:
            reason = str(error).split(".")[0]  # the rest is torchvision's advice on its arguments
            raise UserError(
                f"{self.folder} is incomplete or damaged ({reason}); if no other program is still "
                "unpacking it, delete it to download it again"
            ) from None


class Cifar100Batches(Cifar10Batches):
    """CIFAR-100's official batches, with its 100 fine labels."""

    kind = "cifar100-batches"
    title = "CIFAR-100"
    num_classes = 100
    folder_name = "cifar-100-python"

    def reader(self) -> Any:
        from torchvision.datasets import CIFAR100

        return CIFAR100


_BATCHES = {"cifar10": Cifar10Batches, "cifar100": Cifar100Batches}
