"""Checks of the values in a config: names, paths, and the configs that name a factory."""

from __future__ import annotations

import os
import sys
import unicodedata
from collections.abc import Iterator
from typing import Any

from clr.errors import UserError
from clr.overrides import format_value

LARGEST = sys.float_info.max
# Of a name in UTF-8. A run's folder is named by its data, its model and its optimizer, within 255
# bytes with the numbers that follow.
NAME_BYTES = 80
MODEL_NAME_BYTES = 32

# Arguments of Hydra's instantiate, which calls the factory.
_RESERVED_ARGUMENTS = {
    "_args_": "give arguments by name",
    "_partial_": "the trainer sets it",
    "_recursive_": "the trainer sets it",
    "_convert_": "the trainer sets it",
}
# By group of configs: the arguments that the trainer gives to the factory.
_TRAINERS_ARGUMENTS = {
    "optimizer": {
        "params": "the trainer passes the model's parameters",
        "process_group": "the trainer averages over all ranks",
    },
    "model": {"num_classes": "it is the number of classes of the data"},
}
EXAMPLE_CONFIGS = {
    "optimizer": "configs/optimizer/sgd.yaml",
    "model": "configs/model/resnet18.yaml",
}
_LIKE_SCHEDULE = "write it as in configs/optimizer/sgd_momentum_cosine.yaml"


def check_factory_config(group: str, config: dict[str, Any]) -> None:
    """Check the config of an optimizer or a model: `name`, `_target_` and arguments.

    The name is replaced by its normalized form. The factory is not imported.

    Args:
        group: "optimizer" or "model".
        config: its config, as `TrainConfig` holds it.

    Raises:
        UserError: if a key is missing or not accepted; the message names it.
    """
    for key in ("name", "_target_"):
        if config.get(key) in (None, ""):
            raise UserError(f"the {group}'s config has no {key}; see {EXAMPLE_CONFIGS[group]}")
    name = config["name"]
    max_bytes = MODEL_NAME_BYTES if group == "model" else NAME_BYTES
    if (problem := name_problem(name, max_bytes)) is not None:
        raise UserError(f"{group}.name={name} {problem}")
    config["name"] = normalized_name(name)
    if not isinstance(config["_target_"], str):
        raise UserError(f"{group}._target_={config['_target_']} is not the name of a class")
    for key, reason in {**_TRAINERS_ARGUMENTS[group], **_RESERVED_ARGUMENTS}.items():
        if key in config:
            raise UserError(f"{group}.{key} cannot be set: {reason}; remove it")
    for key, value in config.items():
        if any(isinstance(number, int) and abs(number) > LARGEST for number in _numbers(value)):
            raise UserError(f"{group}.{key} has a number above {LARGEST:.2g}; use a smaller one")


def check_learning_rate(optimizer: dict[str, Any]) -> None:
    """Raise UserError if the optimizer's `lr`, if any, is not a finite number ≥ 0."""
    rate = optimizer.get("lr", 0.0)
    if type(rate) not in (int, float) or not 0 <= rate <= LARGEST:  # also if NaN
        raise UserError(
            f"optimizer.lr={format_value(rate)} is not a learning rate; give a finite number ≥ 0"
        )


def check_schedule(optimizer: dict[str, Any]) -> None:
    """Check the optimizer's `schedule`; remove it if it is null or empty.

    Raises:
        UserError: if it has another form than that in the example.
    """
    schedule = optimizer.pop("schedule", None)
    if schedule in (None, {}):
        return
    if not isinstance(schedule, dict) or set(schedule) != {"name", "warmup_fraction"}:
        raise UserError(
            f"optimizer.schedule must have the two keys name and warmup_fraction; {_LIKE_SCHEDULE}"
        )
    name, fraction = schedule["name"], schedule["warmup_fraction"]
    if name != "warmup_cosine":
        raise UserError(
            f"optimizer.schedule.name={format_value(name)} is unknown; use warmup_cosine"
        )
    if type(fraction) not in (int, float) or not 0 <= fraction < 1:  # also if NaN
        raise UserError(
            f"optimizer.schedule.warmup_fraction={format_value(fraction)} is not a share of the "
            "steps; give a number of at least 0 and below 1"
        )
    optimizer["schedule"] = schedule


def _numbers(value: Any) -> Iterator[int | float]:
    """The numbers in a value of nested lists and dicts."""
    if isinstance(value, int | float):
        yield value
    elif isinstance(value, list | dict):
        for item in value.values() if isinstance(value, dict) else value:
            yield from _numbers(item)


def normalized_name(name: str) -> str:
    """The name in Unicode's composed form: two spellings of `ä` look alike and are one name."""
    return unicodedata.normalize("NFC", name)


def name_problem(name: Any, max_bytes: int = NAME_BYTES) -> str | None:
    """Return why `name` cannot be part of a file name; None if it can. The one such rule."""
    if not isinstance(name, str):
        return f"is a {type(name).__name__}; quote the value to make it a name"
    if not name or name != name.strip():
        return "is empty or has spaces around it; use another name"
    if name[0] in ".~-" or any(character in "/\\" for character in name):
        return "must not contain / or \\, nor start with a dot, ~ or -; use another name"
    if any(unicodedata.category(character) in ("Cc", "Cs", "Zl", "Zp") for character in name):
        return "contains control characters or invalid Unicode; use another name"
    if len(name.encode()) > max_bytes:
        return f"is longer than {max_bytes} bytes; use a shorter name"
    return None


def expanded_path(key: str, path: str) -> str:
    """The path in `key` with `~` expanded. UserError if it cannot be one."""
    if not path:
        raise UserError(f"{key} is empty; give a folder, or . for the current one")
    expanded = os.path.expanduser(path)
    if expanded.startswith("~"):
        raise UserError(f"{key}={path} names an unknown user; write ./{path} for a folder here")
    return expanded
