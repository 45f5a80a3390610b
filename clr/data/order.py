"""Everything random about the data: a counter-based hash, and the order of an epoch that follows from it.

A draw is a pure function of (seed, epoch, purpose, sample id), so that it depends neither on the loader nor on the
number of workers nor on where a run was resumed, and stays the same whatever numpy or torch do to their generators.
"""

from __future__ import annotations

from enum import IntEnum

import numpy as np

_MASK = (1 << 64) - 1
_STEP = 0x9E3779B97F4A7C15  # 2^64 / golden ratio, the increment of splitmix64


class Purpose(IntEnum):
    """Keeps draws for different ends independent of one another."""

    ORDER = 1
    AUGMENT = 2
    CROP = 3
    PLACE = 4


def _mix(z: np.ndarray) -> np.ndarray:
    """The output function of splitmix64, a bijection of uint64."""
    z = (z ^ (z >> np.uint64(30))) * np.uint64(0xBF58476D1CE4E5B9)
    z = (z ^ (z >> np.uint64(27))) * np.uint64(0x94D049BB133111EB)
    return z ^ (z >> np.uint64(31))


def draw(seed: int, epoch: int, purpose: Purpose, ids: np.ndarray) -> np.ndarray:
    """64 random bits for each of `ids` (non-negative integers, shape (n,)), as uint64 of shape (n,)."""
    key = np.zeros(1, np.uint64)  # an array, as numpy warns when scalars wrap around
    for word in (seed, epoch, purpose):
        key = _mix(key + np.uint64((word + _STEP) & _MASK))
    return _mix(key + (ids.astype(np.uint64) + np.uint64(1)) * np.uint64(_STEP))


def permutation(seed: int, epoch: int, n: int) -> np.ndarray:
    """The order in which an epoch visits samples 0..n-1: int64 of shape (n,)."""
    return np.argsort(draw(seed, epoch, Purpose.ORDER, np.arange(n)), kind="stable")
