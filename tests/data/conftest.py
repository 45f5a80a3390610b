from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from clr.config import DatasetConfig


@pytest.fixture
def data_folder(tmp_path: Path) -> Path:
    """An image folder of 3 classes, 8 training and 3 test images each: odd sizes, one grey, one RGBA, one JPEG."""
    rng = np.random.default_rng(0)
    for split, n in (("train", 8), ("test", 3)):
        for c in ("cat", "ant", "bee"):
            folder = tmp_path / "images" / split / c
            folder.mkdir(parents=True)
            for i in range(n):
                size = (9 + i, 14 - i)
                channels = {("train", "ant", 0): (), ("train", "ant", 1): (4,)}.get(
                    (split, c, i), (3,)
                )
                pixels = rng.integers(0, 256, (*size, *channels), dtype=np.uint8)
                name = f"{i}.jpg" if (c, i) == ("bee", 2) else f"{i}.png"
                Image.fromarray(pixels).save(folder / name)
    return tmp_path / "images"


@pytest.fixture
def config(data_folder: Path) -> DatasetConfig:
    """That folder as a data set."""
    return DatasetConfig(name="insects", source="folder", path=str(data_folder), resolution=12)


def photo(rng: np.random.Generator, width: int, height: int) -> Image.Image:
    """Something as smooth as a photograph, so that JPEG does to it what it does to photographs."""
    coarse = rng.integers(0, 256, (height // 8 + 2, width // 8 + 2, 3), dtype=np.uint8)
    return Image.fromarray(coarse).resize((width, height), Image.Resampling.BICUBIC)


@pytest.fixture
def imagenet_folder(tmp_path: Path) -> Path:
    """ImageNet's layout: 3 classes of 10 training and 4 test photos of odd sizes.

    Among n01's for training are a grey, a CMYK, an RGBA and a very wide one; among n02's a truncated JPEG, an empty
    file and a text, and among its test images another text.
    """
    rng = np.random.default_rng(0)
    for split, n in (("train", 10), ("val", 4)):
        for c in ("n01", "n02", "n03"):
            folder = tmp_path / "imagenet" / split / c
            folder.mkdir(parents=True)
            for i in range(n):
                width, height = int(rng.integers(30, 120)), int(rng.integers(30, 120))
                image = photo(
                    rng, *((400, 21) if (split, c, i) == ("train", "n01", 3) else (width, height))
                )
                mode = {
                    ("train", "n01", 0): "L",
                    ("train", "n01", 1): "CMYK",
                    ("train", "n01", 2): "RGBA",
                }
                image = image.convert(mode.get((split, c, i), "RGB"))
                kind = (
                    "PNG" if image.mode == "RGBA" else "JPEG"
                )  # ImageNet has PNGs with JPEG's extension as well
                image.save(folder / f"{c}_{i}.JPEG", kind, quality=95)
    bad = tmp_path / "imagenet" / "train" / "n02"
    whole = (bad / "n02_2.JPEG").read_bytes()
    (bad / "n02_2.JPEG").write_bytes(whole[: len(whole) // 2])
    (bad / "n02_4.JPEG").write_bytes(b"")
    (bad / "n02_5.JPEG").write_text("an error page of the server")
    (tmp_path / "imagenet" / "val" / "n02" / "n02_0.JPEG").write_text("another")
    return tmp_path / "imagenet"
