"""Sources of original images: scikit-learn's digits, CIFAR, ImageNet's layout, image folders."""

from __future__ import annotations

import os

from clr.config import DatasetConfig
from clr.data.info import Crop
from clr.data.sources.base import Source
from clr.data.sources.cifar import open_cifar
from clr.data.sources.digits import Digits
from clr.data.sources.folders import ImageFolder, ImageNet
from clr.errors import UserError

__all__ = ["ImageFolder", "Source", "open_source"]


def open_source(dataset: DatasetConfig) -> Source:
    """The source that `dataset.source` names. Reads names of files only, and never downloads.

    Raises:
        UserError: the configuration is impossible, or the originals are not laid out as required.
    """
    _check_storage(dataset)
    path = None if dataset.path is None else os.path.expanduser(dataset.path)
    if dataset.source == "digits":
        return Digits(dataset)
    if dataset.source in ("cifar10", "cifar100"):
        return open_cifar(dataset, path or os.path.join("data", dataset.source))
    folders = {"imagenet": ImageNet, "folder": ImageFolder}
    if dataset.source not in folders:
        raise UserError(
            f"dataset.source={dataset.source} is unknown; use digits, cifar10, cifar100, imagenet "
            "or folder"
        )
    folder = folders[dataset.source]
    if path is None:
        raise UserError(f"dataset.path is missing; give the folder that holds {folder.layout()}")
    return folder(dataset, path)


def _check_storage(dataset: DatasetConfig) -> None:
    """Raise UserError if the keys that say how images are stored contradict one another."""
    short_side, quality = dataset.short_side, dataset.jpeg_quality
    if dataset.crop == Crop.PADDED and dataset.crop_padding > dataset.resolution:
        raise UserError(
            f"dataset.crop_padding={dataset.crop_padding} exceeds dataset.resolution="
            f"{dataset.resolution}, so that crops would be black; use a smaller padding"
        )
    if short_side is not None and dataset.crop == Crop.PADDED:
        raise UserError(
            "dataset.short_side applies to dataset.crop=random_resized only; "
            "use dataset.short_side=null"
        )
    if short_side is not None and short_side < 1:
        raise UserError(
            f"dataset.short_side={short_side} is too small; use at least 1, or null for no limit"
        )
    if not 1 <= quality <= 100:
        raise UserError(f"dataset.jpeg_quality={quality} is out of range; use 1 to 100, such as 90")
