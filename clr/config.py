"""Schema of one run: the keys of `configs/train.yaml`, their types, meaning, choices and bounds."""

from __future__ import annotations

import dataclasses
from collections.abc import Iterator, Sequence
from contextlib import nullcontext
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from hydra import compose, initialize_config_dir
from hydra.core.config_store import ConfigStore
from hydra.core.global_hydra import GlobalHydra
from omegaconf import MISSING, DictConfig, OmegaConf
from omegaconf.errors import MissingMandatoryValue

from clr.config_checks import (
    check_factory_config,
    check_learning_rate,
    check_schedule,
    expanded_path,
    name_problem,
    normalized_name,
)
from clr.errors import UserError, first_line
from clr.overrides import escape_interpolations
from clr.tuning import remove_tuning

CONFIGS = Path(__file__).resolve().parent.parent / "configs"


@dataclass(frozen=True)
class Rule:
    """The values that a key accepts, in addition to its type."""

    choices: tuple[str, ...] = ()
    minimum: float | None = None
    maximum: float | None = None
    is_name: bool = False  # part of a folder's name
    is_path: bool = False  # a leading ~ is expanded

    def problem(self, value: Any) -> str | None:
        """Return what is wrong with `value`; None if it is accepted, as None always is."""
        if value is None:
            return None
        if self.choices and value not in self.choices:
            return f"is not one of {', '.join(self.choices)}"
        # Negated, so that NaN is refused as well.
        if self.minimum is not None and not value >= self.minimum:
            return f"is too small; it must be at least {self.minimum}"
        if self.maximum is not None and not value <= self.maximum:
            return f"is too large; it must be at most {self.maximum}"
        return name_problem(value) if self.is_name else None


def _key(default: Any = MISSING, **rule: Any) -> Any:
    """A field of the schema with the rule that its value is checked against."""
    return field(default=default, metadata={"rule": Rule(**rule)})


@dataclass
class DatasetConfig:
    """The data. All keys except `path` and `title` determine the results.

    A run's identity contains the prepared data by hash.
    """

    # Names the converted files and the runs: digits, cifar10, cifar10-5k.
    name: str = _key(is_name=True)
    # The reader of the originals; clr.data.sources checks it.
    source: str = _key(choices=("digits", "cifar10", "cifar100", "imagenet", "folder"))
    # Folder of the originals; CIFAR is downloaded to it if it is empty.
    path: str | None = _key(None, is_path=True)
    # Name of the data in figures; null is the source's own title, or `name` for a folder.
    title: str | None = None
    # Images have resolution × resolution pixels, in training and in testing.
    resolution: int = _key(32, minimum=1, maximum=16384)  # FFCV's pages hold up to 2 GiB
    # The first train_samples / classes images of each class; null is all.
    train_samples: int | None = _key(None, minimum=1)
    test_samples: int | None = _key(None, minimum=1)
    # padded: resized to resolution² and stored raw; padded and cropped at random for training.
    # random_resized: stored as JPEG in their own shape; a random part is resized for training,
    # the center for testing.
    crop: str = _key("padded", choices=("padded", "random_resized"))
    # crop=padded: width of the black border, in pixels; 0 turns cropping off.
    crop_padding: int = _key(4, minimum=0)
    # crop=random_resized: images with a longer shorter side are resized to it before storing.
    short_side: int | None = _key(None, minimum=1)
    # crop=random_resized: quality of the stored JPEG.
    jpeg_quality: int = _key(90, minimum=1, maximum=100)
    # Mirror training images with probability 1/2.
    flip: bool = True


@dataclass
class CheckpointConfig:
    """The checkpoints that an interrupted run resumes from. Completed runs keep none."""

    seconds: float = _key(120.0, minimum=0)  # between two checkpoints
    keep: int = _key(2, minimum=1)  # number of the newest checkpoints to keep


@dataclass
class DiagnosticsConfig:
    """Measurements during training. They take time and do not change the results."""

    # The corridor meter runs at steps 1, 1 + every, 1 + 2·every, ...; null is off.
    every: int | None = _key(None, minimum=1)


@dataclass
class WandbConfig:
    """The mirror of the records in Weights & Biases."""

    mode: str = _key("offline", choices=("online", "offline", "disabled"))
    project: str = "corridor-learning-rate"
    entity: str | None = None
    group: str | None = None  # a sweep sets the protocol's name
    tags: list[str] = field(default_factory=list)  # a sweep sets the figures


