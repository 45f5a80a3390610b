"""Keys `tuning` and `title` of an optimizer's config, which are not arguments of its class."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Any

from clr.errors import UserError
from clr.overrides import format_value

_EXAMPLE = "write it as in configs/optimizer/sgd.yaml"
# Keys of an optimizer's config that are not arguments of its class.
_NOT_TUNED = ("name", "_target_", "schedule")


@dataclass(frozen=True)
class Tuning:
    """The main hyperparameter of an optimizer, and the grid of values that it is tuned over."""

    key: str
    values: tuple[int | float, ...]
    beyond: tuple[int | float, ...] = ()  # that show the sensitivity, and that tuning cannot choose


def remove_tuning(optimizer: dict[str, Any]) -> Tuning | None:
    """Check and remove the keys `tuning` and `title` of an optimizer's config; return the tuning.

    None if the config has no `tuning`: the optimizer has nothing to tune.

    Raises:
        UserError: if one of the two has the wrong form; the message names its key.
    """
    title, tuning = optimizer.pop("title", None), optimizer.pop("tuning", None)
    if title is not None and (not isinstance(title, str) or not title.strip()):
        raise UserError(
            f"optimizer.title={format_value(title)} is not a name; quote it, or leave it out"
        )
    return None if tuning is None else _checked(tuning)


def check_tuned_argument(tuning: Tuning, optimizer: dict[str, Any]) -> None:
    """Raise UserError if the tuned key is not an argument in the optimizer's config.

    The config of a single run may lack it, as after `~optimizer.lr` on the command line.
    """
    arguments = [name for name in optimizer if name not in _NOT_TUNED]
    if tuning.key not in arguments:
        known = ", ".join(arguments) or "none"
        raise UserError(
            f"optimizer.tuning.key={format_value(tuning.key)} is not an argument in the "
            f"optimizer's config, which has {known}; add it there, or use another one"
        )


def _checked(tuning: Any) -> Tuning:
    if not isinstance(tuning, dict) or set(tuning) - {"beyond"} != {"key", "values"}:
        raise UserError(
            "optimizer.tuning must have the keys key and values, and may have beyond; " + _EXAMPLE
        )
    key, values, beyond = tuning["key"], tuning["values"], tuning.get("beyond", [])
    if not isinstance(key, str):
        raise UserError(
            f"optimizer.tuning.key={format_value(key)} is not the name of an argument; {_EXAMPLE}"
        )
    if values == []:
        raise UserError(f"optimizer.tuning.values=[] is empty; {_EXAMPLE}")
    for name, numbers in (("values", values), ("beyond", beyond)):
        if not isinstance(numbers, list) or not all(map(_is_finite, numbers)):
            raise UserError(
                f"optimizer.tuning.{name}={format_value(numbers)} is not a list of finite "
                f"numbers; {_EXAMPLE}"
            )
    repeated = [value for value in set(values + beyond) if (values + beyond).count(value) > 1]
    if repeated:
        raise UserError(
            f"optimizer.tuning has {format_value(repeated[0])} twice in values and beyond; "
            "give each number once"
        )
    return Tuning(key, tuple(values), tuple(beyond))


def _is_finite(value: Any) -> bool:
    is_number = isinstance(value, int | float) and not isinstance(value, bool)
    return is_number and math.isfinite(value)
