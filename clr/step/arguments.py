"""Validation of an optimizer's arguments."""

from __future__ import annotations

import math
import numbers
from typing import Any


def real(name: str, value: Any) -> float:
    """Return `value` as a float.

    Raises:
        TypeError: if it is not a real number.
        ValueError: for an integer beyond the range of floats.
    """
    if not isinstance(value, numbers.Real) or isinstance(value, bool):
        raise TypeError(f"{name} must be a real number, got {value!r}")
    try:
        return float(value)
    except OverflowError:
        raise ValueError(f"{name} is too large for a float, got an integer of that size") from None


def in_range(name: str, value: Any, low: float, high: float = math.inf) -> float:
    """Return `value` as a float with low ≤ value < high.

    Raises:
        TypeError, ValueError: as `real`, and for another number.
    """
    if not low <= (number := real(name, value)) < high:
        below = "" if high == math.inf else f" and below {high:g}"
        raise ValueError(f"{name} must be finite, at least {low:g}{below}, got {value}")
    return number


def positive(name: str, value: Any) -> float:
    """Return `value` as a finite float above 0.

    Raises:
        TypeError, ValueError: as `real`, and for another number.
    """
    if not 0 < (number := real(name, value)) < math.inf:
        raise ValueError(f"{name} must be finite and positive, got {value}")
    return number


def rate_cap(max_lr: Any) -> float | None:
    """Return the upper bound of a rate as a float, or None."""
    if max_lr is None:
        return None
    if not (bound := real("max_lr", max_lr)) >= 0:
        raise ValueError(f"max_lr must be None or at least 0, got {max_lr}")
    return bound
