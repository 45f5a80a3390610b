"""scikit-learn's handwritten digits."""

from __future__ import annotations

from typing import Any

import numpy as np

from clr.data.info import Split
from clr.data.sources.base import Source


class Digits(Source):
    """1,797 digits of 8×8 pixels; of each class, in scikit-learn's order, every fifth is for test.

    They come with scikit-learn, so nothing is downloaded.
    """

    kind = "digits"
    title = "digits (scikit-learn)"

    @property
    def classes(self) -> list[str]:
        return [str(digit) for digit in range(10)]

    def stamp(self) -> Any:
        return "every fifth of each class is for testing"

    def read(self, split: Split) -> tuple[np.ndarray, np.ndarray]:
        from sklearn.datasets import load_digits

        digits = load_digits()
        labels = digits.target.astype(np.int64)
        position = np.zeros(len(labels), np.int64)  # of each digit within its class
        for c in range(10):
            position[labels == c] = np.arange((labels == c).sum())
        mask = (position % 5 == 4) == (split == "test")
        gray = np.rint(digits.images[mask] * (255 / 16)).astype(np.uint8)  # originals are 0..16
        return np.repeat(gray[:, :, :, None], 3, axis=3), labels[mask]
