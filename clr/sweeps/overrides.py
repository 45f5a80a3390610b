"""Hydra overrides of the runs that each figure of a protocol needs."""

from __future__ import annotations

from collections.abc import Iterator
from functools import cache

import yaml

from clr.config import CONFIGS
from clr.errors import UserError
from clr.sweeps.config import NeedConfig, ProtocolConfig, SweepConfig, TaskConfig

EACH = "each"  # in place of a task's name: every task with a title


def figure_overrides(figure: str, sweep: SweepConfig) -> Iterator[tuple[str, list[str]]]:
    """Yield for each run of a figure its task and the overrides of configs/train.yaml.

    The runs of a line of the figure's needs come seed by seed: a sweep that stops early then has
    whole seeds. Lines whose task or batch sizes the protocol lacks are left out. Raises UserError
    if no line remains.
    """
    needs = available_needs(sweep)
    if not needs.get(figure):
        reason = "needs a task or batch_sizes missing from" if figure in needs else "is unknown to"
        available = ",".join(name for name, lines in needs.items() if lines)
        raise UserError(
            f"figure={figure} {reason} protocol {sweep.protocol.name}; use figure={available}"
        )
    for need in needs[figure]:
        for seed in sweep.protocol.seeds:
            for name in need_tasks(need, sweep.protocol):
                for overrides in _need_overrides(need, sweep.protocol.tasks[name], seed):
                    yield name, overrides


def available_needs(sweep: SweepConfig) -> dict[str, list[NeedConfig]]:
    """Return for each figure the lines of its needs that the protocol's tasks can provide."""
    return {
        figure: [need for need in needs if need_tasks(need, sweep.protocol)]
        for figure, needs in sweep.figures.items()
    }


def need_tasks(need: NeedConfig, protocol: ProtocolConfig) -> list[str]:
    """Return the protocol's tasks that a line of needs means, without those that lack its sizes."""
    tasks = protocol.tasks
    titled = [name for name, task in tasks.items() if task.title is not None]
    names = titled if need.task == EACH else [need.task]
    return [name for name in names if name in tasks and _batch_sizes(need, tasks[name])]


def _batch_sizes(need: NeedConfig, task: TaskConfig) -> list[int]:
    if need.batch_sizes == "headline":
        return [task.batch_size]
    if need.batch_sizes == "sweep":
        return task.batch_sizes or []
    raise UserError(
        f"batch_sizes: {need.batch_sizes} in the figures of configs/sweep.yaml is unknown; "
        "use headline or sweep"
    )


def _need_overrides(need: NeedConfig, task: TaskConfig, seed: int) -> Iterator[list[str]]:
    """Yield the runs of one line of needs in one task with one seed."""
    further = task.optimizers or [] if need.task == EACH else []
    for batch_size in _batch_sizes(need, task):
        for optimizer in dict.fromkeys([*need.optimizers, *further]):
            for choice in _optimizer_overrides(optimizer, task, batch_size):
                yield [
                    *task.overrides,
                    *_epochs(task, batch_size),
                    *_corridor_meter(task, batch_size, choice),
                    f"model={task.model or need.model}",
                    *choice,
                    f"batch_size={batch_size}",
                    f"seed={seed}",
                ]


def _epochs(task: TaskConfig, batch_size: int) -> list[str]:
    """Return the override of the budget at a batch size that has its own."""
    epochs = (task.epochs_at or {}).get(batch_size)
    return [] if epochs is None else [f"epochs={epochs}"]


def _corridor_meter(task: TaskConfig, batch_size: int, choice: list[str]) -> list[str]:
    """Measure the task's runs at the headline batch size, whichever figure they are trained for.

    `choice` is the optimizer of the run, as overrides.
    """
    if task.corridor_meter_every is None or batch_size != task.batch_size:
        return []
    rates = [override for override in choice if override.startswith("optimizer.lr=")]
    if task.corridor_meter_rates is not None and rates:
        measured = {f"optimizer.lr={rate}" for rate in task.corridor_meter_rates}
        if not measured.intersection(rates):
            return []
    return [f"diagnostics.every={task.corridor_meter_every}"]


def _optimizer_overrides(optimizer: str, task: TaskConfig, batch_size: int) -> list[list[str]]:
    """Return one list for each learning rate at a batch size, or a single one without the key lr."""
    keys = _optimizer_keys(optimizer)
    common = [f"optimizer={optimizer}"]
    if task.max_lr is not None and "max_lr" in keys:
        common.append(f"optimizer.max_lr={task.max_lr}")
    if "lr" not in keys:
        return [common]
    rates = (task.learning_rates_at or {}).get(batch_size, task.learning_rates)
    return [[*common, f"optimizer.lr={rate}"] for rate in rates]


@cache
def _optimizer_keys(optimizer: str) -> frozenset[str]:
    configs = {path.stem: path for path in (CONFIGS / "optimizer").glob("*.yaml")}
    if optimizer not in configs:
        names = ", ".join(sorted(configs))
        raise UserError(f"optimizer {optimizer} is unknown; configs/optimizer has {names}")
    return frozenset(yaml.safe_load(configs[optimizer].read_text()))
