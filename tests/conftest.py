import socket
from pathlib import Path

import numpy as np
import pytest
from PIL import Image


@pytest.fixture
def free_port() -> int:
    with socket.socket() as s:
        s.bind(("127.0.0.1", 0))
        return int(s.getsockname()[1])


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
                channels = {("train", "ant", 0): (), ("train", "ant", 1): (4,)}.get((split, c, i), (3,))
                pixels = rng.integers(0, 256, (*size, *channels), dtype=np.uint8)
                name = f"{i}.jpg" if (c, i) == ("bee", 2) else f"{i}.png"
                Image.fromarray(pixels).save(folder / name)
    return tmp_path / "images"
