"""Plan of a sweep: the runs that its figures need, each once."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import asdict

from omegaconf import DictConfig

from clr.config import DatasetConfig, TrainConfig, checked
from clr.data import DatasetInfo, count_classes
from clr.errors import UserError
from clr.runs.identity import run_id
from clr.runs.tables import FigureTask
from clr.sweeps.compose import Composer
from clr.sweeps.config import SweepConfig
from clr.sweeps.overrides import figure_overrides
from clr.sweeps.planned_run import PlannedRun
from clr.training.model_check import check_model
from clr.training.optimizers import check_optimizer

# `clr.data.prepare_once` or, for a dry run, `clr.data.find_prepared`: dataset, data_dir, loader.
FindData = Callable[[DatasetConfig, str, str], DatasetInfo | None]


def plan_sweep(sweep: SweepConfig, find_data: FindData) -> dict[str, PlannedRun]:
    """Return the runs of the wanted figures by their id.

    The content of the data is part of each id. If `find_data` returns None, the id is a
    placeholder, which is only unique among the planned runs. Call this inside `hydra.main`: the
    runs' configs are composed with its search path.
    """
    plan, composer = _Plan(find_data), Composer(sweep)
    known: dict[tuple[str, ...], PlannedRun] = {}  # figures share runs
    for figure in sweep.wanted_figures:
        for task, overrides in figure_overrides(figure, sweep):
            if (key := tuple(overrides)) not in known:
                known[key] = plan.add(composer.run(overrides))
            known[key].needs.add(FigureTask(figure, task))
    if not plan.runs:
        raise UserError("the sweep has no runs; check the protocol's seeds and learning_rates")
    for run in plan.runs.values():
        run.cfg.wandb.tags = [f"figure {figure}" for figure in sorted(run.figures)]
    return plan.runs


def plan_multirun(
    composed: list[DictConfig], find_data: FindData
) -> tuple[str, dict[str, PlannedRun]]:
    """Return the store's folder and the runs of Hydra's multirun of train.py by their id."""
    plan = _Plan(find_data)
    stores = set()
    for config in composed:
        cfg = checked(config)
        plan.add(cfg)
        stores.add(cfg.store)
    if len(stores) > 1:
        names = ",".join(sorted(stores))
        raise UserError(f"store={names}: a multirun has one store, not {len(stores)}; choose one")
    return stores.pop(), plan.runs


class _Plan:
    """Runs by their id; optimizers and data that several runs share are looked at once."""

    def __init__(self, find_data: FindData) -> None:
        self.runs: dict[str, PlannedRun] = {}
        self._find_data = find_data
        self._needs_curvature: dict[str, bool] = {}  # by optimizer
        self._data: dict[str, DatasetInfo | None] = {}

    def add(self, cfg: TrainConfig) -> PlannedRun:
        """Add a run, unless it is there; return it."""
        if (optimizer := repr(cfg.optimizer)) not in self._needs_curvature:
            self._needs_curvature[optimizer] = check_optimizer(cfg.optimizer)
        check_model(cfg, count_classes(cfg.dataset), self._needs_curvature[optimizer])
        dataset = asdict(cfg.dataset)
        if (key := repr((dataset, cfg.data_dir, cfg.loader))) not in self._data:
            self._data[key] = self._find_data(cfg.dataset, cfg.data_dir, cfg.loader)
        info = self._data[key]
        fingerprint = str(dataset) if info is None else info.fingerprint
        return self.runs.setdefault(run_id(cfg, fingerprint), PlannedRun(cfg, info))
