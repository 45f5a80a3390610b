"""Crop boxes: torchvision's RandomResizedCrop for training, the central square for testing.

A box is (y, x, height, width) in pixels of the stored image; n boxes are int64 of shape (n, 4).
Boxes are pure functions of (seed, epoch, sample id) and the size of the image. They do not depend
on the loader, the batch, the number of workers or where a run was resumed.
"""

from __future__ import annotations

import numpy as np

from clr.data.order import Purpose, draw

SCALE = (0.08, 1.0)  # area of a training crop relative to the image, uniform
RATIO = (3 / 4, 4 / 3)  # its width over its height, uniform in the logarithm
ATTEMPTS = 10
CENTER = 0.875  # side of a test crop over the shorter side of the image


def random_boxes(
    seed: int, epoch: int, ids: np.ndarray, heights: np.ndarray, widths: np.ndarray
) -> np.ndarray:
    """Training crops of the samples `ids`, whose images have the given heights and widths.

    Area and ratio are drawn until the crop fits into the image. After `ATTEMPTS` failures it is the
    largest central crop with a ratio within bounds.

    Args:
        ids, heights, widths: integers of shape (n,).

    Returns:
        int64 of shape (n, 4).
    """
    h, w = _largest_allowed(heights, widths)
    y, x = (heights - h) // 2, (widths - w) // 2
    position_y, position_x = _halves(draw(seed, epoch, Purpose.PLACE, ids))
    pending = np.arange(len(ids))
    for attempt in range(ATTEMPTS):
        bits = draw(seed, epoch, Purpose.CROP, ids[pending] * ATTEMPTS + attempt)
        new_h, new_w = _random_sizes(bits, heights[pending], widths[pending])
        fits = (new_h > 0) & (new_h <= heights[pending]) & (new_w > 0) & (new_w <= widths[pending])
        accepted = pending[fits]
        h[accepted], w[accepted] = new_h[fits], new_w[fits]
        y[accepted] = _scaled(position_y[accepted], heights[accepted] - h[accepted])
        x[accepted] = _scaled(position_x[accepted], widths[accepted] - w[accepted])
        pending = pending[~fits]
    return np.stack([y, x, h, w], axis=1)


def central_boxes(heights: np.ndarray, widths: np.ndarray) -> np.ndarray:
    """Test crops, int64 of shape (n, 4): the central square of 0.875 × the shorter side."""
    side = np.maximum(1, np.rint(CENTER * np.minimum(heights, widths)).astype(np.int64))
    return np.stack([(heights - side) // 2, (widths - side) // 2, side, side], axis=1)


def _random_sizes(
    bits: np.ndarray, heights: np.ndarray, widths: np.ndarray
) -> tuple[np.ndarray, np.ndarray]:
    """Heights and widths of crops with random area and ratio; they may exceed the image."""
    u, v = _halves(bits)
    low, high = np.log(RATIO)
    area = heights * widths * (SCALE[0] + (SCALE[1] - SCALE[0]) * (u / 2**32))
    ratio = np.exp(low + (high - low) * (v / 2**32))
    new_heights = np.rint(np.sqrt(area / ratio)).astype(np.int64)
    new_widths = np.rint(np.sqrt(area * ratio)).astype(np.int64)
    return new_heights, new_widths


def _scaled(bits: np.ndarray, largest: np.ndarray) -> np.ndarray:
    """Map 32 random bits to a uniform integer from 0 to `largest`, without a division."""
    return (bits * (largest + 1).astype(np.uint64) >> np.uint64(32)).astype(np.int64)


def _halves(bits: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Two independent draws of 32 bits from 64, still as uint64."""
    return bits >> np.uint64(32), bits & np.uint64(0xFFFFFFFF)


def _largest_allowed(heights: np.ndarray, widths: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Height and width of the largest crop with a ratio within bounds."""
    ratio = widths / heights
    h = np.where(ratio < RATIO[0], np.rint(widths / RATIO[0]).astype(np.int64), heights)
    w = np.where(ratio > RATIO[1], np.rint(heights * RATIO[1]).astype(np.int64), widths)
    return h, w
