"""Description of a converted dataset, its manifest on disk, and the check of its files."""

from __future__ import annotations

import hashlib
import json
import os
from dataclasses import dataclass, field
from enum import StrEnum
from pathlib import Path
from typing import Any, Literal

from clr.config import DatasetConfig
from clr.errors import UserError
from clr.files import write_json

Split = Literal["train", "test"]
SPLITS: tuple[Split, ...] = ("train", "test")


class Crop(StrEnum):
    """Values of `dataset.crop`: the form in which images are stored and cropped."""

    PADDED = "padded"  # stored as raw pixels of the final resolution; padded and cropped on device
    RANDOM_RESIZED = "random_resized"  # stored as JPEG of any size; cropped and resized on loading


@dataclass(frozen=True)
class DatasetInfo:
    """A prepared dataset."""

    name: str
    label: str  # display name, used in figures
    classes: tuple[str, ...]
    num_train: int
    num_test: int
    resolution: int  # batches have images of resolution × resolution pixels
    mean: tuple[float, ...]  # of each channel (RGB) over the training images, pixels in [0, 1]
    std: tuple[float, ...]
    fingerprint: str  # SHA-256 of the stored data (raw pixels or JPEG files) and the labels
    folder: str  # data_dir/<name>-<key>
    config: DatasetConfig  # the configuration it was converted with
    skipped: int = 0  # originals that could not be read; listed in skipped.txt in the folder
    # Number of originals in each mode other than RGB, by Pillow's name of the mode.
    converted: dict[str, int] = field(default_factory=dict)

    def size(self, split: Split) -> int:
        """Number of images in the split."""
        return self.num_train if split == "train" else self.num_test

    def beton(self, split: Split) -> str:
        """Path of the split's FFCV file."""
        return os.path.join(self.folder, f"{split}.beton")


def beton_record(path: str) -> dict[str, Any]:
    """Size in bytes and SHA-256 of the first and last MiB of a file.

    Enough to detect a truncated or a different file without reading all of it.
    """
    size, mib = os.path.getsize(path), 1 << 20
    with open(path, "rb") as file:
        digest = hashlib.sha256(file.read(mib))
        file.seek(max(0, size - mib))
        digest.update(file.read())
    return {"bytes": size, "sha256_of_ends": digest.hexdigest()}


def write_manifest(folder: str, facts: dict[str, Any], betons: dict[str, Any]) -> None:
    """Write manifest.json, which marks the conversion in `folder` as complete.

    `facts` are the fields of DatasetInfo except folder and config; `betons` is a `beton_record` per
    split.
    """
    content = {**facts, "betons": betons}
    write_json({**content, "sha256": _checksum(content)}, _manifest(folder))


def read_manifest(folder: str, config: DatasetConfig) -> tuple[DatasetInfo, dict[str, Any]] | None:
    """The dataset in `folder` and its beton records; None if nothing was converted there.

    UserError if the manifest is damaged.
    """
    path = _manifest(folder)
    try:
        content = json.loads(path.read_bytes())
        if not isinstance(content, dict):
            raise ValueError("it is not a JSON object")
        if content.pop("sha256", None) != _checksum(content):
            raise ValueError("its checksum differs")
    except (FileNotFoundError, NotADirectoryError):
        return None
    except OSError as error:
        raise UserError(
            f"cannot read {path}: {error.strerror}; choose another data_dir=FOLDER"
        ) from None
    except ValueError as error:
        raise UserError(
            f"{path} is damaged ({error}); delete the folder {folder} to convert again"
        ) from None
    betons = content.pop("betons")
    lists: dict[str, Any] = {key: tuple(content.pop(key)) for key in ("classes", "mean", "std")}
    return DatasetInfo(**content, **lists, folder=folder, config=config), betons


def verify_betons(info: DatasetInfo, betons: dict[str, Any]) -> None:
    """Raise UserError if an FFCV file is missing, truncated or not the one that was converted."""
    for split in SPLITS:
        path, expected = info.beton(split), betons[split]
        if not os.path.exists(path):
            problem = "is missing"
        elif (size := os.path.getsize(path)) < expected["bytes"]:
            problem = f"is truncated: {size} bytes, expected {expected['bytes']}"
        elif beton_record(path) != expected:
            problem = "is not the file that was converted here (its size or checksum differs)"
        else:
            continue
        raise UserError(f"{path} {problem}; delete the folder {info.folder} to convert again")


def _manifest(folder: str) -> Path:
    return Path(folder) / "manifest.json"


def _checksum(content: dict[str, Any]) -> str:
    return hashlib.sha256(json.dumps(content, sort_keys=True).encode()).hexdigest()
