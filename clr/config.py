"""The schema of one run: every key that `configs/train.yaml` may hold, its type, its meaning and its bounds."""

from __future__ import annotations

from collections.abc import Sequence
from contextlib import nullcontext
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from hydra import compose, initialize_config_dir
from hydra.core.config_store import ConfigStore
from hydra.core.global_hydra import GlobalHydra
from omegaconf import MISSING, DictConfig, OmegaConf
from omegaconf.errors import MissingMandatoryValue

from clr.errors import UserError

CONFIGS = Path(__file__).resolve().parent.parent / "configs"


@dataclass
class DatasetConfig:
    """What is learnt. All but `path` and `title` determines the numbers (a run's identity has the data by hash)."""

    name: str = MISSING  # names the converted files and the runs: digits, cifar10, cifar10-5k
    source: str = MISSING  # digits | cifar10 | imagenet | folder
    path: str | None = (
        None  # where the originals lie (imagenet, folder), or lie or are downloaded to (cifar10)
    )
    title: str | None = (
        None  # what figures call it; null is the source's own title or, of a folder, the name
    )
    resolution: int = 32  # pixels: training and testing see resolution × resolution
    train_samples: int | None = None  # the first train_samples / classes of each class; null is all
    test_samples: int | None = None
    # padded: images are resized to resolution² and stored raw; for training they are padded and cropped at random
    # random_resized: stored as JPEG in their own shape; for training a random part, for testing the centre is resized
    crop: str = "padded"
    crop_padding: int = 4  # padded: by so many zero pixels; 0 is off
    short_side: int | None = (
        None  # random_resized: images whose shorter side is longer are resized to it and stored
    )
    jpeg_quality: int = 90  # random_resized: 1 to 100
    flip: bool = True  # training images are mirrored with probability 1/2


@dataclass
class ModelConfig:
    name: str = MISSING  # resnet18 | resnet50
    stem: str = "imagenet"  # imagenet: 7×7 stride 2 and max-pooling, as torchvision | cifar: 3×3 stride 1, no pooling
    # torchvision: its default | zero: residual branches (the last norm's scale) and the classifier start at 0
    init: str = "torchvision"
    norm: str = "batch"  # batch | sync: statistics over all ranks, on GPUs | group: of each image, 32 groups


@dataclass
class CheckpointConfig:
    """What a killed run goes on from. Finished runs keep none."""

    seconds: float = 120.0  # between two of them
    keep: int = 2  # the newest so many


@dataclass
class DiagnosticsConfig:
    """What is measured beside the training, at a cost but without changing it."""

    every: int | None = (
        None  # the corridor meter (clr.training.corridor_meter) at steps 1, 1 + every, 1 + 2·every, ...; null is off
    )


@dataclass
class WandbConfig:
    mode: str = "offline"  # online | offline | disabled
    project: str = "corridor-learning-rate"
    entity: str | None = None
    group: str | None = None  # a sweep's runs have the protocol here
    tags: list[str] = field(default_factory=list)  # and their figures here


@dataclass
class TrainConfig:
    """One run."""

    dataset: DatasetConfig = field(default_factory=DatasetConfig)
    model: ModelConfig = field(default_factory=ModelConfig)
    optimizer: dict[str, Any] = field(
        default_factory=dict
    )  # `name`, `_target_` and the optimizer's own arguments
    batch_size: int = MISSING  # of all ranks together
    epochs: int = MISSING
    seed: int = 0
    precision: str = "fp32"  # fp32 | bf16 (autocast; parameters stay in float32) | tf32 (GPUs) | fp64 (for checks)
    wandb: WandbConfig = field(default_factory=WandbConfig)

    # Where and how, not what: nothing below changes the numbers, nor enters a run's identity.
    device: str = "auto"  # auto | cpu | cuda
    device_batch_size: int | None = (
        None  # most images that one device holds at once; null is all of its share
    )
    compile: bool = False  # torch.compile
    loader: str = "auto"  # auto: FFCV where it is built, else torch | ffcv | torch
    workers: int = 1  # threads (ffcv) or processes (torch) that load data
    data_dir: str = "data"  # converted datasets
    store: str = "runs"  # finished runs
    checkpoint: CheckpointConfig = field(default_factory=CheckpointConfig)
    diagnostics: DiagnosticsConfig = field(default_factory=DiagnosticsConfig)
    progress: bool = True  # the progress bar


ConfigStore.instance().store(name="train_schema", node=TrainConfig)

_CHOICES = {
    "dataset.crop": ("padded", "random_resized"),
    "model.name": ("resnet18", "resnet50"),
    "model.stem": ("imagenet", "cifar"),
    "model.init": ("torchvision", "zero"),
    "model.norm": ("batch", "sync", "group"),
    "precision": ("fp32", "bf16", "tf32", "fp64"),
    "wandb.mode": ("online", "offline", "disabled"),
    "device": ("auto", "cpu", "cuda"),
    "loader": ("auto", "ffcv", "torch"),
}
_AT_LEAST = {
    "batch_size": 2,  # batch norm has no variance of one image
    "epochs": 1,
    "seed": 0,
    "workers": 0,
    "device_batch_size": 2,
    "checkpoint.seconds": 0,
    "checkpoint.keep": 1,
    "diagnostics.every": 1,
    "dataset.resolution": 1,
    "dataset.crop_padding": 0,
}


def from_dict(stored: dict[str, Any]) -> TrainConfig:
    """The config of a run from what `asdict` made of it."""
    merged = OmegaConf.merge(OmegaConf.structured(TrainConfig), stored)
    assert isinstance(merged, DictConfig)
    return checked(merged)


def load(overrides: Sequence[str] = ()) -> TrainConfig:
    """The config of one run, composed from `configs/` with Hydra overrides such as `batch_size=64`."""
    inside = (
        GlobalHydra.instance().is_initialized()
    )  # of a door's hydra.main, which has the same search path
    with nullcontext() if inside else initialize_config_dir(str(CONFIGS), version_base="1.3"):
        return checked(compose("train", overrides=list(overrides)))


def checked(composed: DictConfig) -> TrainConfig:
    """The composed config, resolved and with every value in its bounds; UserError names the key that is not."""
    try:
        cfg = OmegaConf.to_object(composed)
    except MissingMandatoryValue as error:
        raise UserError(
            f"a value is missing: {str(error).splitlines()[0]}; give it as KEY=VALUE"
        ) from None
    assert isinstance(cfg, TrainConfig)
    for key, choices in _CHOICES.items():
        if (value := OmegaConf.select(composed, key)) not in choices:
            raise UserError(f"{key}={value} is none of {', '.join(choices)}")
    for key, least in _AT_LEAST.items():
        if (number := OmegaConf.select(composed, key)) is not None and number < least:
            raise UserError(f"{key}={number} is too small: it must be at least {least}")
    if cfg.diagnostics.every is not None and cfg.model.norm == "sync":
        raise UserError(
            "diagnostics.every needs second derivatives, which model.norm=sync has not; use batch or group"
        )
    if "/" in cfg.dataset.name:
        raise UserError(
            f"dataset.name={cfg.dataset.name} names a folder below data_dir: it must hold no /"
        )
    for key in ("name", "_target_"):
        if not cfg.optimizer.get(key):
            raise UserError(f"the optimizer's config has no {key}; see configs/optimizer/clr.yaml")
    return cfg
