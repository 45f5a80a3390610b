"""Methods of the arena in each setting: their grids, the tuned value and the default."""

from __future__ import annotations

import math
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import pandas as pd

from clr.analysis.baseline import best_value
from clr.analysis.names import display_name
from clr.analysis.tables import ARENA, Tables
from clr.analysis.verdicts.rules import Rules
from clr.errors import UserError
from clr.runs.record import decode_arguments

_SCOPE = ["dataset", "data_label", "model", "batch_size"]


@dataclass(frozen=True, eq=False)
class Entry:
    """A method at one value of its tuned argument, with one run for each seed."""

    value: float  # nan without tuning, and for null, such as no cap
    runs: pd.DataFrame  # rows of `Tables.runs`

    @property
    def diverged(self) -> int:
        """Number of diverged runs."""
        return int(self.runs["diverged"].sum())

    @property
    def losses(self) -> pd.Series:
        """Final training loss by seed; inf for a diverged run."""
        losses = self.runs["final_train_loss"].mask(self.runs["diverged"], math.inf)
        return losses.set_axis(self.runs["seed"]).astype(float)


@dataclass(frozen=True, eq=False)
class Contender:
    """A method in one setting."""

    optimizer: str
    key: str  # the tuned argument; empty without tuning
    grid: list[Entry]  # at the values of the grid that have runs, smallest first
    outside: list[Entry]  # at other values with the same seeds, which tuning cannot choose
    default: Entry | None  # at the default of its config, in the grid or outside
    tuned: Entry | None  # the best of the grid; None if every value has a diverged run
    interior: bool  # False if the tuned value is at an edge of the grid

    @property
    def best(self) -> Entry | None:
        """The tuned entry; without tuning, the default."""
        return self.tuned if self.key else self.default

    @property
    def shown(self) -> Entry | None:
        """The entry that is drawn: the best one, or a diverged one if there is no other."""
        return self.best or self.default or next(iter(self.grid), None)


@dataclass(frozen=True, eq=False)
class Setting:
    """A task of the protocol on one dataset, with one model, at one batch size."""

    dataset: str
    data: str  # display name
    model: str
    batch_size: int
    title: str  # of the task; empty without one
    contenders: dict[str, Contender]  # CLR and the baseline first, then by display name

    @property
    def columns(self) -> dict[str, Any]:
        """Columns that name the setting in a table."""
        return {
            "dataset": self.dataset,
            "data": self.data,
            "model": self.model,
            "batch_size": self.batch_size,
            "setting": self.title,
        }


def read_settings(tables: Tables, rules: Rules) -> list[Setting]:
    """Settings of the arena with the contenders in each.

    Args:
        tables: tables of the figure `arena`.
        rules: name the optimizer and the baseline that all are compared with.

    Raises:
        UserError: if the tables lack the grids or the arguments of the optimizers.
    """
    grids = tables.protocol.get("methods")
    if not isinstance(grids, dict) or "arguments" not in tables.runs:
        what = (
            "protocol.json lacks methods"
            if "arguments" in tables.runs
            else ("runs.csv has no column arguments")
        )
        raise UserError(f"{what}; write the tables again with sweep.py figure={ARENA}")
    settings = []
    for title in tables.settings:
        for key, runs in tables.runs_in(title).groupby(_SCOPE):
            dataset, data, model, batch_size = map(str, key)
            contenders = {
                str(optimizer): _contender(str(optimizer), own, grids)
                for optimizer, own in runs.groupby("optimizer")
            }
            order = sorted(contenders, key=lambda name: _order(name, rules))
            ordered = {name: contenders[name] for name in order}
            settings.append(Setting(dataset, data, model, int(batch_size), title, ordered))
    return sorted(settings, key=lambda own: (own.dataset, own.data, own.model, own.batch_size))


def _order(optimizer: str, rules: Rules) -> tuple[bool, bool, str]:
    return (
        optimizer != rules.optimizer,
        optimizer != rules.baseline,
        display_name(optimizer).lower(),
    )


def _contender(optimizer: str, runs: pd.DataFrame, grids: dict[str, Any]) -> Contender:
    if optimizer not in grids:
        raise UserError(f"protocol.json has no grid of {optimizer} under methods")
    grid = grids[optimizer]
    if not grid:
        return Contender(optimizer, "", [], [], Entry(math.nan, runs), None, True)
    runs = runs.assign(value=[_value(text, grid["key"]) for text in runs["arguments"]])
    in_grid = runs["value"].isin({_number(value) for value in grid["values"]})
    seeds = _complete_seeds(runs[in_grid] if in_grid.any() else runs)
    tried, others = (list(_entries(own, seeds)) for own in (runs[in_grid], runs[~in_grid]))
    outside = [own for own in others if len(own.runs) == len(seeds)]
    defaults = (own for own in tried + outside if _is_same(own.value, _number(grid["default"])))
    default = next(defaults, None)
    best = best_value(pd.concat([own.runs for own in tried]), "value") if tried else None
    tuned = None if best is None else next(own for own in tried if own.value == best.value)
    interior = best is None or best.interior
    return Contender(optimizer, grid["key"], tried, outside, default, tuned, interior)


def _complete_seeds(runs: pd.DataFrame) -> set[int]:
    """Seeds that all values have: of a sweep that ended early, the values stay comparable."""
    by_value = runs.groupby("value", dropna=False)["seed"]
    return set.intersection(*(set(seeds) for _, seeds in by_value))


def _entries(runs: pd.DataFrame, seeds: set[int]) -> Iterator[Entry]:
    for value, own in runs[runs["seed"].isin(seeds)].groupby("value", dropna=False):
        yield Entry(float(str(value)), own.sort_values("seed"))


def _value(arguments: str, key: str) -> float:
    try:
        return _number(decode_arguments(arguments)[key])
    except (ValueError, KeyError):
        raise UserError(
            f"runs.csv has arguments without the tuned {key}: {arguments!r}; "
            f"write the tables again with sweep.py figure={ARENA}"
        ) from None


def _number(value: Any) -> float:
    """A number; nan for another value, such as null."""
    is_number = isinstance(value, int | float) and not isinstance(value, bool)
    return float(value) if is_number else math.nan


def _is_same(one: float, other: float) -> bool:
    return one == other or (math.isnan(one) and math.isnan(other))
