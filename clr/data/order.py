"""Randomness of the data: a counter-based generator, and the order of an epoch drawn from it.

A draw is a pure function of (seed, epoch, purpose, sample id). It does not depend on the loader,
the number of workers or where a run was resumed, nor on changes of NumPy's and PyTorch's
generators.
"""

from __future__ import annotations

from enum import IntEnum

import numpy as np

_MASK = (1 << 64) - 1
_STEP = 0x9E3779B97F4A7C15  # 2^64 / golden ratio, the increment of splitmix64


class Purpose(IntEnum):
    """Purpose of a draw; draws for different purposes are independent."""

    ORDER = 1
    AUGMENT = 2
    CROP = 3
    PLACE = 4


def draw(seed: int, epoch: int, purpose: Purpose, ids: np.ndarray) -> np.ndarray:
    """64 random bits for each of `ids` (integers ≥ 0 of shape (n,)), as uint64 of shape (n,)."""
    key = np.zeros(1, np.uint64)  # an array, because NumPy warns when a scalar wraps around
    for word in (seed, epoch, purpose):
        key = _mix(key + np.uint64((word + _STEP) & _MASK))
    return _mix(key + (ids.astype(np.uint64) + np.uint64(1)) * np.uint64(_STEP))


def permutation(seed: int, epoch: int, n: int) -> np.ndarray:
    """Order in which an epoch visits the samples 0..n-1: int64 of shape (n,)."""
    return np.argsort(draw(seed, epoch, Purpose.ORDER, np.arange(n)), kind="stable")


def _mix(z: np.ndarray) -> np.ndarray:
    """Output function of splitmix64, a bijection of uint64."""
    z = (z ^ (z >> np.uint64(30))) * np.uint64(0xBF58476D1CE4E5B9)
    z = (z ^ (z >> np.uint64(27))) * np.uint64(0x94D049BB133111EB)
    return z ^ (z >> np.uint64(31))
