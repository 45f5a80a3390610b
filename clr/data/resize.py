"""Pillow's antialiased bilinear resizing, compiled by Numba; bit-identical to Pillow's result.

FFCV's decoders run as compiled code and cannot call Pillow. OpenCV's resizing, which FFCV offers,
gives other pixels.
"""

from __future__ import annotations

import numba
import numpy as np

BITS = 22  # fraction bits of Pillow's fixed-point weights

# Without fastmath, which would round the weights differently from Pillow.
_compiled = numba.njit(nogil=True, error_model="numpy")


@_compiled
def _weights(n_in, n_out):  # type: ignore[no-untyped-def]
    """Weights of the input pixels of each output pixel, when n_in pixels are resized to n_out.

    Returns the first input pixel (n_out,), the number of input pixels (n_out,) and their weights
    (n_out, largest number), all int32.
    """
    scale = n_in / n_out
    support = max(scale, 1.0)
    starts, counts = np.empty(n_out, np.int32), np.empty(n_out, np.int32)
    weights = np.zeros((n_out, int(np.ceil(support)) * 2 + 1), np.int32)
    exact = np.empty(weights.shape[1], np.float64)
    for i in range(n_out):
        center = (i + 0.5) * scale
        start = max(0, int(center - support + 0.5))
        count = min(n_in, int(center + support + 0.5)) - start
        total = 0.0
        for k in range(count):
            distance = abs((k + start - center + 0.5) * (1.0 / support))
            exact[k] = 1.0 - distance if distance < 1.0 else 0.0
            total += exact[k]
        for k in range(count):
            weights[i, k] = int(0.5 + exact[k] / total * (1 << BITS))
        starts[i], counts[i] = start, count
    return starts, counts, weights


@_compiled
def _resize_columns(image, box, out):  # type: ignore[no-untyped-def]
    """Resize the box of `image` to `width` columns; fill `out`, uint8 of shape (h, 3 * width)."""
    y, x, h, w = box
    width = out.shape[1] // 3
    starts, counts, weights = _weights(w, width)
    half = np.int32(1 << (BITS - 1))
    for row in range(h):
        for i in range(width):
            first = x + starts[i]
            red, green, blue = half, half, half
            for k in range(counts[i]):
                weight = weights[i, k]
                red += np.int32(image[y + row, first + k, 0]) * weight
                green += np.int32(image[y + row, first + k, 1]) * weight
                blue += np.int32(image[y + row, first + k, 2]) * weight
            # The weights are positive but rounded, so a sum can slightly exceed 255.
            out[row, 3 * i] = min(255, red >> BITS)
            out[row, 3 * i + 1] = min(255, green >> BITS)
            out[row, 3 * i + 2] = min(255, blue >> BITS)


@_compiled
def _resize_rows(rows, out):  # type: ignore[no-untyped-def]
    """Resize `rows`, (h, 3 * width), to the height of `out`, (height, width, 3), both uint8."""
    height, width = out.shape[0], out.shape[1]
    starts, counts, weights = _weights(rows.shape[0], height)
    sums = np.empty(3 * width, np.int32)
    for i in range(height):
        sums[:] = np.int32(1 << (BITS - 1))
        for k in range(counts[i]):
            weight = weights[i, k]
            for j in range(3 * width):
                sums[j] += np.int32(rows[starts[i] + k, j]) * weight
        for j in range(width):
            for c in range(3):
                out[i, j, c] = min(255, sums[3 * j + c] >> BITS)


@_compiled
def crop_and_resize(image, box, out):  # type: ignore[no-untyped-def]
    """Fill `out` with the resized box of `image`: columns first, rounded, then rows.

    Args:
        image: uint8 of shape (height, width, 3).
        box: (y, x, h, w), integers.
        out: uint8 of shape (H, W, 3); overwritten.
    """
    rows = np.empty((box[2], 3 * out.shape[1]), np.uint8)
    _resize_columns(image, box, rows)
    _resize_rows(rows, out)
