"""Hydra overrides of the runs that each figure of a protocol needs."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

from clr.configured_optimizers import read_method, titled_methods
from clr.errors import UserError
from clr.sweeps.config import NeedConfig, ProtocolConfig, SweepConfig, TaskConfig

EACH = "each"  # in place of a task's or an optimizer's name: every one with a title


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


def own_grids(sweep: SweepConfig) -> dict[str, dict[str, Any]]:
    """Return the optimizers that run over grids of their own: key, values and default of each.

    Empty for an optimizer without tuning. Those of the protocol's figures and of the wanted ones.
    """
    figures = dict.fromkeys([*map(str, sweep.protocol.figures), *sweep.wanted_figures])
    needs = available_needs(sweep)
    names = [
        name
        for figure in figures
        for need in needs.get(figure, [])
        if _has_own_grids(need)
        for name in _optimizers(need)
    ]
    grids: dict[str, dict[str, Any]] = {}
    for name in names:
        method = read_method(name)
        grids[name] = {}
        if method.tuning is not None:
            values = list(method.tuning.values)
            grids[name] = {"key": method.tuning.key, "values": values, "default": method.default}
    return grids


def _optimizers(need: NeedConfig) -> list[str]:
    return [
        name for own in need.optimizers for name in (titled_methods() if own == EACH else [own])
    ]


def _has_own_grids(need: NeedConfig) -> bool:
    if need.grid not in ("task", "own"):
        raise UserError(
            f"grid: {need.grid} in the figures of configs/sweep.yaml is unknown; use task or own"
        )
    return need.grid == "own"


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
    grid = _own_grid if _has_own_grids(need) else _task_grid
    for batch_size in _batch_sizes(need, task):
        for optimizer in dict.fromkeys([*_optimizers(need), *further]):
            for choice in grid(optimizer, task, batch_size):
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


def _task_grid(optimizer: str, task: TaskConfig, batch_size: int) -> list[list[str]]:
    """Return one list for each learning rate, or a single one if the optimizer has no key lr."""
    common = _with_cap(optimizer, task)
    if "lr" not in read_method(optimizer).arguments:
        return [common]
    rates = (task.learning_rates_at or {}).get(batch_size, task.learning_rates)
    return [[*common, f"optimizer.lr={rate}"] for rate in rates]


def _own_grid(optimizer: str, task: TaskConfig, batch_size: int) -> list[list[str]]:
    """Return one list for each value of the optimizer's `tuning`, and one for its default.

    A default among the values is not repeated. The values beyond the grid run at the batch sizes
    that the task names.
    """
    method = read_method(optimizer)
    common = _with_cap(optimizer, task)
    if method.tuning is None:
        return [common]
    key, values = method.tuning.key, method.tuning.values
    if batch_size in (task.beyond_at or []):
        values += method.tuning.beyond
    grid = [[*common, f"optimizer.{key}={value}"] for value in values]
    return grid if method.default in values else [*grid, common]


def _with_cap(optimizer: str, task: TaskConfig) -> list[str]:
    """Return the overrides that choose an optimizer, with the task's cap if it is uncapped.

    An optimizer is uncapped if its config has `max_lr: null` and does not tune it.
    """
    common = [f"optimizer={optimizer}"]
    method = read_method(optimizer)
    is_tuned = method.tuning is not None and method.tuning.key == "max_lr"
    if task.max_lr is not None and method.arguments.get("max_lr", 0) is None and not is_tuned:
        common.append(f"optimizer.max_lr={task.max_lr}")
    return common
