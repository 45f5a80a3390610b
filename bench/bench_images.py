"""Folders of images for benchmarks, drawn from scikit-learn's digits: nothing is downloaded."""

from __future__ import annotations

from pathlib import Path

import numpy as np
from PIL import Image
from sklearn.datasets import load_digits

TEST_IMAGES = 100


def write_digits(folder: Path, pixels: int, train_images: int) -> None:
    """Write the digits as PNG, in folder/train/CLASS and folder/val/CLASS; folder/test is val.

    Args:
        pixels: width and height of the images.
        train_images: number of training images; digits are repeated if it exceeds theirs.
    """
    digits, labels = load_digits(return_X_y=True)
    numbers = range(TEST_IMAGES + train_images)
    for number in numbers:
        split = "val" if number < TEST_IMAGES else "train"
        index = number % len(digits)
        gray = (digits[index].reshape(8, 8) * (255 / 16)).astype(np.uint8)
        image = Image.fromarray(gray).resize((pixels, pixels)).convert("RGB")
        target = folder / split / str(labels[index])
        target.mkdir(parents=True, exist_ok=True)
        image.save(target / f"{number}.png")
    (folder / "test").symlink_to("val")  # its name in dataset=folder


def write_photographs(folder: Path, images: int, size: tuple[int, int] = (500, 375)) -> None:
    """Write JPEG images of ImageNet's usual size, in folder/train/CLASS and folder/val/CLASS.

    They are smooth random patterns, whose files are about as large as those of photographs.
    """
    rng = np.random.default_rng(0)
    for split, number in (("train", images), ("val", 10)):
        for index in range(number):
            coarse = rng.integers(0, 256, (size[1] // 6, size[0] // 6, 3), dtype=np.uint8)
            target = folder / split / f"class{index % 10}"
            target.mkdir(parents=True, exist_ok=True)
            image = Image.fromarray(coarse).resize(size, Image.Resampling.BICUBIC)
            image.save(target / f"{index}.jpg", quality=90)
