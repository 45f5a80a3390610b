"""What is known of a converted dataset, its manifest on disk, and the check that its files are what they were."""

from __future__ import annotations

import hashlib
import json
import os
from dataclasses import dataclass, field
from typing import Any

from clr.config import DatasetConfig
from clr.errors import UserError

SPLITS = ("train", "test")


@dataclass(frozen=True)
class DatasetInfo:
    """A prepared dataset."""

    name: str
    label: str  # for people: the name that figures print
    classes: tuple[str, ...]
    num_train: int
    num_test: int
    resolution: int  # batches have images of resolution × resolution pixels
    mean: tuple[float, ...]  # of each channel (RGB) over the training images, pixels in [0, 1]
    std: tuple[float, ...]
    fingerprint: (
        str  # sha256 of all pixels and labels; of the JPEG files instead where such are stored
    )
    folder: str  # data_dir/<name>-<key>
    config: DatasetConfig  # what it was made from
    skipped: int = 0  # originals that could not be read; skipped.txt in the folder names them
    converted: dict[str, int] = field(
        default_factory=dict
    )  # originals that were not RGB, by Pillow's name of their mode

    def size(self, split: str) -> int:
        return self.num_train if split == "train" else self.num_test

    def beton(self, split: str) -> str:
        """Path of the split's FFCV file."""
        return os.path.join(self.folder, f"{split}.beton")


def beton_record(path: str) -> dict[str, Any]:
    """Size in bytes, and sha256 of the first and last MiB: enough to notice a truncated or a foreign file at once."""
    size, mib = os.path.getsize(path), 1 << 20
    with open(path, "rb") as file:
        digest = hashlib.sha256(file.read(mib))
        file.seek(max(0, size - mib))
        digest.update(file.read())
    return {"bytes": size, "sha256_of_ends": digest.hexdigest()}


def _seal(content: dict[str, Any]) -> str:
    return hashlib.sha256(json.dumps(content, sort_keys=True).encode()).hexdigest()


def write_manifest(path: str, facts: dict[str, Any], betons: dict[str, Any]) -> None:
    """`facts`: the fields of DatasetInfo but folder and config. `betons`: a beton_record per split.

    The manifest is there whole or not at all, since it says that the files are.
    """
    content = {**facts, "betons": betons}
    with open(f"{path}.new", "w") as file:
        json.dump({**content, "sha256": _seal(content)}, file, indent=1)
        file.flush()
        os.fsync(file.fileno())
    os.replace(f"{path}.new", path)


def read_manifest(folder: str, config: DatasetConfig) -> tuple[DatasetInfo, dict[str, Any]] | None:
    """The dataset in `folder` and its beton records; None where none was converted; UserError where it is damaged."""
    path = os.path.join(folder, "manifest.json")
    try:
        with open(path, "rb") as file:
            content = json.load(file)
        seal = content.pop("sha256")
        if seal != _seal(content):
            raise ValueError("its checksum differs")
    except (FileNotFoundError, NotADirectoryError):
        return None
    except (ValueError, KeyError, AttributeError, TypeError) as error:
        raise UserError(
            f"{path} is damaged ({error}); delete the folder {folder} to convert again"
        ) from None
    betons = content.pop("betons")
    lists: dict[str, Any] = {key: tuple(content.pop(key)) for key in ("classes", "mean", "std")}
    return DatasetInfo(**content, **lists, folder=folder, config=config), betons


def verify_betons(info: DatasetInfo, betons: dict[str, Any]) -> None:
    """UserError if an FFCV file is missing, truncated, or another than the one that was written."""
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
