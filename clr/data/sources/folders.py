"""Image folders: train/CLASS/* and test/CLASS/*, or ImageNet's train/CLASS/* and val/CLASS/*."""

from __future__ import annotations

import os
import unicodedata
from typing import Any, ClassVar

import numpy as np

from clr.config import DatasetConfig
from clr.data.info import SPLITS, Split
from clr.data.sources.base import Source
from clr.data.sources.listing import ANNOTATIONS, Listing, list_annotated, list_classes
from clr.errors import UserError


class ImageFolder(Source):
    """Image files in train/CLASS and test/CLASS and the folders below them.

    Classes and files are in alphabetical order; hidden ones are ignored. The folder for test may
    have Tiny-ImageNet's layout of `val` instead: images/* and val_annotations.txt.
    """

    kind = "folder"
    folders: ClassVar[dict[Split, str]] = {"train": "train", "test": "test"}
    path_key = "dataset.path"  # sets the folder

    def __init__(self, dataset: DatasetConfig, path: str) -> None:
        super().__init__(dataset)
        self.path = path
        self.title = dataset.name
        self._listings = {split: self._list(split) for split in SPLITS}
        self._check_classes()

    @classmethod
    def layout(cls) -> str:
        """The required layout, for messages."""
        return " and ".join(f"{folder}/CLASS/*" for folder in cls.folders.values())

    @property
    def classes(self) -> list[str]:
        return list(self._listings["train"])

    @property
    def is_jpeg(self) -> bool:
        """True if all files are JPEG by name."""
        entries = [e for listing in self._listings.values() for es in listing.values() for e in es]
        return all(path.lower().endswith((".jpg", ".jpeg")) for path, _, _ in entries)

    def stamp(self) -> Any:
        return self._listings

    def read(self, split: Split) -> tuple[list[str], np.ndarray]:
        listing = self._listings[split]
        root = self._root(split)
        paths = [os.path.join(root, path) for files in listing.values() for path, _, _ in files]
        counts = [len(files) for files in listing.values()]
        return paths, np.repeat(np.arange(len(listing)), counts).astype(np.int64)

    def _root(self, split: Split) -> str:
        return os.path.join(self.path, self.folders[split])

    def _list(self, split: Split) -> Listing:
        root = self._root(split)
        if not os.path.isdir(root):
            raise UserError(f"{root} is not a folder; {self.path_key} must hold {self.layout()}")
        if split == "test" and os.path.isfile(os.path.join(root, ANNOTATIONS)):
            return list_annotated(root)
        return list_classes(root)

    def _check_classes(self) -> None:
        """Raise UserError unless both splits have the same classes, at least two."""
        train, test = (set(self._listings[split]) for split in SPLITS)
        if train != test:
            names = sorted(train ^ test)
            shown = [_unambiguous(name, names) for name in names[:5]]
            more = f" and {len(names) - 5} more" if len(names) > 5 else ""
            raise UserError(
                f"{self.path}: {' and '.join(self.folders.values())} must have the same classes; "
                f"only one of them has {', '.join(shown)}{more}"
            )
        if len(train) < 2:
            raise UserError(
                f"{self.path} has only the class {train.pop()}; at least two are needed"
            )


class ImageNet(ImageFolder):
    """ImageNet's usual layout: train/WNID and val/WNID; the latter are the images for test."""

    kind = "imagenet"
    path_key = "dataset.path (in a sweep, paths.imagenet)"
    folders: ClassVar[dict[Split, str]] = {"train": "train", "test": "val"}


def _unambiguous(name: str, names: list[str]) -> str:
    """The name; escaped if another looks the same because its accents are encoded differently."""
    normalized = [unicodedata.normalize("NFC", other) for other in names]
    is_unique = normalized.count(unicodedata.normalize("NFC", name)) == 1
    return name if is_unique else ascii(name)
