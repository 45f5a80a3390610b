"""Which part of an image is seen: torchvision's RandomResizedCrop for training, the central square for testing.

Boxes are int64 (n, 4): y, x, height, width in pixels of the stored image. They are pure functions of (seed, epoch,
sample id) and the image's size, so that they depend neither on the loader nor on batches, workers or a resumption.
"""

from __future__ import annotations

import numpy as np

from clr.data.order import Purpose, draw

SCALE = (0.08, 1.0)  # a training crop's share of the image's area, uniform
RATIO = (3 / 4, 4 / 3)  # its width over its height, uniform in the logarithm
TRIES = 10
CENTRE = 0.875  # a test crop's side over the image's shorter side


def random_boxes(
    seed: int, epoch: int, ids: np.ndarray, heights: np.ndarray, widths: np.ndarray
) -> np.ndarray:
    """Training crops of samples `ids` (n,), whose images have `heights` and `widths` (n,).

    Area and shape are drawn until the crop fits into the image, ten times at most; then it is the largest central
    crop with a ratio within bounds.
    """
    h, w = _fallback(heights, widths)
    y, x = (heights - h) // 2, (widths - w) // 2
    places = _halves(draw(seed, epoch, Purpose.PLACE, ids))
    left = np.arange(len(ids))
    low, high = np.log(RATIO)
    for attempt in range(TRIES):
        u, v = _halves(draw(seed, epoch, Purpose.CROP, ids[left] * TRIES + attempt))
        area = heights[left] * widths[left] * (SCALE[0] + (SCALE[1] - SCALE[0]) * (u / 2**32))
        ratio = np.exp(low + (high - low) * (v / 2**32))
        wide, tall = (
            np.rint(np.sqrt(area * ratio)).astype(np.int64),
            np.rint(np.sqrt(area / ratio)).astype(np.int64),
        )
        fits = (wide > 0) & (wide <= widths[left]) & (tall > 0) & (tall <= heights[left])
        now = left[fits]
        h[now], w[now] = tall[fits], wide[fits]
        # Where among the places that the crop may have, uniform.
        y[now], x[now] = (
            (place[now] * (size[now] - crop[now] + 1).astype(np.uint64) >> np.uint64(32)).astype(
                np.int64
            )
            for place, size, crop in zip(places, (heights, widths), (h, w), strict=True)
        )
        left = left[~fits]
    return np.stack([y, x, h, w], axis=1)


def central_boxes(heights: np.ndarray, widths: np.ndarray) -> np.ndarray:
    """Test crops: the central square of 0.875 × the shorter side."""
    side = np.maximum(1, np.rint(CENTRE * np.minimum(heights, widths)).astype(np.int64))
    return np.stack([(heights - side) // 2, (widths - side) // 2, side, side], axis=1)


def _halves(bits: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Two independent draws of 32 bits out of 64, still as uint64."""
    return bits >> np.uint64(32), bits & np.uint64(0xFFFFFFFF)


def _fallback(heights: np.ndarray, widths: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Height and width of the largest crop whose ratio lies within bounds."""
    ratio = widths / heights
    h = np.where(ratio < RATIO[0], np.rint(widths / RATIO[0]).astype(np.int64), heights)
    w = np.where(ratio > RATIO[1], np.rint(heights * RATIO[1]).astype(np.int64), widths)
    return h, w
