"""Configs of a sweep's runs: composed by Hydra once for all runs that differ in numbers only."""

from __future__ import annotations

import re
from collections.abc import Sequence
from copy import deepcopy
from dataclasses import asdict

from hydra import compose
from omegaconf import DictConfig, OmegaConf

from clr.config import TrainConfig, check, resolved
from clr.errors import UserError
from clr.sweeps.config import SweepConfig

# Keys of a run that a sweep sets, and what to set instead.
_SWEEP_KEYS = {
    "store": "it is the sweep's own store; use store=FOLDER",
    "seed": "the sweep varies it; use protocol.seeds=[0,1,2]",
    "batch_size": "the sweep varies it; use protocol.tasks.TASK.batch_size=N",
    "optimizer.lr": "the sweep varies it; use protocol.tasks.TASK.learning_rates=[0.1]",
}
# Numbers that differ between runs of one task. They are set in a resolved config, which takes a
# thousandth of the time of composing it.
_NUMBERS = {
    "batch_size": int,
    "diagnostics.every": int,
    "epochs": int,
    "optimizer.lr": float,
    "seed": int,
}
_NUMBER = re.compile(rf"({'|'.join(map(re.escape, _NUMBERS))})=(\d+(?:\.\d+)?(?:e-?\d+)?)")


class Composer:
    """Composes the runs of one sweep; runs that differ in numbers only share one composition."""

    def __init__(self, sweep: SweepConfig) -> None:
        _check_train_overrides(sweep.train)
        self._sweep = sweep
        self._templates: dict[tuple[str, ...], _Template] = {}

    def run(self, overrides: list[str]) -> TrainConfig:
        """The config of a run, from overrides of configs/train.yaml, followed by the sweep's own.

        Raises:
            UserError: if a value is missing or not accepted.
        """
        fixed, numbers = _separate([*overrides, *self._sweep.train])
        # Runs that set the same numbers share a template.
        shared = (*fixed, *sorted(numbers))
        if shared not in self._templates:
            self._templates[shared] = _Template(_compose(fixed, self._sweep))
        return self._templates[shared].run(numbers)


class _Template:
    """A composed config; each run sets the same of its numbers to its own."""

    def __init__(self, composed: DictConfig) -> None:
        self._composed = composed
        self._resolved: TrainConfig | None = None
        self._is_literal = "${" not in OmegaConf.to_yaml(composed)

    def run(self, numbers: dict[str, int | float]) -> TrainConfig:
        """The checked config with these numbers, by their dotted keys."""
        # Values that are computed from the numbers are resolved for each run.
        if self._resolved is None or not self._is_literal:
            for key, value in numbers.items():
                OmegaConf.update(self._composed, key, value)
            self._resolved = resolved(self._composed)
        cfg = deepcopy(self._resolved)
        for key, value in numbers.items():
            _set_number(cfg, key, value)
        return check(cfg)


def _set_number(cfg: TrainConfig, key: str, value: int | float) -> None:
    group, _, name = key.rpartition(".")
    owner = getattr(cfg, group) if group else cfg
    if isinstance(owner, dict):
        owner[name] = value
    else:
        setattr(owner, name, value)


def _separate(overrides: Sequence[str]) -> tuple[tuple[str, ...], dict[str, int | float]]:
    """Separate plain numbers of `_NUMBERS` from the other overrides; the last one of a key counts.

    A key that also has another kind of override, such as `epochs=null`, is left to Hydra.
    """
    found = {override: _NUMBER.fullmatch(override) for override in overrides}
    others = {_key(override) for override, number in found.items() if number is None}
    numbers: dict[str, int | float] = {}
    fixed = []
    for override in overrides:
        number = found[override]
        if number is None or number[1] in others or not _is_exact(number):
            fixed.append(override)
        else:
            numbers[number[1]] = _NUMBERS[number[1]](number[2])
    return tuple(fixed), numbers


def _is_exact(number: re.Match[str]) -> bool:
    """Return whether Hydra would read the number as the type of its key, integer or float."""
    is_integer = number[2].isdigit()
    return is_integer == (_NUMBERS[number[1]] is int)


def _key(override: str) -> str:
    return override.lstrip("+~").partition("=")[0]


def _check_train_overrides(overrides: list[str]) -> None:
    """Refuse overrides of what the sweep sets or varies: all runs would get one value."""
    for override in overrides:
        if (key := _key(override)) in _SWEEP_KEYS:
            raise UserError(f"train.{key} cannot be set: {_SWEEP_KEYS[key]}")


def _compose(overrides: Sequence[str], sweep: SweepConfig) -> DictConfig:
    composed = compose("train", overrides=list(overrides))
    # Assigned, because a folder's name as an override would have to be quoted.
    OmegaConf.update(composed, "store", sweep.store)
    if composed.wandb.group is None:
        OmegaConf.update(composed, "wandb.group", sweep.protocol.name)
    # A train.dataset.path would be the path of every dataset of the protocol.
    originals = asdict(sweep.paths).get(composed.dataset.source)
    if originals is not None:
        OmegaConf.update(composed, "dataset.path", originals)
    return composed
