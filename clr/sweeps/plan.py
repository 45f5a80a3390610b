"""Plan of a sweep: the runs that its figures need, each once."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import asdict

from hydra import compose
from omegaconf import DictConfig, OmegaConf

from clr.config import DatasetConfig, TrainConfig, checked
from clr.data import DatasetInfo, count_classes
from clr.errors import UserError
from clr.runs.identity import run_id
from clr.runs.tables import FigureTask
from clr.sweeps.config import SweepConfig
from clr.sweeps.overrides import figure_overrides
from clr.sweeps.planned_run import PlannedRun
from clr.training.model_check import check_model
from clr.training.optimizers import check_optimizer

# `clr.data.prepare_once` or, for a dry run, `clr.data.find_prepared`: dataset, data_dir, loader.
FindData = Callable[[DatasetConfig, str, str], DatasetInfo | None]

# Keys of a run that a sweep sets, and what to set instead.
_SWEEP_KEYS = {
    "store": "it is the sweep's own store; use store=FOLDER",
    "seed": "the sweep varies it; use protocol.seeds=[0,1,2]",
    "batch_size": "the sweep varies it; use protocol.tasks.TASK.batch_size=N",
    "optimizer.lr": "the sweep varies it; use protocol.tasks.TASK.learning_rates=[0.1]",
}


def plan_sweep(sweep: SweepConfig, find_data: FindData) -> dict[str, PlannedRun]:
    """Return the runs of the wanted figures by their id.

    The content of the data is part of each id. If `find_data` returns None, the id is a
    placeholder, which is only unique among the planned runs. Call this inside `hydra.main`: the
    runs' configs are composed with its search path.
    """
    planned: dict[str, PlannedRun] = {}
    for figure in sweep.wanted_figures:
        for task, overrides in figure_overrides(figure, sweep):
            cfg = _compose_run(overrides, sweep)
            _add(planned, cfg, find_data).needs.add(FigureTask(figure, task))
    if not planned:
        raise UserError("the sweep has no runs; check the protocol's seeds and learning_rates")
    for run in planned.values():
        run.cfg.wandb.tags = [f"figure {figure}" for figure in sorted(run.figures)]
    return planned


def plan_multirun(
    composed: list[DictConfig], find_data: FindData
) -> tuple[str, dict[str, PlannedRun]]:
    """Return the store's folder and the runs of Hydra's multirun of train.py by their id."""
    planned: dict[str, PlannedRun] = {}
    stores = set()
    for config in composed:
        cfg = checked(config)
        _add(planned, cfg, find_data)
        stores.add(cfg.store)
    if len(stores) > 1:
        names = ",".join(sorted(stores))
        raise UserError(f"store={names}: a multirun has one store, not {len(stores)}; choose one")
    return stores.pop(), planned


def _add(planned: dict[str, PlannedRun], cfg: TrainConfig, find_data: FindData) -> PlannedRun:
    check_optimizer(cfg.optimizer)
    check_model(cfg, count_classes(cfg.dataset))
    info = find_data(cfg.dataset, cfg.data_dir, cfg.loader)
    fingerprint = str(asdict(cfg.dataset)) if info is None else info.fingerprint
    return planned.setdefault(run_id(cfg, fingerprint), PlannedRun(cfg, info))


def _check_train_overrides(overrides: list[str]) -> None:
    """Refuse overrides of what the sweep sets or varies: all runs would get one value."""
    for override in overrides:
        key = override.lstrip("+~").partition("=")[0]
        if key in _SWEEP_KEYS:
            raise UserError(f"train.{key} cannot be set: {_SWEEP_KEYS[key]}")


def _compose_run(overrides: list[str], sweep: SweepConfig) -> TrainConfig:
    _check_train_overrides(sweep.train)
    composed = compose("train", overrides=[*overrides, *sweep.train])
    # Assigned, because a folder's name as an override would have to be quoted.
    OmegaConf.update(composed, "store", sweep.store)
    if composed.wandb.group is None:
        OmegaConf.update(composed, "wandb.group", sweep.protocol.name)
    # A train.dataset.path would be the path of every dataset of the protocol.
    originals = asdict(sweep.paths).get(composed.dataset.source)
    if originals is not None:
        OmegaConf.update(composed, "dataset.path", originals)
    return checked(composed)
