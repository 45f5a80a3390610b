"""From figures and a protocol to the runs they need, each once; then to the protocol's tables."""

from __future__ import annotations

import sys
import traceback
from collections.abc import Iterator
from dataclasses import dataclass, field
from functools import cache
from pathlib import Path
from typing import Any

import yaml
from hydra import compose
from omegaconf import DictConfig, ListConfig, OmegaConf
from rich.console import Console
from rich.table import Table

from clr.config import CONFIGS, TrainConfig, checked
from clr.data import DatasetInfo, prepare
from clr.errors import UserError
from clr.results import export, import_runs
from clr.signals import Stopped
from clr.store import Store, run_id
from clr.trainer import train


@dataclass
class Planned:
    """A run that one or more figures need."""

    cfg: TrainConfig
    info: DatasetInfo
    figures: set[str] = field(default_factory=set)


@cache
def _keys(optimizer: str) -> frozenset[str]:
    """The keys of the optimizer's config: with lr, it runs at each of a task's rates; with max_lr, it takes its cap."""
    path = CONFIGS / "optimizer" / f"{optimizer}.yaml"
    if not path.is_file():
        names = ", ".join(sorted(p.stem for p in path.parent.glob("*.yaml")))
        raise UserError(f"there is no optimizer {optimizer}: configs/optimizer has {names}")
    return frozenset(yaml.safe_load(path.read_text()))


def overrides_of(figure: str, sweep: DictConfig) -> Iterator[list[str]]:
    """Hydra overrides of each run of a figure: of those lines of its needs whose task the protocol has."""
    tasks = sweep.protocol.tasks
    needs = {str(name): [need for need in lines if need.task in tasks] for name, lines in sweep.figures.items()}
    if not needs.get(figure):
        problem = "needs a task that is not in" if figure in needs else "is unknown to"
        can = ",".join(name for name, known in needs.items() if known)
        raise UserError(f"figure={figure} {problem} protocol {sweep.protocol.name}; it has figure={can}")
    for need in needs[figure]:
        yield from _overrides(need, tasks[need.task], sweep.protocol.seeds)


def _overrides(need: DictConfig, task: DictConfig, seeds: ListConfig) -> Iterator[list[str]]:
    """Hydra overrides of each run in one line of a figure's needs: seeds outermost, so that an early stop is fair."""
    every = [f"diagnostics.every={task.meter_every}"] if need.get("meter") else []
    batch_sizes = [task.batch_size] if need.batch_sizes == "headline" else task.batch_sizes
    for seed in seeds:
        for batch_size in batch_sizes:
            for optimizer in need.optimizers:
                fixed = [f"model={need.model}", f"optimizer={optimizer}"]
                if "max_lr" in task and "max_lr" in _keys(optimizer):
                    fixed.append(f"optimizer.max_lr={task.max_lr}")
                rates = [[f"optimizer.lr={rate}"] for rate in task.learning_rates] if "lr" in _keys(optimizer) else [[]]
                for rate in rates:
                    yield [*task.overrides, *every, *fixed, *rate, f"batch_size={batch_size}", f"seed={seed}"]


def plan(sweep: DictConfig) -> dict[str, Planned]:
    """The runs of the asked figures by their id. Prepares the data, whose content is part of each id.

    To be called under sweep.py's `hydra.main`, whose search path the runs' configs are composed with.
    """
    prepared: dict[str, DatasetInfo] = {}
    planned: dict[str, Planned] = {}
    for figure in map(str, sweep.figure):
        for overrides in overrides_of(figure, sweep):
            common = [f"wandb.group={sweep.protocol.name}", *sweep.train, f"store={sweep.store}"]
            cfg = checked(compose("train", overrides=[*overrides, *common]))
            # Not a train.dataset.path, which all data sets of a protocol would get.
            cfg.dataset.path = sweep.paths.get(cfg.dataset.source) or cfg.dataset.path
            key = str((cfg.dataset, cfg.data_dir, cfg.loader))
            if key not in prepared:
                prepared[key] = prepare(cfg.dataset, cfg.data_dir, cfg.loader)
            name = run_id(cfg, prepared[key].fingerprint)
            run = planned.setdefault(name, Planned(cfg, prepared[key]))
            run.figures.add(figure)
            if cfg.diagnostics.every is not None:
                run.cfg = cfg  # what one figure needs measured is made once, for the others as well
    return planned


def run_sweep(sweep: DictConfig) -> int:
    """Make the runs that the store lacks, write the tables, print them; the number of runs that failed."""
    console = Console(width=None if sys.stdout.isatty() else 130)
    store = Store(sweep.store)
    folder = Path(sweep.results) / sweep.protocol.name
    if sweep.import_results:
        console.print(f"{import_runs(folder, store)} runs imported from {folder}")
    planned = plan(sweep)
    missing = [name for name, run in planned.items() if store.finished(name, run.cfg.diagnostics.every) is None]
    console.print(f"protocol {sweep.protocol.name}: {len(planned)} runs, {len(planned) - len(missing)} finished before")

    failed: dict[str, str] = {}
    for i, name in enumerate(missing, start=1):
        try:
            run = train(planned[name].cfg, planned[name].info)
        except Stopped:
            raise
        except Exception as error:  # one run's failure must not stop the others; it is told now and at the end
            failed[name] = str(error).splitlines()[0] if str(error) else type(error).__name__
            if not isinstance(error, UserError):
                traceback.print_exc()
            console.print(f"[{i}/{len(missing)}] {name}: failed: {failed[name]}", markup=False)
            continue
        s = run["summary"]
        console.print(
            f"[{i}/{len(missing)}] {name}: {run['status']}, loss {s['final_train_loss']:.4g}, "
            f"accuracy {s['final_test_accuracy']:.1%}, {s['seconds']:.0f} s",
            markup=False, highlight=False, soft_wrap=True,
        )  # fmt: skip
    protocol: dict[str, Any] = OmegaConf.to_container(sweep.protocol, resolve=True)  # type: ignore[assignment]
    export(store, {name: run.figures for name, run in planned.items()}, protocol, folder)
    console.print(_table(planned, store, failed))
    console.print(f"tables in {folder}; failed runs: {len(failed)}")
    return len(failed)


def _table(planned: dict[str, Planned], store: Store, failed: dict[str, str]) -> Table:
    table = Table("run", "figures", "status", "steps", "training loss", "test accuracy", "seconds")
    for name, run in planned.items():
        row = [name, ",".join(sorted(run.figures))]
        if (done := store.finished(name, run.cfg.diagnostics.every)) is not None:
            s = done["summary"]
            row += [done["status"], str(s["steps"]), f"{s['final_train_loss']:.4g}"]
            row += [f"{s['final_test_accuracy']:.1%}", f"{s['seconds']:.0f}"]
        else:
            row += [f"failed: {failed.get(name, '')}"]
        table.add_row(*row)
    return table