@dataclass
class TrainConfig:
    """One run.

    The keys down to `precision` determine the results and the run id. The keys below do not. Of
    these, `loader`, `workers`, `data_dir`, `store`, `checkpoint`, `diagnostics`, `progress`,
    `mirror` and `wandb` leave every recorded number as it is, except times. `device`,
    `device_batch_size`, `compile`, `threads` and `small_maps`, like the number of ranks, the
    hardware and the versions of the libraries, choose the order of floating-point sums: results are
    equal to the bit only if all of these are; otherwise they differ as with another seed.
    """

    dataset: DatasetConfig = field(default_factory=DatasetConfig)
    # `name`, `_target_` and the arguments of the model's factory, which also gets `num_classes`.
    model: dict[str, Any] = field(default_factory=dict)
    # `name`, `_target_`, the arguments of the optimizer, and `schedule`, which the trainer applies.
    optimizer: dict[str, Any] = field(default_factory=dict)
    # Images per step, over all ranks. Batch norm has no variance for a single image.
    batch_size: int = _key(minimum=2)
    epochs: int = _key(minimum=1)
    seed: int = _key(0, minimum=0, maximum=2**53)  # the integers that every float format keeps
    # bf16: autocast, parameters stay in float32; tf32: on GPUs; fp64: for checks.
    precision: str = _key("fp32", choices=("fp32", "bf16", "tf32", "fp64"))
    mirror: str = _key("wandb", choices=("wandb", "tensorboard"))  # shows the records
    wandb: WandbConfig = field(default_factory=WandbConfig)

    # Execution settings, not part of the run id.
    device: str = _key("auto", choices=("auto", "cpu", "cuda"))
    device_batch_size: int | None = _key(None, minimum=2)  # null: the whole share of the batch
    compile: bool = False  # torch.compile
    threads: int | None = _key(None, minimum=1)  # CPU threads; null: as many as torch takes
    small_maps: str = _key("convolve", choices=("convolve", "matmul"))  # clr.training.small_maps
    # auto: memory for raw images up to 1 GiB; else FFCV if it is installed, else torch.
    loader: str = _key("auto", choices=("auto", "memory", "ffcv", "torch"))
    workers: int = _key(1, minimum=0)  # loading threads (ffcv) or processes (torch)
    data_dir: str = _key("data", is_path=True)  # converted datasets
    store: str = _key("runs", is_path=True)  # folder of the runs
    checkpoint: CheckpointConfig = field(default_factory=CheckpointConfig)
    diagnostics: DiagnosticsConfig = field(default_factory=DiagnosticsConfig)
    progress: bool = True  # progress bar


ConfigStore.instance().store(name="train_schema", node=TrainConfig)

# Keys of the model in configs that were stored when the model was always one of these ResNets.
_STORED_RESNETS = {
    name: {
        "_target_": f"clr.training.models.{name}",
        "stem": "imagenet",
        "init": "torchvision",
        "norm": "batch",
    }
    for name in ("resnet18", "resnet50")
}


def from_dict(stored: dict[str, Any]) -> TrainConfig:
    """Restore the config of a run from its `asdict`. Values are literal: `${` is not resolved.

    A config that an earlier version stored, without the model's `_target_`, is completed.
    """
    model = stored.get("model", {})
    if "_target_" not in model:
        model = {**_STORED_RESNETS.get(model.get("name"), {}), **model}
    current = escape_interpolations({**stored, "model": model})
    merged = OmegaConf.merge(OmegaConf.structured(TrainConfig), current)
    assert isinstance(merged, DictConfig)
    return checked(merged)


def load(overrides: Sequence[str] = ()) -> TrainConfig:
    """Compose the config of one run from `configs/` and Hydra overrides such as `batch_size=64`."""
    # Under an entry point's hydra.main, Hydra is initialized with the same search path.
    initialized = GlobalHydra.instance().is_initialized()
    with nullcontext() if initialized else initialize_config_dir(str(CONFIGS), version_base="1.3"):
        return checked(compose("train", overrides=list(overrides)))


def checked(composed: DictConfig) -> TrainConfig:
    """Resolve a composed config and check it.

    Raises:
        UserError: if a value is missing or not accepted; the message names its key.
    """
    return check(resolved(composed))


def resolved(composed: DictConfig) -> TrainConfig:
    """Resolve a composed config without checking its values. UserError if one is missing."""
    try:
        cfg = OmegaConf.to_object(composed)
    except MissingMandatoryValue as error:
        raise UserError(f"a value is missing: {first_line(error)}; give it as KEY=VALUE") from None
    assert isinstance(cfg, TrainConfig)
    return cfg


def check(cfg: TrainConfig) -> TrainConfig:
    """Check all values of a resolved config, in place, and expand `~` in paths.

    The optimizer's `tuning` and `title` are checked and removed: no run depends on them.

    Raises:
        UserError: if a value is missing or not accepted; the message names its key.
    """
    for key, owner, name, rule in _rules(cfg):
        value = getattr(owner, name)
        if value == MISSING:  # the key was deleted, as by ~epochs
            raise UserError(f"a value is missing: {key}; give it as KEY=VALUE")
        if rule.is_name:
            value = normalized_name(value)
            setattr(owner, name, value)
        if (problem := rule.problem(value)) is not None:
            raise UserError(f"{key}={value} {problem}")
        if rule.is_path and value is not None:
            setattr(owner, name, expanded_path(key, value))
    check_factory_config("model", cfg.model)
    check_factory_config("optimizer", cfg.optimizer)
    remove_tuning(cfg.optimizer)
    check_learning_rate(cfg.optimizer)
    check_schedule(cfg.optimizer)
    return cfg


def _rules(node: Any, prefix: str = "") -> Iterator[tuple[str, Any, str, Rule]]:
    """Each key below `node` that has a rule: dotted key, the object that has it, field, rule."""
    for entry in dataclasses.fields(node):
        value = getattr(node, entry.name)
        if dataclasses.is_dataclass(value):
            yield from _rules(value, f"{prefix}{entry.name}.")
        elif "rule" in entry.metadata:
            yield f"{prefix}{entry.name}", node, entry.name, entry.metadata["rule"]
