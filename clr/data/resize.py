"""Pillow's antialiased bilinear resizing, compiled by numba: to the bit what the torch loader has from Pillow itself.

FFCV's decoders run as compiled code and cannot call Pillow; OpenCV's resizing, which FFCV offers, gives other pixels.
"""

from __future__ import annotations

import numba
import numpy as np

BITS = 22  # of the fraction in Pillow's fixed-point weights

# Without fastmath, which would round the weights otherwise than Pillow does.
_compiled = numba.njit(nogil=True, error_model="numpy")


@_compiled
def _weights(n_in, n_out):  # type: ignore[no-untyped-def]
    """For each of n_out pixels: the first of the n_in pixels that it depends on, how many, and their weights."""
    scale = n_in / n_out
    support = max(scale, 1.0)
    starts, counts = np.empty(n_out, np.int32), np.empty(n_out, np.int32)
    weights = np.zeros((n_out, int(np.ceil(support)) * 2 + 1), np.int32)
    exact = np.empty(weights.shape[1], np.float64)
    for i in range(n_out):
        centre = (i + 0.5) * scale
        start = max(0, int(centre - support + 0.5))
        count = min(n_in, int(centre + support + 0.5)) - start
        total = 0.0
        for k in range(count):
            distance = abs((k + start - centre + 0.5) * (1.0 / support))
            exact[k] = 1.0 - distance if distance < 1.0 else 0.0
            total += exact[k]
        for k in range(count):
            weights[i, k] = int(0.5 + exact[k] / total * (1 << BITS))
        starts[i], counts[i] = start, count
    return starts, counts, weights


@_compiled
def crop_and_resize(image, y, x, h, w, out):  # type: ignore[no-untyped-def]
    """Fills `out` (H, W, 3) with the box of `image` (h', w', 3), both uint8. Columns first, rounded, then rows."""
    height, width = out.shape[0], out.shape[1]
    between = np.empty((h, width * 3), np.uint8)
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
            # The weights are positive and rounded, so that a sum is at most a little above 255.
            between[row, 3 * i] = min(255, red >> BITS)
            between[row, 3 * i + 1] = min(255, green >> BITS)
            between[row, 3 * i + 2] = min(255, blue >> BITS)
    starts, counts, weights = _weights(h, height)
    sums = np.empty(width * 3, np.int32)
    for i in range(height):
        sums[:] = half
        for k in range(counts[i]):
            weight = weights[i, k]
            for j in range(width * 3):
                sums[j] += np.int32(between[starts[i] + k, j]) * weight
        for j in range(width):
            for c in range(3):
                out[i, j, c] = min(255, sums[3 * j + c] >> BITS)
