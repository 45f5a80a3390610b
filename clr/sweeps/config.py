"""Schema of configs/sweep.yaml and of the protocols: every key, its type and its meaning."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any

from omegaconf import MISSING, DictConfig, OmegaConf
from omegaconf.errors import OmegaConfBaseException

from clr.config_checks import expanded_path, name_problem
from clr.errors import UserError, first_line
from clr.overrides import explain_type_error

# Numbers keep the type that the YAML gives them, because an override 10 and 10.0 may be two ids.
Numbers = list[Any]


@dataclass
class TaskConfig:
    """A setting that a protocol trains in: a dataset with a budget, and the values swept over."""

    # Display name of the setting, different for each task; null in protocols that have no two
    # tasks on the same data with the same model and batch size.
    title: str | None = None
    overrides: list[str] = MISSING  # of configs/train.yaml, for each run of the task
    batch_size: int = MISSING  # the headline batch size
    batch_sizes: list[int] | None = None  # of the figures over batch sizes
    epochs_at: dict[int, int] | None = None  # by batch size: epochs instead of those of `overrides`
    # Batch sizes at which optimizers with a grid of their own also run beyond it; null: none.
    beyond_at: list[int] | None = None
    learning_rates: Numbers = field(default_factory=list)  # of optimizers with the key lr
    learning_rates_at: dict[int, Numbers] | None = None  # by batch size: instead of those above
    model: str | None = None  # a file of configs/model, instead of the one that a figure names
    optimizers: list[str] | None = None  # in addition to a figure's own, where it shows each task
    max_lr: Any = None  # cap of optimizers whose config has max_lr: null; null: none
    corridor_meter_every: int | None = None  # diagnostics.every of the runs at `batch_size`
    # Of the runs at a fixed rate, only those at these rates are measured; null is all.
    corridor_meter_rates: Numbers | None = None


@dataclass
class ProtocolConfig:
    """The tasks, seeds and figures of one scale of the reproduction."""

    name: str = MISSING  # of the folder results/NAME
    title: str = MISSING
    scaled: bool = MISSING  # whether it is smaller than the paper's
    seeds: list[int] = MISSING
    figures: list[Any] = MISSING  # the default of `figure`
    tasks: dict[str, TaskConfig] = MISSING


@dataclass
class NeedConfig:
    """One line of a figure's needs: which runs of a task it shows."""

    task: str = MISSING  # a task's name | each: every task with a title
    model: str = MISSING
    batch_sizes: str = MISSING  # headline: the task's batch_size | sweep: its batch_sizes
    optimizers: list[str] = MISSING  # files of configs/optimizer | each: every one with a title
    # task: optimizers with the key lr run at the task's learning_rates
    # own: each optimizer runs at the values of its config's `tuning`, and at its default
    grid: str = "task"


@dataclass
class PathsConfig:
    """Folders of the originals, by `dataset.source`; null is the dataset's own default."""

    cifar10: str | None = None
    cifar100: str | None = None
    imagenet: str | None = None


@dataclass
class SweepConfig:
    """One sweep."""

    protocol: ProtocolConfig = field(default_factory=ProtocolConfig)
    figure: Any = MISSING
    optimizers: list[str] = MISSING
    methods: list[str] = MISSING  # of the arena, as in NeedConfig.optimizers
    train: list[str] = MISSING
    paths: PathsConfig = field(default_factory=PathsConfig)
    store: str = MISSING
    results: str = MISSING
    dry_run: bool = MISSING
    import_results: bool = MISSING
    figures: dict[Any, Any] = MISSING  # by figure: a list of NeedConfig

    @property
    def wanted_figures(self) -> list[str]:
        """The names in `figure`, which may be a single one, each once."""
        names = self.figure if isinstance(self.figure, list) else [self.figure]
        return list(dict.fromkeys(str(name) for name in names if name is not None))


def checked_sweep(composed: DictConfig) -> SweepConfig:
    """Resolve a composed configs/sweep.yaml and check it against the schema.

    Raises UserError that names the key if its value or type is wrong.
    """
    values = {key: composed[key] for key in SweepConfig.__dataclass_fields__ if key in composed}
    try:
        sweep = OmegaConf.to_object(OmegaConf.merge(OmegaConf.structured(SweepConfig), values))
        assert isinstance(sweep, SweepConfig)
        # OmegaConf does not convert dataclasses in a list in a dictionary.
        sweep.figures = {
            str(figure): [_need(line) for line in lines] for figure, lines in sweep.figures.items()
        }
    except OmegaConfBaseException as error:
        problem = explain_type_error(error)
        if problem and error.full_key:
            raise UserError(f"{error.full_key} {problem}; see configs/sweep.yaml") from None
        key = f"{error.full_key}: " if error.full_key else ""
        raise UserError(f"{key}{first_line(error)}; see configs/sweep.yaml") from None
    sweep.store = expanded_path("store", sweep.store)
    sweep.results = expanded_path("results", sweep.results)
    if (wrong := name_problem(sweep.protocol.name)) is not None:
        raise UserError(f"protocol.name={sweep.protocol.name} {wrong}")
    titles = [task.title for task in sweep.protocol.tasks.values() if task.title is not None]
    if twice := {title for title in titles if titles.count(title) > 1}:
        raise UserError(
            f"protocol.tasks: two tasks have the title {min(twice)!r}; give each its own"
        )
    if not sweep.wanted_figures:
        raise UserError("no figure is chosen; use figure=2,6 or leave it out for all of them")
    return sweep


def _need(line: Any) -> NeedConfig:
    need = OmegaConf.to_object(OmegaConf.merge(OmegaConf.structured(NeedConfig), line))
    assert isinstance(need, NeedConfig)
    return need
