"""Identity of a run, which determines its results, and the run id that is computed from it."""

from __future__ import annotations

import hashlib
import importlib
import inspect
import json
import math
import re
from functools import cache
from typing import Any

from clr.config import TrainConfig

# Arguments that the first published ids contain although they are the optimizer's defaults.
_PUBLISHED_ARGUMENTS: dict[str, dict[str, Any]] = {"clr.CLR": {"f_star": 0.0, "max_lr": None}}
# Models whose `_target_` the first published ids do not contain, with their names, and arguments
# that they do not contain at these values.
_PUBLISHED_MODELS = {
    "clr.training.models.resnet18": "resnet18",
    "clr.training.models.resnet50": "resnet50",
}
_PUBLISHED_MODEL_DEFAULTS = {"norm": "batch", "init": "torchvision"}
# Numbers are hashed as floats; the first published ids have this one as an integer.
_PUBLISHED_AS_INTEGER = ("max_lr",)
# Characters that W&B does not accept in the id of a run.
_NOT_IN_WANDB_ID = re.compile(r"[:;,#?/'\\%]")


def identity(cfg: TrainConfig, fingerprint: str) -> dict[str, Any]:
    """Identity of a run, which determines its results: data, model, optimizer, budget and seed.

    Configs that mean the same numbers have the same identity: 1 and 1.0, an argument of the
    optimizer or the model at its default and the same argument left out, two paths to one class.
    Keys that are younger than the first published results are left out at their defaults, so that
    published ids stay. The code behind a `_target_` is not part of the identity.
    """
    padding = cfg.dataset.crop_padding if cfg.dataset.crop == "padded" else 0
    return {
        "data": fingerprint,
        "augmentation": [padding, cfg.dataset.flip],
        "model": _canonical_model(cfg.model),
        "optimizer": _canonical_optimizer(cfg.optimizer),
        "batch_size": cfg.batch_size,
        "epochs": cfg.epochs,
        "seed": cfg.seed,
        "precision": cfg.precision,
    }


def run_id(cfg: TrainConfig, fingerprint: str) -> str:
    """The id of a run, which names its folder: a readable part and a hash of the identity.

    `fingerprint` is the hash of the prepared data. Processors, threads and other execution
    settings are not part of the identity (`clr.config.TrainConfig`).
    """
    content = identity(cfg, fingerprint)
    digest = hashlib.sha256(json.dumps(content, sort_keys=True).encode()).hexdigest()[:10]
    optimizer = content["optimizer"]
    rate = f"{optimizer['lr']:g}" if "lr" in optimizer else ""
    return (
        f"{cfg.dataset.name}-{cfg.model['name']}-b{cfg.batch_size}-{optimizer['name']}{rate}"
        f"-s{cfg.seed}-{digest}"
    )


def wandb_id(name: str) -> str:
    """The W&B id for a run id: its end, which has the hash, in characters that W&B accepts."""
    return _NOT_IN_WANDB_ID.sub("-", name[-40:]).strip()


def _canonical_model(config: dict[str, Any]) -> dict[str, Any]:
    """The model's config without arguments at their defaults, in one spelling of numbers."""
    if _PUBLISHED_MODELS.get(config["_target_"]) == config["name"]:
        published = {"stem": "imagenet", **config}
        del published["_target_"]
        for key, default in _PUBLISHED_MODEL_DEFAULTS.items():
            if published.get(key) == default:
                del published[key]
        return published
    target, defaults = _target(config["_target_"])
    arguments = {
        key: _canonical(value, key)
        for key, value in _respelled(config, target, defaults).items()
        if not _is_default(key, value, defaults)
    }
    return {"name": config["name"], "_target_": target, **arguments}


def _canonical_optimizer(config: dict[str, Any]) -> dict[str, Any]:
    """The optimizer's config without arguments at their defaults, in one spelling of numbers."""
    target, defaults = _target(config["_target_"])
    arguments = {
        key: _canonical(value, key)
        for key, value in _respelled(config, target, defaults).items()
        if key == "lr" or not _is_default(key, value, defaults)
    }
    if "lr" not in arguments and _is_number(defaults.get("lr")):
        arguments["lr"] = _canonical(defaults["lr"], "lr")
    named = {"name": config["name"], "_target_": target}
    return {**named, **_PUBLISHED_ARGUMENTS.get(target, {}), **arguments}


def _respelled(config: dict[str, Any], target: str, defaults: dict[str, Any]) -> dict[str, Any]:
    """The arguments in a config; those that mean the same are spelled as the defaults are."""
    arguments = {key: config[key] for key in config if key not in ("name", "_target_")}
    for key, value in arguments.items():
        # The optimizers of this package take both for no cap.
        if key == "max_lr" and value == math.inf and target.startswith("clr."):
            arguments[key] = None
        elif isinstance(defaults.get(key), bool) and value in (0, 1):
            arguments[key] = bool(value)
    return arguments


def _is_default(key: str, value: Any, defaults: dict[str, Any]) -> bool:
    return key in defaults and _canonical(value, key) == _canonical(defaults[key], key)


def _canonical(value: Any, key: str) -> Any:
    """The value with its numbers in one type, and tuples as lists."""
    if isinstance(value, dict):
        return {name: _canonical(item, name) for name, item in value.items()}
    if isinstance(value, list | tuple):
        return [_canonical(item, key) for item in value]
    if not _is_number(value) or not math.isfinite(value):
        return value
    if key in _PUBLISHED_AS_INTEGER and value == int(value):
        return int(value)
    if isinstance(value, int) and abs(value) > 2**53:
        return value  # not every integer of this size has a float
    return float(value) + 0.0  # -0.0 becomes 0.0


def _is_number(value: Any) -> bool:
    return isinstance(value, int | float) and not isinstance(value, bool)


@cache
def _target(path: str) -> tuple[str, dict[str, Any]]:
    """The shortest import path of an optimizer class, and the defaults of its arguments.

    A class that cannot be imported or inspected here keeps the path that was given and no defaults.
    """
    try:
        module, _, name = path.rpartition(".")
        target = getattr(importlib.import_module(module), name)
        parameters = inspect.signature(target).parameters.values()
    except Exception:  # whatever the import of a user's module raises
        return path, {}
    defaults = {p.name: p.default for p in parameters if p.default is not p.empty}
    return _shortest_path(target, path), defaults


def _shortest_path(target: Any, path: str) -> str:
    module = getattr(target, "__module__", None)
    name = getattr(target, "__qualname__", "")
    if not isinstance(module, str) or "." in name:
        return path
    packages = module.split(".")
    for length in range(1, len(packages) + 1):
        package = ".".join(packages[:length])
        if getattr(importlib.import_module(package), name, None) is target:
            return f"{package}.{name}"
    return path
