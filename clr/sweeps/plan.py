"""From figures and a protocol to the runs they need, each once; then to the protocol's tables."""

from __future__ import annotations

import sys
from collections.abc import Iterator
from dataclasses import replace
from functools import cache
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pandas as pd
import yaml
from hydra import compose
from omegaconf import DictConfig, ListConfig, OmegaConf
from rich.console import Console

from clr.analysis.baseline import best_fixed_rate
from clr.config import CONFIGS, DiagnosticsConfig, checked
from clr.data import DatasetInfo, prepare
from clr.errors import UserError
from clr.runs.store import Store, run_id
from clr.runs.tables import export, import_runs, row
from clr.sweeps.dashboard import failure_report, plan_table, result_table
from clr.sweeps.job import Failure
from clr.sweeps.scheduler import Launch, Planned

if TYPE_CHECKING:
    from hydra_plugins.clr_launchers import Launcher


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
    needs = {
        str(name): [need for need in lines if _has(need, tasks)]
        for name, lines in sweep.figures.items()
    }
    if not needs.get(figure):
        problem = (
            "needs a task or batch_sizes that are not in" if figure in needs else "is unknown to"
        )
        can = ",".join(name for name, known in needs.items() if known)
        raise UserError(
            f"figure={figure} {problem} protocol {sweep.protocol.name}; it has figure={can}"
        )
    for need in needs[figure]:
        yield from _overrides(need, tasks[need.task], sweep.protocol.seeds)


def _has(need: DictConfig, tasks: DictConfig) -> bool:
    """Whether a protocol with these tasks has what a line of a figure's needs asks for."""
    return need.task in tasks and (
        need.batch_sizes == "headline" or "batch_sizes" in tasks[need.task]
    )


def _overrides(need: DictConfig, task: DictConfig, seeds: ListConfig) -> Iterator[list[str]]:
    """Hydra overrides of each run in one line of a figure's needs: seeds outermost, so that an early stop is fair."""
    every = [f"diagnostics.every={task.corridor_meter_every}"] if need.get("corridor_meter") else []
    batch_sizes = [task.batch_size] if need.batch_sizes == "headline" else task.batch_sizes
    for seed in seeds:
        for batch_size in batch_sizes:
            for optimizer in need.optimizers:
                fixed = [f"model={need.model}", f"optimizer={optimizer}"]
                if "max_lr" in task and "max_lr" in _keys(optimizer):
                    fixed.append(f"optimizer.max_lr={task.max_lr}")
                rates = (
                    [[f"optimizer.lr={rate}"] for rate in task.learning_rates]
                    if "lr" in _keys(optimizer)
                    else [[]]
                )
                for rate in rates:
                    yield [
                        *task.overrides,
                        *every,
                        *fixed,
                        *rate,
                        f"batch_size={batch_size}",
                        f"seed={seed}",
                    ]


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
            every = cfg.diagnostics.every
            later = "lr" in cfg.optimizer and any(
                o.startswith("diagnostics.every=") for o in overrides
            )
            if (
                later
            ):  # of the fixed rates, only the best is measured, and which it is is not known yet
                cfg.diagnostics.every = None
            run = planned.setdefault(name, Planned(cfg, prepared[key]))
            run.figures.add(figure)
            if later:
                run.if_best = every
            elif every is not None:
                run.cfg = cfg  # what one figure needs measured is made once, for the others as well
    for run in planned.values():
        run.cfg.wandb.tags = [f"figure {figure}" for figure in sorted(run.figures)]
    return planned


def with_meter(planned: dict[str, Planned], store: Store) -> dict[str, Planned]:
    """The same runs, with the meter those of the best fixed rate where it is to be measured, once it is known."""
    made = {
        name: done for name, run in planned.items() if (done := store.finished(name)) is not None
    }
    candidates = {name: run for name, run in planned.items() if run.if_best is not None}
    best: set[str] = set()
    if candidates and candidates.keys() <= made.keys():
        runs = pd.DataFrame([row(made[name]) for name in candidates])
        for _, sweep in runs.groupby(["dataset", "model", "batch_size", "optimizer"]):
            if (found := best_fixed_rate(sweep)) is not None:
                best |= set(sweep.loc[sweep["learning_rate"] == found.learning_rate, "run_id"])
    return {
        name: replace(run, cfg=replace(run.cfg, diagnostics=DiagnosticsConfig(run.if_best)))
        if name in best
        else run
        for name, run in planned.items()
    }


def run_sweep(sweep: DictConfig, launcher: Launcher) -> int:
    """Make the runs that the store lacks, write the tables, print them; the number of runs that failed."""
    store = Store(sweep.store)
    folder = Path(sweep.results) / sweep.protocol.name
    console = _console()
    if sweep.import_results:
        console.print(f"{import_runs(folder, store)} runs imported from {folder}")
    planned = plan(sweep)
    if sweep.dry_run:
        table, told = plan_table(with_meter(planned, store), store)
        console.print(table)
        console.print(told, highlight=False)
        return 0
    try:
        failures = _make(planned, store, launcher, console)
        again = {
            name: run for name, run in with_meter(planned, store).items() if name not in failures
        }
        again = {name: run for name, run in again.items() if store.completed(name, run.cfg) is None}
        if again:
            console.print("The best fixed rate is made again, with the meter:")
            failures |= _make(again, store, launcher, console)
    finally:
        protocol: dict[str, Any] = OmegaConf.to_container(sweep.protocol, resolve=True)  # type: ignore[assignment]
        export(store, {name: run.figures for name, run in planned.items()}, protocol, folder)
    console.print(f"tables in {folder}")
    return len(failures)


def run_multirun(composed: list[DictConfig], launcher: Launcher) -> int:
    """Make the runs of Hydra's multirun of train.py, whose configs are `composed`; the number of runs that failed."""
    planned: dict[str, Planned] = {}
    stores = set()
    for config in composed:
        cfg = checked(config)
        info = prepare(cfg.dataset, cfg.data_dir, cfg.loader)
        planned.setdefault(run_id(cfg, info.fingerprint), Planned(cfg, info))
        stores.add(cfg.store)
    if len(stores) > 1:
        raise UserError(
            f"one multirun has one store, not {len(stores)}: store={','.join(sorted(stores))}"
        )
    return len(_make(planned, Store(stores.pop()), launcher, _console()))


def _make(
    planned: dict[str, Planned], store: Store, launcher: Launcher, console: Console
) -> dict[str, Failure]:
    """Make the runs by the launcher's processes; the failures, which are told."""
    before = sum(store.completed(name, run.cfg) is not None for name, run in planned.items())
    console.print(f"{len(planned)} runs, {before} finished before", highlight=False)
    failures: dict[str, Failure] = {}
    if before < len(planned):
        backend = launcher.backend(str(store.root))
        failures = Launch(planned, store, backend, launcher.retries, console).run()
    console.print(result_table(planned, store, failures))
    for line in failure_report(planned, store, failures):
        console.print(line, markup=False, highlight=False, soft_wrap=True)
    console.print(f"failed runs: {len(failures)}", highlight=False)
    return failures


def _console() -> Console:
    return Console(width=None if sys.stdout.isatty() else 130)
