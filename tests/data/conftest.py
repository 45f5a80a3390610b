from pathlib import Path

import numpy as np
import pytest
from data_cases import folder_config, photo
from PIL import Image

from clr.config import DatasetConfig
from clr.data import DatasetInfo, prepare


@pytest.fixture
def data_folder(tmp_path: Path) -> Path:
    """An image folder of 3 classes with 8 training and 3 test images each, all of different sizes.

    All are PNG in RGB, except ants 0 (gray) and 1 (RGBA) for training and bee 2 (JPEG) of each
    split.
    """
    rng = np.random.default_rng(0)
    modes = {("train", "ant", 0): "L", ("train", "ant", 1): "RGBA"}
    channels: dict[str, tuple[int, ...]] = {"L": (), "RGB": (3,), "RGBA": (4,)}
    for split, n in (("train", 8), ("test", 3)):
        for c in ("cat", "ant", "bee"):
            folder = tmp_path / "images" / split / c
            folder.mkdir(parents=True)
            for i in range(n):
                mode = modes.get((split, c, i), "RGB")
                shape = (9 + i, 14 - i, *channels[mode])
                pixels = rng.integers(0, 256, shape, dtype=np.uint8)
                extension = "jpg" if (c, i) == ("bee", 2) else "png"
                Image.fromarray(pixels).save(folder / f"{i}.{extension}")
    return tmp_path / "images"


@pytest.fixture
def config(data_folder: Path) -> DatasetConfig:
    """The image folder `data_folder` as a dataset."""
    return folder_config(data_folder)


@pytest.fixture
def info(config: DatasetConfig, tmp_path: Path) -> DatasetInfo:
    """`data_folder`, converted."""
    return prepare(config, str(tmp_path / "data"), "torch")


@pytest.fixture
def imagenet_folder(tmp_path: Path) -> Path:
    """ImageNet's layout: 3 classes with 10 training and 4 test photos each, of different sizes.

    In n01 for training are a gray, a CMYK, an RGBA and a very wide image. In n02 for training are a
    truncated JPEG, an empty file and a text; n02's first test image is a text as well.
    """
    rng = np.random.default_rng(0)
    modes = {("train", "n01", 0): "L", ("train", "n01", 1): "CMYK", ("train", "n01", 2): "RGBA"}
    for split, n in (("train", 10), ("val", 4)):
        for c in ("n01", "n02", "n03"):
            folder = tmp_path / "imagenet" / split / c
            folder.mkdir(parents=True)
            for i in range(n):
                size = int(rng.integers(30, 120)), int(rng.integers(30, 120))
                image = photo(rng, *((400, 21) if (split, c, i) == ("train", "n01", 3) else size))
                image = image.convert(modes.get((split, c, i), "RGB"))
                # As in ImageNet, a PNG may have JPEG's extension.
                kind = "PNG" if image.mode == "RGBA" else "JPEG"
                image.save(folder / f"{c}_{i}.JPEG", kind, quality=95)
    bad = tmp_path / "imagenet" / "train" / "n02"
    content = (bad / "n02_2.JPEG").read_bytes()
    (bad / "n02_2.JPEG").write_bytes(content[: len(content) // 2])
    (bad / "n02_4.JPEG").write_bytes(b"")
    (bad / "n02_5.JPEG").write_text("an error page of a server")
    (tmp_path / "imagenet" / "val" / "n02" / "n02_0.JPEG").write_text("another error page")
    return tmp_path / "imagenet"
