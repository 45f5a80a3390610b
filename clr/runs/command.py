"""The shell command that repeats a run, from the config that it was trained with."""

from __future__ import annotations

import json
import re
import shlex
from collections.abc import Iterator
from dataclasses import asdict
from functools import cache
from typing import Any

from clr.config import CONFIGS, TrainConfig, from_dict, load
from clr.overrides import format_value

# Settings of the machine, which the command leaves to the reader.
LOCAL_KEYS = (
    "mirror",
    "wandb",
    "device",
    "device_batch_size",
    "compile",
    "loader",
    "workers",
    "data_dir",
    "store",
    "checkpoint",
    "progress",
    "dataset.path",
    "dataset.title",
)
# Keys that a reader looks for; they are written even at their defaults.
ALWAYS = ("optimizer.lr", "batch_size", "epochs", "precision", "seed")
_FOLDER = "dataset.path=FOLDER"
_SHARED_SEED = 0


def command(config: dict[str, Any], local: bool = False) -> str:
    """Write the shell command that repeats the run of `config`, the `config` of a run.json.

    Args:
        config: the config of the run, as `asdict` gives it.
        local: include the paths and the execution settings of this machine. Otherwise they are
            left out, and `dataset.path` of an image folder is the word FOLDER.
    """
    return shlex.join([".venv/bin/python", "train.py", *overrides(config, local)])


def overrides(config: dict[str, Any], local: bool = False) -> list[str]:
    """The Hydra overrides of `command`: config groups, then what differs from them."""
    # Runs that differ in their seeds share the rest, which takes ten milliseconds.
    shared = json.dumps({**config, "seed": _SHARED_SEED})
    seed = f"seed={format_value(config['seed'])}"
    return [
        seed if override == f"seed={_SHARED_SEED}" else override
        for override in _overrides(shared, local)
    ]


@cache
def _overrides(config: str, local: bool) -> list[str]:
    """The overrides of a config that is given as JSON."""
    cfg = from_dict(json.loads(config))
    groups = _groups(cfg)
    from_folder = cfg.dataset.source == "folder"
    base = _flat(asdict(_base((*groups, *([_FOLDER] if from_folder else [])))))
    keys = _flat(asdict(cfg))
    changed = [
        _override(key, value, is_new=key not in base)
        for key, value in keys.items()
        if (local or not _is_local(key))
        and (key in ALWAYS or key not in base or base[key] != value)
    ]
    removed = [
        override
        for key, value in base.items()
        if key.startswith(("model.", "optimizer.")) and key not in keys
        for override in _removal(key, value)
    ]
    placeholder = [_FOLDER] if from_folder and not local else []
    # The keys of each group follow the group, as one would type them.
    order = list(asdict(cfg))
    return sorted(
        [*groups, *placeholder, *removed, *changed],
        key=lambda override: order.index(re.split(r"[.=]", override.strip("+~"))[0]),
    )


def _groups(cfg: TrainConfig) -> list[str]:
    """The config groups of the run.

    An optimizer without a config of its own starts from SGD's, a model from ResNet-18's.
    """
    dataset, model, optimizer = cfg.dataset.name, cfg.model["name"], cfg.optimizer["name"]
    choices = {
        "dataset": dataset if _has_config("dataset", dataset) else cfg.dataset.source,
        "model": model if _has_config("model", model) else "resnet18",
        "optimizer": optimizer if _has_config("optimizer", optimizer) else "sgd",
    }
    return [f"{group}={format_value(choice)}" for group, choice in choices.items()]


def _has_config(group: str, name: str) -> bool:
    return (CONFIGS / group / f"{name}.yaml").is_file()


@cache
def _base(groups: tuple[str, ...]) -> TrainConfig:
    """The config that the groups give; the command always sets `batch_size` and `epochs`."""
    return load([*groups, "batch_size=2", "epochs=2"])


def _is_local(key: str) -> bool:
    return any(key == name or key.startswith(f"{name}.") for name in LOCAL_KEYS)


def _flat(config: dict[str, Any]) -> dict[str, Any]:
    """The leaves of a nested config, by dotted key."""
    return dict(_leaves(config, ""))


def _leaves(config: dict[str, Any], prefix: str) -> Iterator[tuple[str, Any]]:
    for key, value in config.items():
        if isinstance(value, dict) and value:
            yield from _leaves(value, f"{prefix}{key}.")
        else:
            yield f"{prefix}{key}", value


def _override(key: str, value: Any, is_new: bool) -> str:
    """The override that sets `key`; Hydra wants a + before a key that the config does not have."""
    return f"{'+' if is_new else ''}{key}={format_value(value)}"


def _removal(key: str, value: Any) -> list[str]:
    """The overrides that remove `key`; Hydra does not find a key whose value is null."""
    return [f"~{key}"] if value is not None else [f"{key}=0", f"~{key}"]
